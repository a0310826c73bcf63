"""What a miniature's folder says is what the data set's own reader, check and decode find in it."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.files import write_atomic
from pipeline.mini import generate
from pipeline.mini.layouts import LAYOUTS
from pipeline.mini.motion_plan import plan_scenes
from pipeline.schema.dataset import Dataset, load_dataset
from pipeline.schema.miniature import Miniature
from pipeline.sources.ledger import check, read_ledger
from pipeline.sources.readers import read
from pipeline.store.build_frames import decode
from pipeline.store.index import FrameIndex, Video, read_index
from pipeline.video.ffmpeg import binary
from tests.pipeline.mini.miniatures import MINIATURES, shipped, small
from tests.pipeline.samples import MANIFESTS


def manifest(dataset: str, miniature: Miniature) -> Dataset:
    changes = {
        "num_classes": len(miniature.classes),
        "expected": miniature.expected,
        "flip_pairs": miniature.flip_pairs,
    }
    return load_dataset(MANIFESTS, dataset).model_copy(update=changes)


@dataclass
class Stored:
    """A small miniature that went through generation, check and decode."""

    miniature: Miniature
    raw: Path
    summary: dict[str, Any]
    statuses: Counter[str]
    index: FrameIndex

    def videos(self, split: str) -> list[Video]:
        return [video for video in self.index.videos if split in video.splits]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Any:
    made: dict[str, Stored] = {}

    def make(dataset: str) -> Stored:
        if dataset not in made:
            root = tmp_path_factory.mktemp(dataset)
            miniature = small(dataset)
            generate(dataset, miniature, root / "raw", 0)
            about = manifest(dataset, miniature)
            summary = check(about, root / "raw", root / "sources.json")
            decode(about, root / "raw", root / "sources.json", root / "frames", workers=0)
            rows = read_ledger(root / "sources.parquet")
            statuses = Counter(row.status for row in rows)
            index = read_index(root / "frames")
            made[dataset] = Stored(miniature, root / "raw", summary, statuses, index)
        return made[dataset]

    return make


@pytest.mark.parametrize("dataset", ["act", "fcvid", "hmdb51", "kinetics400", "weizmann"])
def test_counts_classes_and_frames_are_the_manifests(dataset: str, stored: Any) -> None:
    found = stored(dataset)
    assert found.summary["problems"] == []
    assert sorted(found.summary["classes"]) == sorted(found.miniature.classes)
    splits = {name: split["listed"] for name, split in found.summary["splits"].items()}
    assert splits == found.miniature.expected
    videos = [video for video in found.index.videos if video.n_frames]
    assert videos
    assert {video.status for video in videos} == {"ok"}
    assert {(v.width_px, v.height_px) for v in videos} == {
        (found.miniature.width_px, found.miniature.height_px)
    }
    kept = 20 if dataset == "fcvid" else found.miniature.frames  # every other frame of 40
    assert {video.n_frames for video in videos} == {kept}


def test_kinetics_rows_without_file_and_files_without_row(stored: Any) -> None:
    found = stored("kinetics400")
    clips = 2 * len(found.miniature.classes)
    missing = len(found.miniature.missing_rows)
    assert found.statuses == {"ok": 2 * clips, "missing": missing, "skipped": clips, "unlisted": 1}


def test_every_kinetics_convention_is_there_and_found(tmp_path: Path) -> None:
    """The whole shipped miniature's names and lists, over empty files."""
    miniature = shipped("kinetics400")
    clips = [clip for plan in plan_scenes("kinetics400", miniature) for clip in plan.clips]
    layout = LAYOUTS["kinetics400"]
    for clip in clips:
        write_atomic(tmp_path / layout.place(clip), b"x")
    for name, data in layout.annotate(miniature, clips).items():
        write_atomic(tmp_path / name, data)
    listing = read(manifest("kinetics400", miniature), tmp_path)
    sources = {item.relpath for item in listing.rows if item.relpath}
    assert sources == {layout.place(clip) for clip in clips}
    assert Counter(item.status for item in listing.rows) == {
        "ok": len(clips) - 10, "skipped": 10, "missing": sum(miniature.missing_rows.values()),
    }  # fmt: skip
    assert len(listing.unlisted) == 1
    folders = Counter(name.split("/")[0] for name in sources)
    assert set(folders) == {
        "train", "videos_train", "train_256", "val", "videos_val", "val_256", "videos_test",
        "part_0", "academic_torrents", "replacement_for_corrupted_k400",
    }  # fmt: skip
    replaced = [name for name in sources if name.startswith("replacement")]
    broken = [tmp_path / "part_0" / Path(name).name for name in replaced]
    assert len(broken) == 10
    assert all(b"mdat" in p.read_bytes() and b"moov" not in p.read_bytes() for p in broken)
    assert any(Path(name).name.startswith("-") for name in sources)


def test_hmdb51_headers_promise_a_frame_too_many(stored: Any) -> None:
    found = stored("hmdb51")
    path = next(iter(sorted(found.raw.glob("hmdb51_org/*/*.avi"))))
    said = subprocess.run(
        [binary(), "-i", f"file:{path}"], capture_output=True, text=True, check=False
    ).stderr
    match = re.search(r"Duration: 00:00:0([\d.]+)", said)
    assert match is not None
    assert round(float(match.group(1)) * found.miniature.fps) == found.miniature.frames + 1


def test_hmdb51_leaves_a_source_unused_in_every_split(stored: Any) -> None:
    found = stored("hmdb51")
    classes = len(found.miniature.classes)
    for split in ("01", "02", "03"):
        used = {v.video_id for v in found.videos(f"train{split}") + found.videos(f"test{split}")}
        assert len(found.index.videos) - len(used) == classes
    names = "".join(video.video_id for video in found.index.videos)
    assert all(char in names for char in "!#();+")
    assert any("_" in name for name in found.miniature.classes)


def test_fcvid_clips_carry_one_or_two_labels(stored: Any) -> None:
    found = stored("fcvid")
    counts = Counter(len(video.labels) for video in found.index.videos)
    assert counts[1] == counts[2] > 0
    assert set(counts) == {1, 2}


def test_weizmann_leaves_one_person_out(stored: Any) -> None:
    found = stored("weizmann")
    for person in ("daria", "shahar"):
        out = {video.video_id for video in found.videos(f"{person}/test")}
        assert out == {f"{person}_{name}" for name in found.miniature.classes}
        assert out.isdisjoint(video.video_id for video in found.videos(f"{person}/train"))


@pytest.mark.parametrize("dataset", MINIATURES)
def test_a_miniature_fits_its_manifests_folds(dataset: str) -> None:
    """Every fold of the full data set can be trained and scored on its miniature."""
    miniature = shipped(dataset)
    about = manifest(dataset, miniature)
    assert {name for fold in about.folds.values() for name in (fold.train, fold.val)} <= set(
        miniature.expected
    )
