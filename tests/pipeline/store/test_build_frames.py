"""Decoding a data set: accounting, resuming, faults, and the same bytes whatever happens."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import AbsentData, DataError, StoreError, UsageError
from pipeline.core.locks import exclusive
from pipeline.core.ray_pool import Pool
from pipeline.store.index import Video, read_index
from pipeline.store.inspect_store import export_frames, verify
from pipeline.video.decode_video import Decoded
from pipeline.video.decode_video import decode as decode_video
from pipeline.video.ffmpeg import binary, build
from tests.pipeline.samples import (
    Made,
    clip_bytes,
    dataset,
    numbered,
    own_videos,
    policy,
    something_v1,
    something_v2,
    write_clip,
)

ROOT = Path(__file__).resolve().parents[3]


def videos(made: Made) -> dict[str, Video]:
    return {video.video_id: video for video in read_index(made.frames).videos}


def ready(root: Path, count: int = 8, **changes: object) -> Made:
    made = own_videos(root, numbered(count), **changes)
    made.check()
    return made


def test_every_listed_video_is_accounted_for(tmp_path: Path) -> None:
    made = own_videos(
        tmp_path, numbered(7), max_failed_fraction=1.0, decode=policy(min_frames=6), frames=6
    )
    clips = made.raw / "videos"
    (clips / "clip000.avi").unlink()
    (clips / "clip001.avi").write_bytes(b"no video at all")
    (clips / "clip002.avi").write_bytes(clip_bytes(".avi", 3))
    cut = clip_bytes(".mkv", 40)
    (clips / "clip003.avi").write_bytes(cut[: len(cut) // 2])
    made.check()
    about = made.decode()
    rows = videos(made)
    assert list(rows) == numbered(7)
    assert [row.status for row in rows.values()] == [
        "missing", "error", "short", "partial", "ok", "ok", "ok",
    ]  # fmt: skip
    assert all(bool(row.reason) == (row.status != "ok") for row in rows.values())
    assert rows["clip002.avi"].reason == "3 frames, the minimum is 6"
    assert all(row.shard >= 0 and row.n_frames >= 6 for row in rows.values() if row.usable)
    assert all(row.shard == -1 and row.n_frames == 0 for row in rows.values() if not row.usable)
    assert about["counts"] == {"error": 1, "missing": 1, "ok": 3, "partial": 1, "short": 1}
    assert about["splits"]["train"] == {"listed": 7, "usable": 4, "partial": 1}
    store = read_index(made.frames).store()
    for row in rows.values():
        assert (row.video_id in store) == row.usable
        if row.usable:
            assert len(store.jpegs(row.video_id)) == row.n_frames
    assert str(tmp_path) not in (made.frames / "index.json").read_text()


def test_too_many_failures_stop_the_stage_with_a_list(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(4))
    (made.raw / "videos" / "clip002.avi").write_bytes(b"no video at all")
    made.check()
    with pytest.raises(DataError, match=r"(?s)1 of 4 videos.*clip002\.avi: error: ffmpeg: "):
        made.decode()
    assert not (made.frames / "index.json").exists()
    assert len(list(made.frames.glob("shard-*.lmdb"))) == 2


def test_official_layouts_decode(tmp_path: Path) -> None:
    raw = tmp_path / "one"
    something_v1(raw, {"5": ("train", "a", 6), "40": ("validation", "b", 3)}, ["b", "a"])
    one = Made(dataset("ssv1"), raw, tmp_path / "one.json", tmp_path / "frames1")
    one.check()
    one.decode()
    rows = videos(one)
    assert {name: (row.n_frames, row.labels, row.splits) for name, row in rows.items()} == {
        "40": (3, [1], ["validation"]),
        "5": (6, [0], ["train"]),
    }
    frame = read_index(one.frames).store().jpegs("5", [2])[0]
    assert bytes(frame) == (raw / "20bn-something-something-v1/5/00003.jpg").read_bytes()

    raw = tmp_path / "two"
    something_v2(raw, {"5": ("train", "a", 6), "6": ("test", "", 2)}, long_names=True)
    two = Made(dataset("ssv2"), raw, tmp_path / "two.json", tmp_path / "frames2")
    two.check()
    two.decode()
    assert {name: (row.status, row.n_frames) for name, row in videos(two).items()} == {
        "5": ("ok", 6),
        "6": ("skipped", 0),
    }


def test_a_second_run_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ready(tmp_path)
    made.decode()
    before = {path.name: path.stat().st_mtime_ns for path in made.frames.iterdir()}
    monkeypatch.setattr("pipeline.store.build_frames.decode_video", None)
    made.decode()
    assert {path.name: path.stat().st_mtime_ns for path in made.frames.iterdir()} == before


ODD_NAMES = [
    "-y.avi", "--help.mp4", "two  words.avi", "it's.avi", 'say "hi".avi', "a;b|c&d.avi", "#1.avi",
    "$HOME.avi", "%03d.avi", "[x]*?.avi", "~.avi", "é視.avi", "http:x.avi", "@a=b+(c).mkv",
]  # fmt: skip


def test_odd_names_and_links_go_all_the_way(tmp_path: Path) -> None:
    """From the list through ledger, store, export and back: a name is only ever a name."""
    links = ["link.avi", "below/linked.avi"]
    made = own_videos(tmp_path, ODD_NAMES + links)
    clips = made.raw / "videos"
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in links:
        (clips / name).rename(outside / Path(name).name)
    (clips / "link.avi").symlink_to(outside / "link.avi")
    (clips / "below").rmdir()
    (clips / "below").symlink_to(outside, target_is_directory=True)
    # A comma or a quote in a csv cell wants quotes around it.
    cells = [f'"{name.replace(chr(34), chr(34) * 2)}",a' for name in ODD_NAMES + links]
    (made.raw / "train.csv").write_text("\n".join(cells), encoding="utf-8")
    made.check()
    made.decode()
    index = read_index(made.frames)
    rows = videos(made)
    assert set(rows) == {*ODD_NAMES, *links}
    assert {row.status for row in rows.values()} == {"ok"}
    for name in (*ODD_NAMES, *links):
        paths = export_frames(index, name, [0, 1], tmp_path / "out")
        assert len(paths) == 2
        assert all(tmp_path / "out" in path.parents for path in paths)
    assert not list(verify(index))


def test_the_store_says_how_it_was_made(tmp_path: Path) -> None:
    made = ready(tmp_path, 3)
    made.decode()
    about = read_index(made.frames).about
    assert about["policy"] == made.dataset.decode.model_dump(mode="json")
    assert about["ffmpeg"] == build(binary())
    assert (about["classes"], about["label_order"]) == (["a", "b"], made.dataset.label_order)


def test_the_order_of_classes_is_stored_with_their_names(tmp_path: Path) -> None:
    """The same videos under both orders of Something-Something V1: other indices, and told."""
    labels = ["Pushing something", "Holding something"]
    something_v1(tmp_path / "raw", {"7": ("train", labels[0], 2)}, labels)
    found = {}
    for order in ("sorted", "file"):
        about = dataset("ssv1", label_order=order)
        made = Made(about, tmp_path / "raw", tmp_path / f"{order}.json", tmp_path / order)
        made.check()
        made.decode()
        index = read_index(made.frames)
        found[order] = (index.about["label_order"], index.classes, index.videos[0].labels)
    assert found["sorted"] == ("sorted", tuple(sorted(labels)), [1])
    assert found["file"] == ("file", tuple(labels), [0])


def test_only_missing_or_damaged_shards_are_redone(tmp_path: Path) -> None:
    made = ready(tmp_path, 11)
    made.decode()
    whole = made.bytes_of_store()
    untouched = made.frames / "shard-00003.lmdb"
    stamp = untouched.stat().st_mtime_ns
    (made.frames / "shard-00000.lmdb").unlink()
    (made.frames / "shard-00001.json").unlink()
    with (made.frames / "shard-00002.lmdb").open("r+b") as file:
        file.truncate(5000)
    (made.frames / ".tmp-left.lmdb").write_bytes(b"left by a killed run")
    (made.frames / "shard-00009.lmdb").write_bytes(b"of an earlier plan")
    made.decode()
    assert made.bytes_of_store() == whole
    assert untouched.stat().st_mtime_ns == stamp


def test_a_changed_video_costs_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = ready(tmp_path)
    made.decode()
    write_clip(made.raw / "videos" / "clip004.avi", 15)
    made.check()
    from pipeline.store import build_frames

    decoded: list[str] = []
    true_decode = build_frames.decode_video

    def counting(source: Path, *rest: object) -> object:
        decoded.append(source.name)
        return true_decode(source, *rest)

    monkeypatch.setattr(build_frames, "decode_video", counting)
    made.decode()
    assert decoded == ["clip004.avi"]
    patched = made.bytes_of_store()
    for path in made.frames.iterdir():
        path.unlink()
    made.decode()
    assert made.bytes_of_store() == patched


def test_the_order_in_which_shards_finish_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ready(tmp_path, 11)
    clean = Made(made.dataset, made.raw, made.summary, tmp_path / "clean")
    clean.decode()
    plain, done = Pool.run, []

    def last_first(self: Pool, function: Any, tasks: Any, **options: Any) -> Any:
        tasks = list(tasks)
        for position, result in plain(self, function, tasks[::-1], **options):
            done.append(len(tasks) - 1 - position)
            yield len(tasks) - 1 - position, result

    monkeypatch.setattr(Pool, "run", last_first)
    made.decode()
    assert done == [3, 2, 1, 0]
    assert made.bytes_of_store() == clean.bytes_of_store()


def test_a_changed_label_decodes_nothing_and_changes_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ready(tmp_path)
    before = made.decode()["content"]
    lists = made.raw / "train.csv"
    lists.write_text(lists.read_text().replace("clip002.avi,a", "clip002.avi,b"))
    made.check()
    monkeypatch.setattr("pipeline.store.build_frames.decode_video", None)
    assert made.decode()["content"] != before
    assert videos(made)["clip002.avi"].labels == [1]


def test_failed_videos_are_tried_again_on_request(tmp_path: Path) -> None:
    made = ready(tmp_path, 8, max_failed_fraction=1.0)
    clean = Made(made.dataset, made.raw, made.summary, tmp_path / "clean")
    clean.decode()
    broken = made.raw.parent / "ffmpeg"
    broken.write_text(f'#!/bin/sh\ncase "$*" in *clip005*) exit 3;; esac\nexec "{binary()}" "$@"\n')
    broken.chmod(0o755)
    os.environ["TDN_FFMPEG"] = str(broken)
    try:
        made.decode()
    finally:
        del os.environ["TDN_FFMPEG"]
    assert videos(made)["clip005.avi"].reason == "ffmpeg ended with code 3"
    made.decode()
    assert videos(made)["clip005.avi"].status == "error"
    made.decode(retry_failed=True)
    assert made.bytes_of_store() == clean.bytes_of_store()


def test_a_new_time_limit_retries_what_the_old_one_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ready(tmp_path, 8, max_failed_fraction=1.0)
    clean = Made(made.dataset, made.raw, made.summary, tmp_path / "clean")
    clean.decode()
    slow = tmp_path / "ffmpeg"
    slow.write_text(f'#!/bin/sh\n"{binary()}" "$@"\ncase "$*" in *clip005*) exec sleep 60;; esac\n')
    slow.chmod(0o755)
    hasty = Made(
        made.dataset.model_copy(update={"decode": policy(timeout_s=1.5)}),
        made.raw, made.summary, made.frames,
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setenv("TDN_FFMPEG", str(slow))
        hasty.decode()
    assert "limit of 1.5 s" in videos(hasty)["clip005.avi"].reason
    decoded = spied(monkeypatch)
    made.decode()
    assert decoded == ["clip005.avi"]
    assert made.bytes_of_store() == clean.bytes_of_store()


def test_what_verify_finds_damaged_is_what_decode_redoes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ready(tmp_path)
    made.decode()
    whole = made.bytes_of_store()
    stamps = {path.name: path.stat().st_mtime_ns for path in made.frames.glob("shard-*")}
    path = made.frames / "shard-00001.lmdb"
    data = bytearray(path.read_bytes())
    data[data.index(read_index(made.frames).store().blob("clip004.avi")[-60:]) + 10] ^= 0x40
    path.write_bytes(data)
    (finding,) = verify(read_index(made.frames))
    assert (finding.shard, finding.video_id) == (path.name, "clip004.avi")
    decoded = spied(monkeypatch)
    made.decode()
    assert decoded == ["clip003.avi", "clip004.avi", "clip005.avi"]
    assert made.bytes_of_store() == whole
    assert verify(read_index(made.frames)) == []
    after = {path.name: path.stat().st_mtime_ns for path in made.frames.glob("shard-*")}
    redone = {name for name in stamps if after[name] != stamps[name]}
    assert redone == {"shard-00001.lmdb", "shard-00001.json"}


def spied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the videos that are decoded from here on."""
    seen: list[str] = []

    def spy(source: Path, *rest: Any) -> Decoded:
        seen.append(source.name)
        return decode_video(source, *rest)

    monkeypatch.setattr("pipeline.store.build_frames.decode_video", spy)
    return seen


def test_absent_data_are_recorded_on_request(tmp_path: Path) -> None:
    made = Made(dataset("ssv2"), tmp_path / "raw", tmp_path / "s.json", tmp_path / "frames")
    made.check(record_absent=True)
    with pytest.raises(AbsentData):
        made.decode()
    about = made.decode(record_absent=True)
    assert (about["status"], about["dataset"]) == ("absent", "ssv2")
    with pytest.raises(AbsentData, match="not on this machine"):
        read_index(made.frames)


def test_index_files_must_belong_together(tmp_path: Path) -> None:
    made = ready(tmp_path)
    made.decode()
    index = (made.frames / "index.parquet").read_bytes()
    lists = made.raw / "train.csv"
    lists.write_text(lists.read_text().replace("clip002.avi,a", "clip002.avi,b"))
    made.check()
    made.decode()
    (made.frames / "index.parquet").write_bytes(index)
    with pytest.raises(StoreError, match="do not belong together"):
        read_index(made.frames)


def test_an_unknown_split_is_named(tmp_path: Path) -> None:
    made = ready(tmp_path)
    made.decode()
    with pytest.raises(StoreError, match="splits of this store: train"):
        read_index(made.frames).split("validation")


def test_the_second_decode_at_once_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    made = ready(tmp_path)
    with (
        exclusive(tmp_path / ".frames.lock", "x"),
        pytest.raises(UsageError, match=f"process {os.getpid()}"),
    ):
        made.decode()


def test_a_ledger_out_of_order_is_refused(tmp_path: Path) -> None:
    made = ready(tmp_path)
    ledger = made.summary.with_suffix(".parquet")
    pq.write_table(pq.read_table(ledger).take([1, 0, *range(2, 8)]), ledger)
    with pytest.raises(StoreError, match=r"not sorted: 'clip000\.avi' comes after 'clip001"):
        made.decode()


def test_skipped_videos_are_in_the_index_but_in_no_shard(tmp_path: Path) -> None:
    labels = ["Pushing something", "Holding something"]
    videos_of = {str(n): (["train", "test"][n % 2], labels[n % 2], 2) for n in range(1, 9)}
    something_v1(tmp_path / "raw", videos_of, labels)
    only_train = dataset("ssv1", decode_splits=["train"])
    made = Made(only_train, tmp_path / "raw", tmp_path / "sources.json", tmp_path / "frames")
    made.check()
    made.decode()
    rows = videos(made)
    assert {name: row.status for name, row in rows.items()} == {
        str(n): "skipped" if n % 2 else "ok" for n in range(1, 9)
    }
    assert [row.shard for row in rows.values()] == [-1, 0, -1, 0, -1, 0, -1, 1]


def test_progress_counts_videos(tmp_path: Path) -> None:
    made = ready(tmp_path)
    seen: list[tuple[int, int]] = []
    made.decode(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 8), (3, 8), (6, 8), (8, 8)]


KILLED = """
import os, sys
from pathlib import Path
from pipeline.store import build_frames
from pipeline.store.build_frames import decode
from pipeline.schema.dataset import Dataset
true_decode, seen = build_frames.decode_video, []
def dying(*arguments):
    seen.append(1)
    if len(seen) == 6:
        os.kill(os.getpid(), 9)
    return true_decode(*arguments)
build_frames.decode_video = dying
root = Path(sys.argv[1])
dataset = Dataset.model_validate_json((root / "dataset.json").read_text())
decode(dataset, root / "raw", root / "sources.json", root / "frames", workers=0)
"""


def test_killed_and_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    made = ready(tmp_path, 11)
    clean = Made(made.dataset, made.raw, made.summary, tmp_path / "clean")
    clean.decode()
    (tmp_path / "dataset.json").write_text(made.dataset.model_dump_json())
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert sorted(p.name for p in made.frames.glob("shard-*.lmdb")) == ["shard-00000.lmdb"]
    assert not (made.frames / "index.json").exists()
    made.decode()
    assert made.bytes_of_store() == clean.bytes_of_store()


FULL = """
import resource, signal, sys
from pathlib import Path
from pipeline.store.build_frames import decode
from pipeline.core.errors import StoreError
from pipeline.schema.dataset import Dataset
root = Path(sys.argv[1])
dataset = Dataset.model_validate_json((root / "dataset.json").read_text())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    decode(dataset, root / "raw", root / "sources.json", root / "frames", workers=0)
except StoreError as error:
    print(error)
"""


def test_a_full_disk_leaves_published_shards_whole(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(9))
    write_clip(made.raw / "videos" / "clip004.avi", 60, size="320x240")
    made.check()
    (tmp_path / "dataset.json").write_text(made.dataset.model_dump_json())
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), "200000"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert "the disk is full" in ran.stdout
    assert "1 of 3 shards are finished and whole, 2 are missing" in ran.stdout
    names = sorted(path.name for path in made.frames.iterdir())
    assert names == ["shard-00000.json", "shard-00000.lmdb"]
    made.decode()
    assert len(videos(made)) == 9


def test_mutated_videos_never_stop_a_decode(tmp_path: Path) -> None:
    """300 damaged files: no crash, no hang, every one accounted for, the good ones untouched."""
    chance = random.Random(7)
    suffixes = (".avi", ".webm", ".mp4", ".mkv")
    names = [f"m{number:03d}{suffixes[number % 4]}" for number in range(300)]
    good = [f"good{number}.avi" for number in range(4)]
    made = own_videos(
        tmp_path, good + names, max_failed_fraction=1.0, decode=policy(videos_per_shard=64)
    )
    clips = made.raw / "videos"
    for name in names:
        (clips / name).write_bytes(mutated((clips / name).read_bytes(), chance))
    made.check()
    made.decode(workers=0)
    rows = videos(made)
    assert sorted(rows) == sorted(good + names)
    assert all(rows[name].status == "ok" for name in good)
    statuses = {row.status for row in rows.values()}
    assert statuses <= {"ok", "partial", "empty", "error"}
    assert {"ok", "partial", "error"} <= statuses
    hollow = [rows[name] for name in names if not (clips / name).stat().st_size]
    assert {(row.status, row.reason) for row in hollow} == {("error", "the file is empty")}
    assert all(row.reason for row in rows.values() if row.status != "ok")
    store = read_index(made.frames).store()
    clean = own_videos(tmp_path / "clean", good)
    clean.check()
    clean.decode()
    clean_store = read_index(clean.frames).store()
    assert [store.blob(name) for name in good] == [clean_store.blob(name) for name in good]


def mutated(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    match chance.randrange(6):
        case 0:
            for _ in range(chance.randint(1, 40)):
                damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        case 1:
            del damaged[chance.randrange(len(damaged)) :]
        case 2:
            damaged[: chance.randint(1, 200)] = b""
        case 3:
            start = chance.randrange(len(damaged))
            damaged[start : start + 300] = bytes(300)
        case 4:
            damaged = bytearray(b"these are only words\n" * chance.randint(1, 50))
        case 5:
            damaged = bytearray()
    return bytes(damaged)


# --- Ray: started once for all that needs it ---------------------------------------------------


@pytest.mark.slow
def test_workers_crashes_and_poison_on_a_real_ray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers, one killed once, one video that always kills: the rest is as if nothing was."""
    made = ready(tmp_path, 13, max_failed_fraction=1.0)
    clean = Made(made.dataset, made.raw, made.summary, tmp_path / "clean")
    clean.decode()
    unlucky = tmp_path / "ffmpeg"
    unlucky.write_text(
        f"""#!/bin/sh
case "$*" in
  *clip004.avi*) kill -KILL $PPID; sleep 1;;
  *clip009.avi*) if mkdir "{tmp_path}/once" 2>/dev/null; then kill -KILL $PPID; sleep 1; fi;;
esac
exec "{binary()}" "$@"
"""
    )
    unlucky.chmod(0o755)
    monkeypatch.setenv("TDN_FFMPEG", str(unlucky))
    made.decode(workers=2)
    assert (tmp_path / "once").exists()
    rows = videos(made)
    assert (rows["clip004.avi"].status, rows["clip004.avi"].reason) == (
        "error", "decoding it failed: its worker process was killed",
    )  # fmt: skip
    assert [name for name, row in rows.items() if row.status != "ok"] == ["clip004.avi"]
    same = [name for name in clean.bytes_of_store() if "00001" not in name and "index" not in name]
    assert len(same) == 8
    for name in same:
        assert (made.frames / name).read_bytes() == (clean.frames / name).read_bytes()
    monkeypatch.delenv("TDN_FFMPEG")
    made.decode(workers=0, retry_failed=True)
    assert made.bytes_of_store() == clean.bytes_of_store()
