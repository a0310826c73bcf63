"""Frames stored at half size: what is stored, when it is made again, and what stays as it was."""

from __future__ import annotations

import io
import itertools
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.clips.jpeg_decode import decode_frame, decode_half
from pipeline.core.errors import DataError, StoreError
from pipeline.core.files import sha256_json
from pipeline.sources.ledger import read_ledger
from pipeline.store import blob as blobs
from pipeline.store import halves
from pipeline.store.blob import pack, unpack
from pipeline.store.estimate import estimate
from pipeline.store.index import Video, read_index
from pipeline.store.inspect_store import export_frames, summary, verify
from pipeline.store.shards import recipe
from pipeline.video import decode_video as video
from pipeline.video import ffmpeg
from pipeline.video import jpeg_split as jpegs
from pipeline.video.jpeg_split import concatenate, size_px
from tests.pipeline.samples import (
    Made,
    dataset,
    jpeg,
    numbered,
    own_videos,
    policy,
    something_v1,
    write_clip,
)
from tests.pipeline.store.test_build_frames import KILLED, ROOT

WITH = policy(half_size=True)
IMAGES = st.lists(st.tuples(st.binary(max_size=90), st.binary(max_size=40)), max_size=8)


def rows(made: Made) -> dict[str, Video]:
    return {row.video_id: row for row in read_index(made.frames).videos}


def ready(root: Path, count: int = 8) -> Made:
    made = own_videos(root, numbered(count), decode=WITH)
    made.check()
    return made


def elsewhere(made: Made, name: str) -> Made:
    return Made(made.dataset, made.raw, made.summary, made.frames.with_name(name))


@given(IMAGES)
def test_a_blob_gives_its_frames_and_their_halves_back(both: list[tuple[bytes, bytes]]) -> None:
    whole, small = [one for one, _ in both], [two for _, two in both]
    stream, offsets = concatenate(whole)
    stored = unpack(pack(stream, offsets, 5, 3, small), "here")
    assert (stored.n_frames, stored.halves) == (len(both), bool(both))
    assert stored.images(None, False, "here") == whole
    if both:
        assert stored.images(None, True, "here") == small
        assert stored.images([len(both) - 1, 0], True, "here") == [small[-1], small[0]]


@given(st.lists(st.binary(max_size=90), max_size=8))
def test_a_blob_without_halves_has_the_bytes_it_always_had(images: list[bytes]) -> None:
    stream, offsets = concatenate(images)
    header = struct.pack("<4sHHIHH", b"TDNV", 1, 0, len(images), 7, 9)
    assert pack(stream, offsets, 7, 9) == header + array("I", offsets).tobytes() + stream
    with pytest.raises(StoreError, match="without frames at half size"):
        unpack(pack(stream, offsets, 7, 9), "here").images([], True, "here")


@pytest.mark.parametrize("flags", [1, 2, 3, 0x8000])
def test_flags_that_a_blob_cannot_have_are_refused(flags: int) -> None:
    blob = bytearray(pack(b"ab", [0, 2], 1, 1))
    blob[6:8] = struct.pack("<H", flags)
    with pytest.raises(StoreError):
        unpack(blob, "here")


def test_halves_are_all_or_none() -> None:
    with pytest.raises(ValueError, match="1 halves of 2 frames"):
        pack(b"abcd", [0, 2, 4], 1, 1, [b"x"])


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47), (17, 1)])
def test_a_half_is_its_frame_at_half_size(width: int, height: int) -> None:
    ramp = np.linspace(20, 220, width)[None, :, None] * np.ones((height, 1, 3))
    ramp[..., 1] = 255 - ramp[..., 1]
    sink = io.BytesIO()
    Image.fromarray(ramp.astype(np.uint8)).save(sink, "JPEG", quality=95)
    (small,) = halves.make(sink.getvalue(), [0, len(sink.getvalue())])
    assert size_px(small) == ((width + 1) // 2, (height + 1) // 2)
    stored = decode_frame(bytearray(small)).int()
    made = decode_half(bytearray(sink.getvalue())).int()
    assert stored.shape == made.shape
    assert (stored - made).abs().float().mean() < 4


def test_a_half_lies_as_its_frame_is_coded_whatever_the_camera_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture is to be turned
    sink = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 30, 60)).save(sink, "JPEG", exif=exif)
    image = sink.getvalue()
    assert decode_frame(bytearray(image)).shape == (3, 20, 40)
    assert decode_half(bytearray(image)).shape == (3, 10, 20)
    assert size_px(halves.make(image, [0, len(image)])[0]) == (20, 10)


def test_a_frame_that_has_no_half_is_named() -> None:
    stream, offsets = concatenate([jpeg(0), b"", jpeg(1)])
    with pytest.raises(DataError, match="frame 1 cannot be decoded"):
        halves.make(stream, offsets)


def test_more_halves_than_a_blob_can_hold_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, offsets = concatenate([jpeg(0), jpeg(1)])
    monkeypatch.setattr(halves, "MAX_BYTES", len(stream) + 900)
    with pytest.raises(DataError, match="more than 4 GiB"):
        halves.make(stream, offsets)


def test_halves_are_made_on_one_thread_and_leave_opencv_as_it_was() -> None:
    stream, offsets = concatenate([jpeg(n) for n in range(3)])
    before = cv2.getNumThreads()
    assert halves.make(stream, offsets) == halves.make(stream, offsets)
    assert cv2.getNumThreads() == before


def test_every_frame_of_every_video_is_stored_at_half_size_too(tmp_path: Path) -> None:
    made = ready(tmp_path, 4)
    about = made.decode()
    plain = elsewhere(own_videos(tmp_path, numbered(4)), "plain")
    plain.decode()
    store, without = (read_index(one.frames).store() for one in (made, plain))
    for name, row in rows(made).items():
        assert store.n_frames(name) == row.n_frames == without.n_frames(name)
        assert store.jpegs(name) == without.jpegs(name)
        assert [size_px(half) for half in store.jpegs(name, half=True)] == [(32, 24)] * row.n_frames
        assert (store.has_halves(name), without.has_halves(name)) == (True, False)
        with pytest.raises(IndexError):
            store.jpegs(name, [row.n_frames], half=True)
        with pytest.raises(StoreError, match="half_size: true"):
            without.jpegs(name, half=True)
    assert about["policy"]["half_size"] is True
    assert about["opencv"] == halves.build()
    plain_about = read_index(plain.frames).about
    assert "half_size" not in plain_about["policy"] and "opencv" not in plain_about


def test_frames_of_folders_have_halves_too(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    something_v1(raw, {"5": ("train", "a", 6), "40": ("validation", "b", 3)}, ["b", "a"])
    made = Made(dataset("ssv1", decode=WITH), raw, tmp_path / "made.json", tmp_path / "frames")
    made.check()
    made.decode()
    store = read_index(made.frames).store()
    (whole,), (half,) = store.jpegs("5", [2]), store.jpegs("5", [2], half=True)
    assert bytes(whole) == (raw / "20bn-something-something-v1/5/00003.jpg").read_bytes()
    assert [half] == halves.make(bytes(whole), [0, len(whole)])


def test_a_frame_without_a_half_costs_its_video_the_halves_and_no_more(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    something_v1(raw, {"5": ("train", "a", 6), "6": ("train", "b", 3)}, ["b", "a"])
    broken = raw / "20bn-something-something-v1/5/00003.jpg"
    image = broken.read_bytes()
    broken.write_bytes(image[: image.index(b"\xff\xda")] + b"\xff\xd9")  # a header, no picture
    made = Made(dataset("ssv1", decode=WITH), raw, tmp_path / "made.json", tmp_path / "frames")
    made.check()
    made.decode()
    found = rows(made)
    assert (found["5"].status, found["5"].n_frames, found["6"].status) == ("partial", 6, "ok")
    reason = "stored without frames at half size: frame 2 cannot be decoded"
    assert found["5"].reason == reason
    store = read_index(made.frames).store()
    assert (store.has_halves("5"), store.has_halves("6")) == (False, True)
    assert len(store.jpegs("5")) == 6


def test_stored_halves_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    made = ready(tmp_path)
    made.decode()
    other = elsewhere(made, "other")
    other.decode(workers=2)
    assert made.bytes_of_store() == other.bytes_of_store()


def test_stored_halves_survive_a_kill(tmp_path: Path) -> None:
    made = ready(tmp_path, 11)
    clean = elsewhere(made, "clean")
    clean.decode()
    (tmp_path / "dataset.json").write_text(made.dataset.model_dump_json())
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == -9
    made.decode()
    assert made.bytes_of_store() == clean.bytes_of_store()


def test_halves_of_an_earlier_shard_are_copied_with_their_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ready(tmp_path)
    made.decode()
    write_clip(made.raw / "videos" / "clip004.avi", 15)
    made.check()
    seen: list[int] = []
    plain = halves.make

    def counting(stream: bytes, offsets: list[int]) -> list[bytes]:
        seen.append(len(offsets) - 1)
        return plain(stream, offsets)

    monkeypatch.setattr(halves, "make", counting)
    made.decode()
    assert seen == [15]
    store = read_index(made.frames).store()
    assert all(store.has_halves(name) for name in store)
    clean = elsewhere(made, "clean")
    clean.decode()
    assert made.bytes_of_store() == clean.bytes_of_store()


def test_failed_videos_have_halves_once_they_succeed(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(3), decode=WITH, max_failed_fraction=1.0)
    broken = made.raw / "videos" / "clip001.avi"
    good = broken.read_bytes()
    broken.write_bytes(good[:700])
    made.check()
    made.decode()
    assert not rows(made)["clip001.avi"].usable
    broken.write_bytes(good)
    made.check()
    made.decode(retry_failed=True)
    assert read_index(made.frames).store().has_halves("clip001.avi")


def test_a_damaged_half_is_found_and_made_again(tmp_path: Path) -> None:
    made = ready(tmp_path)
    made.decode()
    whole = made.bytes_of_store()
    half = bytes(read_index(made.frames).store().jpegs("clip004.avi", half=True)[-1])
    path = made.frames / "shard-00001.lmdb"
    data = bytearray(path.read_bytes())
    data[data.index(half[-40:]) + 10] ^= 0x40
    path.write_bytes(data)
    (finding,) = verify(read_index(made.frames))
    assert (finding.shard, finding.video_id) == ("shard-00001.lmdb", "clip004.avi")
    made.decode()
    assert made.bytes_of_store() == whole
    assert verify(read_index(made.frames)) == []


def test_what_is_told_and_exported_of_a_store_is_of_its_whole_frames(tmp_path: Path) -> None:
    made = ready(tmp_path, 2)
    made.decode()
    index = read_index(made.frames)
    told = summary(index)
    assert told["frames"] == sum(row.n_frames for row in rows(made).values())
    assert told["sizes_px"] == {"64x48": 2}
    assert told["half_size"] is True
    paths = export_frames(index, "clip000.avi", None, tmp_path / "out")
    assert len(paths) == rows(made)["clip000.avi"].n_frames
    assert {size_px(path.read_bytes()) for path in paths} == {(64, 48)}


def test_an_estimate_counts_the_halves(tmp_path: Path) -> None:
    made = ready(tmp_path, 9)
    ledger = read_ledger(made.summary.with_suffix(".parquet"))
    without = made.dataset.model_copy(update={"decode": policy()})
    more, less = (estimate(one, made.raw, ledger, workers=1) for one in (made.dataset, without))
    assert more.frames == less.frames
    assert 1.1 * less.store_bytes < more.store_bytes
    about = made.decode()
    assert 0.5 * about["bytes"] < more.store_bytes < 1.1 * about["bytes"]


def test_only_stores_with_halves_have_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    base = dataset(decode=policy())
    inside = {
        key: value
        for key, value in policy().model_dump().items()
        if key not in ("timeout_s", "videos_per_shard", "half_size")
    }
    unlimited = policy(timeout_s=1.0)
    arguments = ffmpeg.command(Path("/source"), unlimited, "ffmpeg")
    formats = [blobs.FORMAT, jpegs.FORMAT, video.FORMAT]
    before = sha256_json([inside, base.options.frame_prefix, "7.0", arguments, formats])
    assert recipe(base, "7.0") == before, "what was decoded before stays as it is"
    having = dataset(decode=WITH)
    digests = [before, recipe(having, "7.0")]
    for name, value in (("FORMAT", 99), ("QUALITY", 50), ("build", lambda: "9.9")):
        monkeypatch.setattr(halves, name, value)
        digests.append(recipe(having, "7.0"))
        assert recipe(base, "7.0") == before
    assert all(one != two for one, two in itertools.combinations(digests, 2))


def test_switching_halves_on_and_off_makes_the_store_again(tmp_path: Path) -> None:
    made = ready(tmp_path)
    plain = own_videos(tmp_path, numbered(8))
    plain.decode()
    first = plain.bytes_of_store()
    made.decode()
    assert made.bytes_of_store() != first
    plain.decode()
    assert plain.bytes_of_store() == first


def test_a_worker_with_another_opencv_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ready(tmp_path, 2)
    builds = iter(["5.0", "5.0"])  # the index's, the recipe's; then this worker's own
    monkeypatch.setattr(halves, "build", lambda: next(builds, "4.0"))
    with pytest.raises(StoreError, match=r"OpenCV is 4\.0, the others' is 5\.0"):
        made.decode()
