from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipeline.core.errors import DataError, UsageError
from pipeline.store import inspect_store
from pipeline.store.index import FrameIndex, read_index
from pipeline.store.inspect_store import Read, _read, export_frames, summary, verify
from pipeline.store.lmdb_store import ShardFile
from pipeline.store.packed_frames import odd_frame, pack
from pipeline.store.tsn_lists import lists, write_lists
from pipeline.video.jpeg_split import concatenate
from tests.pipeline.samples import Made, jpeg, numbered, own_videos, policy


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = own_videos(tmp_path, numbered(8))
    made.check()
    made.decode()
    return made


def index(made: Made) -> FrameIndex:
    return read_index(made.frames)


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x40
    path.write_bytes(data)


def test_a_whole_store_verifies(made: Made) -> None:
    seen: list[tuple[int, int]] = []
    assert verify(index(made), lambda done, total: seen.append((done, total))) == []
    assert seen[-1] == (3, 3)


def test_a_flipped_bit_is_found_and_named(made: Made) -> None:
    blob = index(made).store().blob("clip004.avi")
    path = made.frames / "shard-00001.lmdb"
    flip(path, path.read_bytes().index(blob[-60:]) + 10)
    (finding,) = verify(index(made))
    assert (finding.shard, finding.video_id) == ("shard-00001.lmdb", "clip004.avi")


@pytest.mark.parametrize(
    ("images", "what"),
    [
        ([jpeg(1), jpeg(2) + jpeg(3), jpeg(4)], "its frame 1 is not exactly one JPEG"),
        ([jpeg(1), jpeg(2)[:-2]], "its frame 1 is not exactly one JPEG"),
        ([jpeg(1), jpeg(2), jpeg(3, 24, 16)], "its frame 2 has another size than the first"),
        ([jpeg(1), jpeg(2)], ""),
    ],
)
def test_a_frame_that_is_not_one_jpeg_of_the_video_s_size_is_named(
    images: list[bytes], what: str
) -> None:
    stream, offsets = concatenate(images)
    assert odd_frame(memoryview(pack(stream, offsets, 40, 32)), "here") == what


def test_a_frame_of_several_images_is_not_written_and_is_found_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = own_videos(tmp_path, numbered(2), decode=policy(min_frame_share=0.0))
    monkeypatch.setattr(
        "pipeline.video.decode_video.split", lambda stream: ([0, len(stream)], False)
    )
    made.check()
    with pytest.raises(DataError, match="failed: its frame 0 is not exactly one JPEG"):
        made.decode()
    monkeypatch.setattr("pipeline.store.shard_worker.odd_frame", lambda *_: "")
    made.decode(retry_failed=True)
    found = [(finding.video_id, finding.what) for finding in verify(index(made))]
    assert found == [(name, "its frame 0 is not exactly one JPEG") for name in numbered(2)]


def test_the_record_of_a_damaged_shard_alone_is_removed(made: Made) -> None:
    path = made.frames / "shard-00001.lmdb"
    flip(path, path.read_bytes().index(index(made).store().blob("clip004.avi")[-60:]) + 10)
    assert len(verify(index(made))) == 1
    names = [path.name for path in sorted(made.frames.glob("*.json"))]
    assert names == ["index.json", "shard-00000.json", "shard-00002.json"]
    assert len(verify(index(made))) == 1, "it is still damaged"


def test_a_record_that_cannot_be_removed_is_told(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made.frames / "shard-00001.lmdb").unlink()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(made.frames))

    monkeypatch.setattr(Path, "unlink", refuse)
    first, second = verify(index(made))
    assert first.what == "a shard is missing"
    assert second.what == "remove shard-00001.json by hand before decoding: Permission denied"


def test_no_damage_goes_unnoticed_nor_kills_the_caller(made: Made) -> None:
    path = made.frames / "shard-00000.lmdb"
    whole = path.read_bytes()
    for position in (8, 4096 + 20, 8192 + 18, 12288 + 2):  # meta, tree and overflow pages
        flip(path, position)
        findings = verify(index(made))
        path.write_bytes(whole)
        if findings:
            assert {finding.shard for finding in findings} == {"shard-00000.lmdb"}
    path.write_bytes(whole[:8192] + bytes(len(whole) - 8192))
    assert verify(index(made))
    path.write_bytes(whole)
    assert verify(index(made)) == []


def deadly(folder: Path, shard: ShardFile, frames: bool) -> Read:
    """A reader that the second shard kills, and that writes down who read which."""
    if shard.name == "shard-00001.lmdb":
        os._exit(9)
    with (folder / "readers").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return _read(folder, shard, frames)


def test_a_shard_that_kills_its_reader_is_named_alone(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_store, "_read", deadly)
    monkeypatch.setattr(inspect_store, "cores", lambda: 1)
    (finding,) = verify(index(made))
    assert (finding.shard, finding.what) == ("shard-00001.lmdb", "a damaged page kills its reader")
    pids = (made.frames / "readers").read_text().split()
    assert len(set(pids)) == 2, "one before the kill, one for all that follow"


def test_missing_truncated_swapped_and_foreign_shards_are_found(made: Made) -> None:
    first, second = made.frames / "shard-00000.lmdb", made.frames / "shard-00001.lmdb"
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert {f.shard for f in verify(index(made))} == {first.name, second.name}
    first.unlink()
    second.write_bytes(two[:-4096])
    (made.frames / "shard-00007.lmdb").write_bytes(b"")
    assert sorted((f.shard, f.what.split(" ")[0]) for f in verify(index(made))) == [
        ("shard-00000.lmdb", "a"),
        ("shard-00001.lmdb", "a"),
        ("shard-00007.lmdb", "no"),
    ]


def test_what_a_store_holds(made: Made) -> None:
    about = summary(index(made))
    assert (about["listed"], about["frames"], about["shards"]) == (8, 55, 3)
    assert about["frames_least_median_most"] == [6, 7, 8]
    assert (about["sizes_px"], about["fps"]) == ({"64x48": 8}, [12.0])
    json.dumps(about)


def test_frames_can_be_written_out(made: Made, tmp_path: Path) -> None:
    paths = export_frames(index(made), "clip001.avi", [0, 6], tmp_path / "out")
    assert [path.name for path in paths] == ["000000.jpg", "000006.jpg"]
    stored = index(made).store().jpegs("clip001.avi", [6])[0]
    assert paths[1].read_bytes() == stored
    assert len(export_frames(index(made), "clip001.avi", None, tmp_path / "all")) == 7
    with pytest.raises(UsageError, match="frames 0 to 6, not 7"):
        export_frames(index(made), "clip001.avi", [7], tmp_path / "out")
    with pytest.raises(UsageError, match="did you mean 'clip00"):
        export_frames(index(made), "clip01.avi", None, tmp_path / "out")


def test_lists_for_other_code_bases(made: Made, tmp_path: Path) -> None:
    assert lists(index(made), "train", "frames").splitlines()[1] == "videos/clip001.avi 7 1"
    assert lists(index(made), "train", "videos").splitlines()[1] == "videos/clip001.avi 1"
    assert lists(index(made), "train", "csv").splitlines()[1] == "videos/clip001.avi,1"
    names = [path.name for path in write_lists(index(made), tmp_path / "out", "frames")]
    assert names == ["train.frames.txt", "classes.txt"]
    assert (tmp_path / "out" / "classes.txt").read_text() == "a\nb\n"


def test_a_list_that_could_not_be_read_back_is_refused(tmp_path: Path) -> None:
    made = own_videos(tmp_path, ["my clip.avi"])
    made.check()
    made.decode()
    with pytest.raises(UsageError, match="holds a space"):
        lists(index(made), "train", "videos")
    assert lists(index(made), "train", "csv") == "videos/my clip.avi,0\n"
