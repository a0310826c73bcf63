"""The data plane's benchmarks: what they compare is alike, and their reports are whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.clips.clip_dataset import ClipDataset
from pipeline.clips.crops import multi_scale_crop
from pipeline.clips.jpeg_decode import decode_frame
from pipeline.clips.sampling import rng_for
from pipeline.clips.transforms import normalise
from pipeline.core.errors import UsageError
from pipeline.video.ffmpeg import binary, build, command
from stages.bench import authors_reader, clip_speed, corpus, decode_speed, loader_speed
from tests.pipeline.samples import write_clip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for number in range(2):
        write_clip(folder / f"{number}.mkv", 14, size="340x256", tone=number)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="module")
def videos(own: Path, folder: Path) -> corpus.Corpus:
    return clip_speed.prepare(clip_speed.Setting(videos=own), folder)


def test_both_sides_read_the_same_frames(videos: corpus.Corpus, folder: Path) -> None:
    video, frames = clip_speed._pick(videos.videos[1], 3)
    theirs = authors_reader.arrays(folder / "jpg" / video.video_id, frames)
    ours = clip_speed.Decoding(
        dict(enumerate(videos.store.jpegs(video.video_id, frames))),
        range(40), decode_frame, 1,
    )  # fmt: skip
    assert len(theirs) == 40
    for one, two in zip(theirs, ours, strict=True):
        assert np.abs(one.astype(int) - two.permute(1, 2, 0).numpy()).max() <= 2


@pytest.mark.parametrize("index", [0, 1])
def test_both_sides_make_the_same_sample(videos: corpus.Corpus, folder: Path, index: int) -> None:
    data = ClipDataset(videos.store, videos.videos, ["a"], clip_speed.RULE, 0)
    ours = normalise(data[index].frames)[0].flatten(0, 2)
    video, rng = videos.videos[index], rng_for(0, 0, index)
    frames = clip_speed._frames(video, rng)
    crop = multi_scale_crop(video.width_px, video.height_px, clip_speed.CROP_PX, True, rng)
    theirs = authors_reader.sample(
        folder / "jpg" / video.video_id, frames, crop, clip_speed.CROP_PX
    )
    assert ours.shape == theirs.shape
    grey_levels = (ours - theirs).abs() * 255 * 0.226
    assert grey_levels.mean() < 0.5 and grey_levels.max() < 5


def test_the_report_on_clips(own: Path) -> None:
    threads = torch.get_num_threads()
    report = clip_speed.run(clip_speed.Setting(rounds=1, clips=1, videos=own), lambda _: None)
    assert torch.get_num_threads() == threads
    names = {row["way"] for row in report.rows}
    assert {clip_speed.ARRAYS, clip_speed.READ, clip_speed.AUTHORS, clip_speed.SAMPLE} <= names
    missing = {reason.split()[0] for reason in report.settings.get("not measured", [])}
    assert missing == set(clip_speed.DECODERS) - names


def test_the_report_on_decoding(own: Path) -> None:
    report = decode_speed.run(decode_speed.Setting(rounds=1, videos=own), lambda _: None)
    for row in report.rows:
        assert (row["corpus"], row["videos"], row["frames"]) == ("own", 2, 28)
        assert row["frames per core-second"] > 0
    (stored,) = (row for row in report.rows if row["way"] == decode_speed.SHARD)
    assert stored["kB per frame"] > 0 and "store overhead over JPEG bytes, %" in stored


def test_the_ceiling_differs_in_its_output_alone(tmp_path: Path) -> None:
    ours = command(tmp_path / "a.mp4", corpus.POLICY, "ffmpeg")
    ceiling = decode_speed.to_null(ours)
    changed = [(a, b) for a, b in zip(ours, ceiling, strict=True) if a != b]
    assert changed == [("image2pipe", "null"), ("pipe:1", "-")]


def test_odd_videos_are_named_and_left_out(own: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    for name in ("one", "two"):
        (videos / name).mkdir(parents=True)
        (videos / name / "same.mkv").write_bytes((own / "0.mkv").read_bytes())
    (videos / "one" / "broken.mp4").write_bytes(b"no video at all")
    cut = (own / "1.mkv").read_bytes()
    (videos / "two" / "cut.mkv").write_bytes(cut[: len(cut) // 2])
    (videos / "a folder.mp4").mkdir()
    messages: list[str] = []
    setting = decode_speed.Setting(rounds=1, videos=videos, script_ffmpeg=Path(binary()))
    report = decode_speed.run(setting, messages.append)
    measured = {(row["corpus"], row["videos"], row["way"]) for row in report.rows}
    ways = ("ffmpeg to null", "decode and split", "decode to shard", "ffmpeg to .jpg",
            "system's ffmpeg to .jpg")  # fmt: skip
    assert measured == {(name, 1, way) for name in ("one", "two") for way in ways}
    assert [line.partition(": ")[0] for line in report.settings["left out"]] == [
        "one/broken.mp4", "two/cut.mkv",
    ]  # fmt: skip
    assert sum(line.startswith("left out: ") for line in messages) == 2
    assert report.settings["system's ffmpeg"] == build(binary())
    for path in (videos / "one" / "same.mkv", videos / "two" / "same.mkv"):
        path.unlink()
    with pytest.raises(UsageError, match=r"no video can be measured: one/broken\.mp4"):
        decode_speed.run(setting, messages.append)
    with pytest.raises(UsageError, match="--script-ffmpeg names no program"):
        decode_speed.run(decode_speed.Setting(script_ffmpeg=tmp_path / "gone"), messages.append)


def test_generated_videos_have_the_frames_they_should(tmp_path: Path) -> None:
    videos = corpus.generate("Xvid 320x240", tmp_path, binary(), frames=8)
    assert len(videos) == corpus.KINDS["Xvid 320x240"].videos
    assert len({path.read_bytes() for path in videos}) == len(videos)
    stored = corpus.write_store(videos[:1], tmp_path / "store", binary())
    (video,) = stored.videos
    assert (video.n_frames, video.width_px, video.height_px) == (8, 320, 240)
    assert stored.store.jpegs(video.video_id, [3])[0][:2] == b"\xff\xd8"


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        with pytest.raises(UsageError, match="no folder with a video"):
            corpus.own(folder, 3)


def test_loaders_are_measured_by_their_number(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_speed, "cores", lambda: 1)
    report = loader_speed.run(loader_speed.Setting(1, (1,), own), lambda line: None)
    assert [row["processes"] for row in report.rows] == [0, 1]
    assert all(row["clips per s"] > 0 for row in report.rows)
    assert report.rows[0]["MiB per process"] is None and report.rows[1]["MiB per process"] > 50
