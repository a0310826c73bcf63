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
from pipeline.core.benchmark import to_markdown
from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from pipeline.video.ffmpeg import binary, build, command
from stages.bench import authors_reader, clip_speed, corpus, decode_speed
from tests.pipeline.samples import write_clip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    for number in range(2):
        write_clip(folder / f"{number}.mkv", 14, size="340x256", tone=number)
    return folder


@pytest.fixture(scope="module")
def made(own: Path, tmp_path_factory: pytest.TempPathFactory) -> clip_speed.Corpus:
    return clip_speed.prepare(clip_speed.Setting(videos=own), tmp_path_factory.mktemp("corpus"))


def test_both_sides_read_the_same_frames(made: clip_speed.Corpus) -> None:
    video, frames = clip_speed._pick(made.videos[1], 3)
    theirs = authors_reader.arrays(made.folders[video.video_id], frames)
    ours = clip_speed.Decoding(
        dict(enumerate(made.store.jpegs(video.video_id, frames))),
        range(40), decode_frame, 1,
    )  # fmt: skip
    assert len(theirs) == 40
    for one, two in zip(theirs, ours, strict=True):
        assert np.abs(one.astype(int) - two.permute(1, 2, 0).numpy()).max() <= 2


def test_windows_in_any_order_are_the_same_windows(made: clip_speed.Corpus) -> None:
    frames = list(range(40))
    _, shuffled = clip_speed._any_order(made.videos[0], frames)
    starts = shuffled[::5]
    assert sorted(starts) == frames[::5] != starts
    assert shuffled == [start + place for start in starts for place in range(5)]


@pytest.mark.parametrize("index", [0, 1])
def test_both_sides_make_the_same_sample(made: clip_speed.Corpus, index: int) -> None:
    data = ClipDataset(made.store, made.videos, ["a"], clip_speed.RULE, 0)
    ours = normalise(data[index].frames)[0].flatten(0, 2)
    video, rng = made.videos[index], rng_for(0, 0, index)
    frames = clip_speed._frames(video, rng)
    crop = multi_scale_crop(video.width_px, video.height_px, clip_speed.CROP_PX, True, rng)
    theirs = authors_reader.sample(made.folders[video.video_id], frames, crop, clip_speed.CROP_PX)
    assert ours.shape == theirs.shape
    grey_levels = (ours - theirs).abs() * 255 * 0.226
    assert grey_levels.mean() < 0.5 and grey_levels.max() < 5


def test_the_report_on_clips(own: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    clip_speed.run(clip_speed.Setting(rounds=1, clips=1, videos=own), tmp_path, lambda _: None)
    assert torch.get_num_threads() == threads
    report = read_json(tmp_path / "clips.json")
    names = [row["what"] for row in report["rows"]]
    assert {clip_speed.ARRAYS, clip_speed.READ, clip_speed.READ_EIGHTH} <= set(names)
    assert {clip_speed.AUTHORS, clip_speed.SAMPLE, clip_speed.POOLED} <= set(names)
    stretch = [goal for goal in report["targets"] if "stretch" in goal["what"]]
    assert [goal["at_least"] for goal in stretch] == [4.0, 8.0]
    unmeasured = {goal["reason"] for goal in report["targets"] if goal["met"] is None}
    assert all("torchcodec" in reason or "decord" in reason for reason in unmeasured)
    assert "Reading clips" in (tmp_path / "clips.md").read_text("utf-8")


def test_the_report_on_decoding(own: Path, tmp_path: Path) -> None:
    setting = decode_speed.Setting(rounds=1, videos=own)
    decode_speed.run(setting, tmp_path, lambda _: None)
    report = read_json(tmp_path / "decode.json")
    (row,) = report["rows"]
    assert (row["corpus"], row["videos"], row["frames"]) == ("own", 2, 28)
    assert row["frames per core-second"] > 0
    unmeasured = [goal for goal in report["targets"] if goal["met"] is None]
    assert {goal["reason"] for goal in unmeasured} <= {"no other ffmpeg on PATH"}
    assert "store overhead" in to_markdown(report)


def test_the_ceiling_differs_in_its_output_alone(tmp_path: Path) -> None:
    ours = command(tmp_path / "a.mp4", corpus.POLICY, "ffmpeg")
    ceiling = corpus.to_null(ours)
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
    said: list[str] = []
    setting = decode_speed.Setting(rounds=1, videos=videos, script_ffmpeg=Path(binary()))
    decode_speed.run(setting, tmp_path, said.append)
    report = read_json(tmp_path / "decode.json")
    assert [(row["corpus"], row["videos"]) for row in report["rows"]] == [("one", 1), ("two", 1)]
    assert [line.partition(": ")[0] for line in report["settings"]["left out"]] == [
        "one/broken.mp4", "two/cut.mkv",
    ]  # fmt: skip
    assert sum(line.startswith("left out: ") for line in said) == 2
    assert report["settings"]["system's ffmpeg"] == build(binary())
    assert all("system's .jpg / shard, cpu" in row for row in report["rows"])
    for path in (videos / "one" / "same.mkv", videos / "two" / "same.mkv"):
        path.unlink()
    with pytest.raises(UsageError, match=r"no video can be measured: one/broken\.mp4"):
        decode_speed.run(setting, tmp_path, said.append)
    with pytest.raises(UsageError, match="--script-ffmpeg names no program"):
        decode_speed.run(
            decode_speed.Setting(script_ffmpeg=tmp_path / "gone"), tmp_path, said.append
        )


def test_generated_videos_have_the_frames_they_should(tmp_path: Path) -> None:
    kind = corpus.KINDS[2]
    made = corpus.generate(kind, tmp_path, binary(), frames=8)
    assert len(made) == kind.videos
    assert len({path.read_bytes() for path in made}) == kind.videos
    found = decode_speed.decode(made[0], corpus.POLICY, binary())
    assert (found.n_frames, found.width_px, found.height_px) == (8, 320, 240)


def test_a_folder_without_videos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no video below"):
        corpus.own(tmp_path, 3)
    with pytest.raises(UsageError, match="names no folder"):
        corpus.own(tmp_path / "gone", 3)
