from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from pipeline.core.errors import DataError
from pipeline.sources.archives import REPLACEMENTS, unpack_parts, unpack_replacements
from tests.pipeline.samples import Made, dataset, jpeg, something_v1, write_clip

FOLDER = "20bn-something-something-v1"


def archive(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as tar:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return sink.getvalue()


def put_parts(raw: Path, data: bytes, count: int) -> None:
    size = -(-len(data) // count)
    for number in range(count):
        part = data[number * size : (number + 1) * size]
        (raw / f"{FOLDER}-{number:02d}").write_bytes(part)


FRAMES = {f"{FOLDER}/7/{n + 1:05d}.jpg": jpeg(n) for n in range(4)}


def test_a_data_set_in_parts_is_checked_like_any_other(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    something_v1(raw, {}, ["a"])
    (raw / "something-something-v1-train.csv").write_text("7;a\n")
    put_parts(raw, archive(FRAMES), 3)
    made = Made(dataset("ssv1"), raw, tmp_path / "sources.json", tmp_path / "frames")
    assert made.check()["counts"] == {"ok": 1}
    assert made.decode()["frames"] == 4
    assert not unpack_parts(raw, FOLDER)
    assert not list(raw.glob(".tmp-*"))


def test_zipped_parts_are_read_in_place(tmp_path: Path) -> None:
    put_parts(tmp_path, archive(FRAMES), 3)
    for part in sorted(tmp_path.glob(f"{FOLDER}-0[02]")):
        with zipfile.ZipFile(f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
            zipped.write(part, part.name)
        part.unlink()
    (tmp_path / f"{FOLDER}-01.zip").write_bytes(b"the plain part comes first")
    assert unpack_parts(tmp_path, FOLDER)
    found = {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*.jpg")}
    assert found == FRAMES


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_a_damaged_zipped_part_is_told(tmp_path: Path, content: bytes) -> None:
    put_parts(tmp_path, archive(FRAMES), 2)
    (tmp_path / f"{FOLDER}-01").unlink()
    (tmp_path / f"{FOLDER}-01.zip").write_bytes(content)
    with pytest.raises(DataError, match="no whole archive"):
        unpack_parts(tmp_path, FOLDER)
    with zipfile.ZipFile(tmp_path / f"{FOLDER}-01.zip", "w") as zipped:
        zipped.writestr("a", b"1")
        zipped.writestr("b", b"2")
    with pytest.raises(DataError, match="holds 2 files"):
        unpack_parts(tmp_path, FOLDER)
    assert not (tmp_path / FOLDER).exists()


@pytest.mark.parametrize("inside", ["", f"{REPLACEMENTS}/"])
def test_the_replacements_of_kinetics_override_what_they_replace(
    tmp_path: Path, inside: str
) -> None:
    raw = tmp_path / "raw"
    name = "--id_000001_000011.mp4"
    broken = write_clip(raw / "part_0" / name, 4)
    broken.write_bytes(b"stopped")
    whole = write_clip(tmp_path / "whole.mp4", 6).read_bytes()
    (raw / f"{REPLACEMENTS}.tgz").write_bytes(archive({f"{inside}{name}": whole}))
    (raw / "train.csv").write_text(
        "label,youtube_id,time_start,time_end,split\nyoga,--id,1,11,train\n"
    )
    made = Made(dataset("kinetics400"), raw, tmp_path / "sources.json", tmp_path / "frames")
    assert made.check()["counts"] == {"ok": 1}
    assert made.decode()["frames"] == 6
    assert not unpack_replacements(raw)
    (raw / REPLACEMENTS / name).unlink()
    (raw / REPLACEMENTS).rmdir()
    (raw / f"{REPLACEMENTS}.tgz").write_bytes(b"stopped, too")
    with pytest.raises(DataError, match="no whole archive"):
        unpack_replacements(raw)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    put_parts(tmp_path, archive(FRAMES), 4)
    (tmp_path / f"{FOLDER}-02").unlink()
    with pytest.raises(DataError, match="missing: 02"):
        unpack_parts(tmp_path, FOLDER)


@pytest.mark.parametrize("damage", ["last part", "middle"])
def test_a_damaged_archive_leaves_nothing_behind(tmp_path: Path, damage: str) -> None:
    put_parts(tmp_path, archive(FRAMES), 3)
    if damage == "last part":
        (tmp_path / f"{FOLDER}-02").unlink()
    else:
        (tmp_path / f"{FOLDER}-01").write_bytes(b"\0" * 900)
    with pytest.raises(DataError, match="no whole archive"):
        unpack_parts(tmp_path, FOLDER)
    assert all(path.is_file() for path in tmp_path.iterdir())


@pytest.fixture(params=["with filters", "without"])
def python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python whose tarfile has filters, as far as this one does, and one from before them."""
    if request.param == "without":
        monkeypatch.delattr(tarfile, "data_filter", raising=False)


@pytest.mark.usefixtures("python")
@pytest.mark.parametrize("name", ["../../escaped.txt", f"{FOLDER}/../../../escaped.txt"])
def test_a_member_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    put_parts(raw, archive({**FRAMES, name: b"x"}), 2)
    with pytest.raises(DataError):
        unpack_parts(raw, FOLDER)
    assert not list(tmp_path.rglob("escaped.txt"))


@pytest.mark.usefixtures("python")
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    raw, outside = tmp_path / "raw", tmp_path / "outside"
    raw.mkdir()
    outside.write_text("secret")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        link = tarfile.TarInfo(f"{FOLDER}/1/00001.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        made.addfile(link)
    put_parts(raw, packed.getvalue(), 2)
    with pytest.raises(DataError):
        unpack_parts(raw, FOLDER)
    assert not (raw / FOLDER).exists()


@pytest.mark.usefixtures("python")
def test_every_python_unpacks_the_same_files(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    put_parts(raw, archive(FRAMES), 3)
    assert unpack_parts(raw, FOLDER)
    found = {str(p.relative_to(raw)): p.read_bytes() for p in raw.rglob("*.jpg")}
    assert found == FRAMES
    assert not list(raw.glob(".tmp-*"))
