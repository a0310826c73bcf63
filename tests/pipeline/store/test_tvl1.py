"""Optical flow: right values, one form on disk, stores that resume; clips of flow."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from pipeline.clips.clip_dataset import ClipDataset, EvalRule, TrainRule
from pipeline.clips.transforms import normalise_flow
from pipeline.core.errors import AbsentData, DataError, StoreError, UsageError
from pipeline.core.locks import exclusive
from pipeline.core.ray_pool import Crash, Pool
from pipeline.core.workspace import Workspace
from pipeline.schema.flow_policy import FlowPolicy
from pipeline.schema.plan_models import FlowPlan
from pipeline.schema.protocols import load_protocols
from pipeline.store import tvl1 as flow
from pipeline.store.build_flow import make_flow
from pipeline.store.index import FrameIndex, Video, read_index
from pipeline.store.inspect_store import summary, verify
from stages import flow as stage
from tests.pipeline.samples import MANIFESTS, Made, dataset, jpeg, something_v1

ROOT = Path(__file__).resolve().parents[3]
CHEAP = FlowPolicy(
    short_side_px=None, bound_px=5.0, quality=95, scales=3, scale_step=0.5, warps=2,
    inner_iterations=10, outer_iterations=2, median_px=3,
)  # fmt: skip
LENGTHS = {"10": 7, "11": 3, "12": 1, "13": 8, "14": 2, "15": 6}


def moving(frames: int, right_px: float, down_px: float) -> list[bytes]:
    """JPEGs of a smooth texture that moves by a constant step."""
    noise = np.random.default_rng(1).normal(size=(128, 128))
    texture = gaussian_filter(noise, 3, mode="wrap")
    texture = 128 + 100 * texture / np.abs(texture).max()
    found = []
    for number in range(frames):
        shift = (-down_px * number, -right_px * number)
        y, x = (np.arange(48) + 40 + shift[0]), (np.arange(64) + 30 + shift[1])
        part = texture[np.ix_(np.rint(y).astype(int), np.rint(x).astype(int))]
        sink = io.BytesIO()
        Image.fromarray(part.astype(np.uint8)).save(sink, "JPEG", quality=95)
        found.append(sink.getvalue())
    return found


def levels(image: bytes) -> tuple[np.ndarray, np.ndarray]:
    both = np.asarray(Image.open(io.BytesIO(image)), dtype=np.float64)
    return both[: len(both) // 2], both[len(both) // 2 :]


@pytest.mark.parametrize(("right", "down"), [(1, 0), (0, 1), (-2, 1)])
def test_a_translation_has_its_displacement_everywhere(right: int, down: int) -> None:
    stored, width, height = flow.fields(moving(3, right, down), CHEAP)
    assert (len(stored), width, height) == (2, 64, 48)
    for image in stored:
        x, y = levels(image)
        assert x.shape == y.shape == (48, 64)
        inner = (slice(10, -10), slice(10, -10))
        assert np.median(x[inner]) == pytest.approx(127.5 + 25.5 * right, abs=2)
        assert np.median(y[inner]) == pytest.approx(127.5 + 25.5 * down, abs=2)


def test_levels_are_those_of_the_published_extraction() -> None:
    field = np.zeros((1, 4, 2), np.float32)
    field[0, :, 0] = (-25.0, -20.0, 0.0, 20.0)
    field[0, :, 1] = (25.0, 1.0, -1.0, 0.04)
    assert flow.discretise(field, 20.0).tolist() == [[0, 0, 128, 255], [255, 134, 121, 128]]


def test_fields_do_not_depend_on_threads_and_leave_their_number_alone() -> None:
    frames = moving(3, 1.5, 0)
    before = cv2.getNumThreads()
    one = flow.fields(frames, CHEAP)
    assert cv2.getNumThreads() == before
    assert flow.fields(frames, CHEAP) == one


def test_frames_are_reduced_but_never_enlarged() -> None:
    frames = moving(2, 2, 0)
    small = CHEAP.model_copy(update={"short_side_px": 24})
    (image,), width, height = flow.fields(frames, small)
    assert (width, height) == (32, 24)
    assert np.median(levels(image)[0]) == pytest.approx(127.5 + 25.5, abs=3)
    assert flow.fields(frames, CHEAP.model_copy(update={"short_side_px": 100})) == flow.fields(
        frames, CHEAP
    )


def test_a_bad_frame_is_named() -> None:
    frames = moving(2, 0, 0)
    with pytest.raises(DataError, match="frame 2 cannot be decoded"):
        flow.fields([*frames, b"no image"], CHEAP)
    with pytest.raises(DataError, match="frame 2 has another size"):
        flow.fields([*frames, jpeg(0)], CHEAP)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return six(tmp_path_factory.mktemp("flow"))


def six(root: Path) -> Made:
    """Six decoded videos in two shards; one of them has a single frame."""
    raw = root / "raw"
    videos = {name: ("train", "ab"[int(name) % 2], n) for name, n in LENGTHS.items()}
    something_v1(raw, videos, ["a", "b"])
    for name, frames in LENGTHS.items():
        folder = raw / "20bn-something-something-v1" / name
        for number, image in enumerate(moving(frames, 1, int(name) % 3 - 1)):
            (folder / f"{number + 1:05d}.jpg").write_bytes(image)
    found = Made(dataset("ssv1"), raw, root / "sources.json", root / "frames")
    found.check()
    found.decode()
    return found


@pytest.fixture(scope="module")
def frames(made: Made) -> FrameIndex:
    return read_index(made.frames)


def in_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(frames: FrameIndex, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "flow" / "ssv1"
    make_flow(frames, folder, CHEAP, workers=0)
    return folder


def test_every_pair_of_frames_has_a_field(frames: FrameIndex, whole: Path) -> None:
    index = read_index(whole)
    assert index.kind == "flow"
    assert index.about["frame_store"] == frames.content
    assert index.about["policy"] == CHEAP.model_dump(mode="json")
    rows = {video.video_id: video for video in index.videos}
    assert {name: row.n_frames for name, row in rows.items()} == {
        name: n - 1 for name, n in LENGTHS.items()
    }
    assert (rows["12"].status, rows["12"].shard) == ("short", -1)
    assert rows["12"].reason == "flow needs two frames, this video has one"
    before = {video.video_id: video for video in frames.videos}
    for name, row in rows.items():
        assert (row.labels, row.splits) == (before[name].labels, before[name].splits)
        assert row.source_sha256 == before[name].source_sha256
        if row.usable:
            assert (row.shard, row.width_px, row.height_px) == (before[name].shard, 64, 48)
    expected = flow.fields(frames.store().jpegs("13"), CHEAP)[0]
    assert [bytes(image) for image in index.store().jpegs("13")] == expected
    assert verify(index) == []
    assert summary(index)["opencv"] == flow.build()


def test_a_second_run_computes_nothing(
    frames: FrameIndex, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = in_bytes(whole)
    monkeypatch.setattr("pipeline.store.tvl1.fields", None)
    make_flow(frames, whole, CHEAP, workers=0)
    assert in_bytes(whole) == before


def test_another_policy_makes_other_fields(frames: FrameIndex, tmp_path: Path, whole: Path) -> None:
    wider = CHEAP.model_copy(update={"bound_px": 10.0})
    make_flow(frames, tmp_path / "flow", CHEAP, workers=0)
    make_flow(frames, tmp_path / "flow", wider, workers=0)
    assert read_index(tmp_path / "flow").content != read_index(whole).content
    make_flow(frames, tmp_path / "flow", CHEAP, workers=0)
    assert in_bytes(tmp_path / "flow") == in_bytes(whole)


def spied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames the videos have whose flow is computed from here on."""
    seen: list[int] = []
    true_fields = flow.fields

    def spy(jpegs: list[bytes], policy: FlowPolicy) -> tuple[list[bytes], int, int]:
        seen.append(len(jpegs))
        return true_fields(jpegs, policy)

    monkeypatch.setattr("pipeline.store.tvl1.fields", spy)
    return seen


def test_a_changed_video_costs_its_own_flow_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = six(tmp_path)
    folder = tmp_path / "flow"
    make_flow(read_index(made.frames), folder, CHEAP, workers=0)
    clip = made.raw / "20bn-something-something-v1" / "14"
    for number, image in enumerate(moving(5, -1, 1)):
        (clip / f"{number + 1:05d}.jpg").write_bytes(image)
    made.check()
    made.decode()
    computed = spied(monkeypatch)
    make_flow(read_index(made.frames), folder, CHEAP, workers=0)
    assert computed == [5]
    make_flow(read_index(made.frames), tmp_path / "clean", CHEAP, workers=0)
    assert in_bytes(folder) == in_bytes(tmp_path / "clean")


def test_a_video_that_kills_its_worker_is_found_and_left_out(
    frames: FrameIndex, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Pool.run

    def deadly(self: Pool, function: Any, tasks: Any, **options: Any) -> Any:
        for position, task in enumerate(tasks):
            if any(v.video_id == "14" and v.video_id not in task.blamed for v in task.videos):
                yield position, Crash("it was killed")
            else:
                ((_, result),) = plain(self, function, [task], **options)
                yield position, result

    folder = tmp_path / "flow"
    with monkeypatch.context() as patch:
        patch.setattr(Pool, "run", deadly)
        make_flow(frames, folder, CHEAP, workers=0)
    rows = {video.video_id: video for video in read_index(folder).videos}
    assert (rows["14"].status, rows["14"].reason) == ("error", "its flow failed: it was killed")
    assert [name for name, row in rows.items() if row.usable] == ["10", "11", "13", "15"]
    assert in_bytes(folder)["shard-00000.lmdb"] == in_bytes(whole)["shard-00000.lmdb"]
    make_flow(frames, folder, CHEAP, workers=0)
    assert read_index(folder).about["counts"]["error"] == 1, "not tried again unasked"
    computed = spied(monkeypatch)
    make_flow(frames, folder, CHEAP, workers=0, retry_failed=True)
    assert computed == [LENGTHS["14"]]
    assert in_bytes(folder) == in_bytes(whole)


KILLED = """
import os, sys
from pathlib import Path
from pipeline.store import tvl1 as flow
from pipeline.store.build_flow import make_flow
from pipeline.store.index import read_index
from pipeline.schema.flow_policy import FlowPolicy
true_fields, seen = flow.fields, []
def dying(*arguments):
    seen.append(1)
    if len(seen) == 5:
        os.kill(os.getpid(), 9)
    return true_fields(*arguments)
flow.fields = dying
policy = FlowPolicy.model_validate_json(sys.argv[3])
make_flow(read_index(Path(sys.argv[1])), Path(sys.argv[2]), policy, workers=0)
"""


def test_killed_and_run_again_gives_the_same_bytes(
    made: Made, frames: FrameIndex, tmp_path: Path, whole: Path
) -> None:
    folder = tmp_path / "flow"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(made.frames), str(folder), CHEAP.model_dump_json()],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in folder.glob("shard-*.lmdb")] == ["shard-00000.lmdb"]
    assert not (folder / "index.json").exists()
    stamp = (folder / "shard-00000.lmdb").stat().st_mtime_ns
    make_flow(frames, folder, CHEAP, workers=0)
    assert in_bytes(folder) == in_bytes(whole)
    assert (folder / "shard-00000.lmdb").stat().st_mtime_ns == stamp


def test_the_second_run_at_once_is_told_who_holds_the_lock(
    frames: FrameIndex, tmp_path: Path
) -> None:
    with (
        exclusive(tmp_path / ".flow.lock", "x"),
        pytest.raises(UsageError, match=f"process {os.getpid()}"),
    ):
        make_flow(frames, tmp_path / "flow", CHEAP, workers=0)


def test_a_frame_store_damaged_underneath_stops_the_stage(made: Made, tmp_path: Path) -> None:
    index = read_index(made.frames)
    (tmp_path / "frames").mkdir()
    for path in made.frames.iterdir():
        (tmp_path / "frames" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "frames" / "shard-00001.lmdb").unlink()
    torn = FrameIndex(tmp_path / "frames", index.about, index.videos)
    with pytest.raises(StoreError, match="a shard is missing"):
        make_flow(torn, tmp_path / "flow", CHEAP, workers=0)


def test_absent_frames_mean_absent_flow(tmp_path: Path) -> None:
    work = Workspace(tmp_path)
    plan = FlowPlan(policy=CHEAP)
    with pytest.raises(AbsentData, match="has no frame store"):
        stage.run(work, "ssv2", plan)
    gone = Made(dataset("ssv2"), tmp_path / "raw", tmp_path / "s.json", work.frames("ssv2"))
    gone.check(record_absent=True)
    gone.decode(record_absent=True)
    stage.run(work, "ssv2", plan, record_absent=True)
    with pytest.raises(AbsentData, match="not on this machine"):
        read_index(work.flow("ssv2"))
    with pytest.raises(AbsentData, match="no flow store"):
        read_index(work.flow("hmdb51"))


def usable(index: FrameIndex) -> list[Video]:
    return [video for video in index.videos if video.usable]


def test_training_clips_of_flow(whole: Path) -> None:
    index = read_index(whole)
    rule = TrainRule(3, 5, "segments_random", 32, "plain")
    clips = ClipDataset(index.store(), usable(index), index.classes, rule, 0)
    both = set()
    for epoch in range(6):
        clips.set_epoch(epoch)
        sample = clips[3]
        assert sample.video_id == "14"  # one field, which fills every window
        assert sample.frames.shape == (1, 3, 5, 2, 32, 32)
        assert sample.frames.dtype == torch.uint8
        x = sample.frames[..., 0, :, :].float().median().item()
        both.add(round((x - 127.5) / 25.5))
    assert both == {1, -1}, "moving right, or left when mirrored"


def test_a_cache_counts_the_two_channels_of_a_field(whole: Path) -> None:
    index = read_index(whole)
    rule = TrainRule(3, 5, "segments_random", 32, "plain")
    clips = ClipDataset(index.store(), usable(index), index.classes, rule, 0, cache_mb=1)
    for n in range(len(clips)):
        clips[n]
    assert len(clips._cache) == len(clips)
    assert clips._cached_bytes == sum(fields.numel() for fields in clips._cache.values())


def test_eval_clips_of_flow_take_windows_of_fields(whole: Path) -> None:
    index = read_index(whole)
    protocol = load_protocols(MANIFESTS)["center_1x1"]
    rule = EvalRule(2, 5, protocol, None, 48)
    clips = ClipDataset(index.store(), usable(index), index.classes, rule, 0)
    sample = clips[2]
    assert (sample.video_id, sample.frames.shape) == ("13", (1, 2, 5, 2, 48, 48))
    # 7 fields, two windows of five, which start at 0 and 2
    stored = [levels(bytes(image)) for image in index.store().jpegs("13")]
    for segment, first in enumerate((0, 2)):
        for number in range(5):
            x, y = stored[first + number]
            found = sample.frames[0, segment, number].double().numpy()
            assert np.abs(found - np.stack([x, y])[:, :, 8:56]).max() <= 1


def test_flow_is_normalised_around_no_motion() -> None:
    clip = torch.tensor([0, 255, 128], dtype=torch.uint8).view(1, 1, 1, 3).expand(1, 2, 1, 3)
    found = normalise_flow(clip)
    assert found.shape == clip.shape
    expected = [-0.5 / 0.226, 0.5 / 0.226, (128 / 255 - 0.5) / 0.226]
    for channel in range(2):
        assert found[0, channel, 0].tolist() == pytest.approx(expected)
