"""The list of what is wrong, and the first look into every video."""

from __future__ import annotations

from pathlib import Path

from pipeline.sources.ledger import read_ledger
from pipeline.sources.problems import Problem, list_problems, probe, read_problems, write_problems
from tests.pipeline.samples import Made, clip_bytes, dataset, numbered, own_videos, policy
from tests.pipeline.samples import something_v1 as frame_folders


def ledger(made: Made) -> list[tuple[str, str]]:
    made.check()
    rows = read_ledger(made.summary.with_suffix(".parquet"))
    found = probe(made.dataset, made.raw, rows, 2)
    return [(finding.video_id, finding.status) for finding in found]


def test_what_cannot_be_opened_and_what_is_short_is_found_before_decoding(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(6), max_failed_fraction=1.0, decode=policy(min_frames=5))
    clips = made.raw / "videos"
    (clips / "clip000.avi").write_bytes(clip_bytes(".avi", 4))
    (clips / "clip001.avi").write_bytes(clip_bytes(".avi", 5))
    (clips / "clip002.avi").write_bytes(b"\0" * 900)
    cut = clip_bytes(".mp4", 30)
    (clips / "clip003.avi").write_bytes(cut[: len(cut) // 2])  # its index came last
    (clips / "clip004.avi").unlink()  # no business of this look
    seen: list[tuple[int, int]] = []
    rows = [("clip000.avi", "short"), ("clip002.avi", "unreadable"), ("clip003.avi", "unreadable")]
    assert ledger(made) == rows
    listed = read_ledger(made.summary.with_suffix(".parquet"))
    found = probe(made.dataset, made.raw, listed, 1, lambda *now: seen.append(now))
    assert found[0].reason == "4 frames, the minimum is 5"
    assert "moov" in found[2].reason
    assert seen[-1] == (5, 5)


def test_frame_folders_are_counted(tmp_path: Path) -> None:
    labels = ["Holding something"]
    clips = {"7": ("train", labels[0], 3), "8": ("train", labels[0], 4)}
    frame_folders(tmp_path / "raw", clips, labels)
    about = dataset("ssv1", max_failed_fraction=1.0, decode=policy(min_frames=4))
    made = Made(about, tmp_path / "raw", tmp_path / "s.json", tmp_path / "frames")
    assert ledger(made) == [("7", "short")]


def test_the_list_holds_everything_but_what_is_ready(tmp_path: Path) -> None:
    made = own_videos(tmp_path, ['a "b", c.avi', *numbered(3)], max_failed_fraction=1.0)
    (made.raw / "videos" / "clip001.avi").unlink()
    (made.raw / "videos" / "clip002.avi").rename(made.raw / "videos" / "stray, one.avi")
    (made.raw / "train.csv").write_text(
        "clip000.avi,a\nclip000.avi,a\nclip001.avi,b\nclip002.avi,b"
    )
    made.check()
    rows = read_ledger(made.summary.with_suffix(".parquet"))
    found = list_problems(["clip000.avi is listed twice in train"], rows)
    assert [(f.status, f.video_id) for f in found] == [
        ("problem", ""), ("missing", "clip001.avi"), ("missing", "clip002.avi"),
        ("unlisted", ""), ("unlisted", ""),
    ]  # fmt: skip
    write_problems(tmp_path / "list.csv", found)
    assert read_problems(tmp_path / "list.csv") == found
    assert (tmp_path / "list.csv").read_text().startswith("status,video_id,path,reason\n")
    assert Problem("unlisted", "", "videos/stray, one.avi", "no list names it") in found
