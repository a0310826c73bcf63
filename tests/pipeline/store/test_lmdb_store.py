from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import resource
import signal
import struct
import threading
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import StoreError
from pipeline.store.lmdb_store import FrameStore, ShardFile, ShardWriter, scan
from pipeline.store.packed_frames import ShardDigest, pack, unpack
from pipeline.video.jpeg_split import concatenate

Videos = dict[str, list[bytes]]
IDS = st.text(
    st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40
)  # any printable id
VIDEOS = st.dictionaries(IDS, st.lists(st.binary(max_size=300), max_size=6), max_size=8)


def write(path: Path, videos: Videos) -> ShardFile:
    with ShardWriter(path) as writer:
        for video_id in sorted(videos):
            stream, offsets = concatenate(videos[video_id])
            writer.put(video_id, pack(stream, offsets, 4, 3))
        return writer.close()


def store(folder: Path, shard: ShardFile, videos: Videos) -> FrameStore:
    return FrameStore(folder, [shard], dict.fromkeys(videos, 0))


SOME: Videos = {f"v{n:02d}": [bytes([n, f]) * 500 for f in range(n)] for n in range(12)}


@given(st.lists(st.binary(max_size=100), max_size=10), st.integers(1, 65535))
def test_blobs_round_trip(images: list[bytes], side: int) -> None:
    stream, offsets = concatenate(images)
    stored = unpack(pack(stream, offsets, side, 1), "here")
    found = [bytes(stored.jpegs[a:b]) for a, b in itertools.pairwise(stored.offsets)]
    assert found == images == stored.images(None, "here")
    assert stored.n_frames == len(images)


@given(st.lists(st.binary(max_size=90), max_size=8))
def test_the_bytes_of_a_blob_are_fixed(images: list[bytes]) -> None:
    stream, offsets = concatenate(images)
    header = struct.pack("<4sHHIHH", b"TDNV", 1, 0, len(images), 7, 9)
    assert pack(stream, offsets, 7, 9) == header + array("I", offsets).tobytes() + stream


@pytest.mark.parametrize("flags", [1, 2, 0x8000])
def test_a_blob_with_flags_is_refused(flags: int) -> None:
    blob = bytearray(pack(b"ab", [0, 2], 1, 1))
    blob[6:8] = struct.pack("<H", flags)
    with pytest.raises(StoreError, match="format"):
        unpack(blob, "here")


@given(st.binary(max_size=80))
def test_noise_is_no_blob(data: bytes) -> None:
    with pytest.raises(StoreError):
        unpack(data, "here")


@settings(max_examples=40, deadline=None)
@given(VIDEOS)
def test_stores_round_trip(tmp_path_factory: pytest.TempPathFactory, videos: Videos) -> None:
    folder = tmp_path_factory.mktemp("store")
    shard = write(folder / "shard-00000.lmdb", videos)
    reader = store(folder, shard, videos)
    assert {video_id: [bytes(x) for x in reader.jpegs(video_id)] for video_id in reader} == videos
    assert shard.entries == len(videos)
    assert [video_id for video_id, _, _ in scan(folder, shard)] == sorted(videos)


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "a.lmdb", SOME)
    two = write(tmp_path / "b.lmdb", SOME)
    assert one.content == two.content
    assert (tmp_path / "a.lmdb").read_bytes() == (tmp_path / "b.lmdb").read_bytes()


def test_a_large_shard_grows_and_stays_reproducible(tmp_path: Path) -> None:
    large: Videos = {f"v{n}": [os.urandom(1 << 20)] * 9 for n in range(5)}
    one = write(tmp_path / "a.lmdb", large)
    write(tmp_path / "b.lmdb", large)
    assert (tmp_path / "a.lmdb").read_bytes() == (tmp_path / "b.lmdb").read_bytes()
    assert one.bytes <= 1.005 * 45 * (1 << 20)
    assert bytes(store(tmp_path, one, large).jpegs("v3", [8])[0]) == large["v3"][8]


def test_digest_is_of_content_not_of_pages(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.lmdb", SOME)
    digest = ShardDigest()
    for video_id, size, sha256 in scan(tmp_path, shard):
        digest.add(video_id.encode(), size, sha256)
    assert digest.hex() == shard.content


def test_frames_by_number(tmp_path: Path) -> None:
    reader = store(tmp_path, write(tmp_path / "a.lmdb", SOME), SOME)
    assert [bytes(x) for x in reader.jpegs("v05", [4, 0, 0])] == [SOME["v05"][i] for i in (4, 0, 0)]
    assert reader.n_frames("v05") == 5
    for wrong in (5, -1):
        with pytest.raises(IndexError):
            reader.jpegs("v05", [wrong])


def test_keys_must_ascend(tmp_path: Path) -> None:
    blob = pack(b"", [0], 1, 1)
    with ShardWriter(tmp_path / "a.lmdb") as writer:
        writer.put("b", blob)
        for key in ("a", "b"):
            with pytest.raises(StoreError, match="key order"):
                writer.put(key, blob)
    assert list(tmp_path.iterdir()) == []


def test_an_abandoned_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path / "a.lmdb") as writer:
        writer.put("b", pack(b"", [0], 1, 1))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_readers_leave_no_trace(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.lmdb", SOME)
    before = [(p.name, p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.iterdir()]
    reader = store(tmp_path, shard, SOME)
    reader.jpegs("v03")
    assert [(p.name, p.stat().st_mtime_ns, p.read_bytes()) for p in tmp_path.iterdir()] == before


def test_two_stores_may_read_one_file(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.lmdb", SOME)
    one, two = store(tmp_path, shard, SOME), store(tmp_path, shard, SOME)
    assert one.jpegs("v04") == two.jpegs("v04")


def test_a_replaced_shard_is_opened_anew(tmp_path: Path) -> None:
    reader = store(tmp_path, write(tmp_path / "a.lmdb", SOME), SOME)
    reader.jpegs("v04")
    other = {name: [image[::-1] + b"x" for image in images] for name, images in SOME.items()}
    reader = store(tmp_path, write(tmp_path / "a.lmdb", other), other)
    assert bytes(reader.jpegs("v04")[1]) == other["v04"][1]


def test_a_truncated_shard_is_refused_before_it_kills_the_reader(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.lmdb", SOME)
    with (tmp_path / "a.lmdb").open("r+b") as file:
        file.truncate(shard.bytes // 2)
    with pytest.raises(StoreError, match=f"where the index says {shard.bytes}"):
        store(tmp_path, shard, SOME).jpegs("v04")
    with pytest.raises(StoreError):
        list(scan(tmp_path, shard))


def test_missing_swapped_and_foreign_shards_are_refused(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.lmdb", SOME)
    other = {f"w{name}": images for name, images in SOME.items()}
    write(tmp_path / "b.lmdb", other)
    os.replace(tmp_path / "b.lmdb", tmp_path / "a.lmdb")  # same size, other keys
    size = (tmp_path / "a.lmdb").stat().st_size
    swapped = ShardFile(shard.name, size, shard.entries, shard.content)
    with pytest.raises(StoreError, match="does not hold it"):
        store(tmp_path, swapped, SOME).jpegs("v04")
    (tmp_path / "a.lmdb").write_bytes(b"not lmdb" * (size // 8))
    with pytest.raises(StoreError, match="cannot be opened"):
        store(tmp_path, swapped, SOME).jpegs("v04")
    (tmp_path / "a.lmdb").unlink()
    with pytest.raises(StoreError, match="missing"):
        store(tmp_path, shard, SOME).jpegs("v04")


def test_a_video_without_frames_is_named(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.lmdb", SOME)
    with pytest.raises(StoreError, match="'nobody' has no frames"):
        store(tmp_path, shard, SOME).jpegs("nobody")


def read_in_child(reader: FrameStore, video_id: str, queue: multiprocessing.Queue[bytes]) -> None:
    queue.put(b"".join(bytes(x) for x in reader.jpegs(video_id)))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_store_crosses_into_child_processes(tmp_path: Path, method: str) -> None:
    reader = store(tmp_path, write(tmp_path / "a.lmdb", SOME), SOME)
    reader.jpegs("v04")  # the parent has the file open
    context = multiprocessing.get_context(method)
    queue: multiprocessing.Queue[bytes] = context.Queue()
    children = [
        context.Process(target=read_in_child, args=(reader, "v05", queue)) for _ in range(2)
    ]
    for child in children:
        child.start()
    found = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join()
    assert found == [b"".join(SOME["v05"])] * 2
    assert bytes(reader.jpegs("v04")[0]) == SOME["v04"][0]


def test_a_store_is_pickled_without_its_handles(tmp_path: Path) -> None:
    reader = store(tmp_path, write(tmp_path / "a.lmdb", SOME), SOME)
    reader.jpegs("v04")
    assert pickle.loads(pickle.dumps(reader)).jpegs("v04") == reader.jpegs("v04")


def test_a_store_serves_several_threads(tmp_path: Path) -> None:
    reader = store(tmp_path, write(tmp_path / "a.lmdb", SOME), SOME)
    wrong: list[str] = []

    def work(offset: int) -> None:
        for n in range(300):
            video_id = f"v{(n + offset) % 12:02d}"
            if [bytes(x) for x in reader.jpegs(video_id)] != SOME[video_id]:
                wrong.append(video_id)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def fill_a_small_disk(folder: str, queue: multiprocessing.Queue[str]) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    try:
        write(Path(folder) / "b.lmdb", {f"v{n}": [os.urandom(50_000)] for n in range(20)})
    except StoreError as error:
        queue.put(str(error))
    else:
        queue.put("no error")


def test_a_full_disk_says_so_and_leaves_finished_shards_whole(tmp_path: Path) -> None:
    shard = write(tmp_path / "a.lmdb", SOME)
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[str] = context.Queue()
    child = context.Process(target=fill_a_small_disk, args=(str(tmp_path), queue))
    child.start()
    message = queue.get(timeout=60)
    child.join()
    assert "the disk is full" in message
    assert str(tmp_path) not in message
    assert [path.name for path in tmp_path.iterdir()] == ["a.lmdb"]
    assert len(list(scan(tmp_path, shard))) == len(SOME)


def test_a_folder_that_cannot_be_written_is_named_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory") as caught:
        ShardWriter(tmp_path / "gone" / "shard-00000.lmdb")
    assert caught.value.where == "shard-00000.lmdb"
    assert caught.value.do
    assert str(tmp_path) not in str(caught.value)
