"""Data sets that come as numbered parts of one gzip tar: unpacked beside the parts, once.

The publisher's own instruction is `cat 20bn-something-something-v1-?? | tar zx`; this does the
same, lets no member leave the folder, and shows the folder only when it is complete. A part may
itself be zipped (`20bn-something-something-v2-00.zip`), as later downloads are.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from pipeline.core.errors import DataError, StoreError

REPLACEMENTS = "replacement_for_corrupted_k400"
_CHUNK_BYTES = 1 << 20


def parts_of(raw: Path, folder: str) -> list[Path]:
    """The archive's parts in order: files `<folder>-00`, `<folder>-01`, … in the raw folder.

    Where a part lies there both plain and zipped, the plain one counts.
    """
    pattern = re.compile(re.escape(folder) + r"-(\d{2,3})(\.zip)?")
    found: dict[int, Path] = {}
    for path in sorted(raw.iterdir(), reverse=True):
        match = pattern.fullmatch(path.name)
        if match is not None and path.is_file():
            found[int(match[1])] = path
    return [found[number] for number in sorted(found)]


def unpack_parts(raw: Path, folder: str) -> bool:
    """Unpack the parts of `folder` where they lie, unless the folder is there; True if it did.

    Raises DataError for an incomplete or damaged archive (a missing part shows as its end coming
    too early) and StoreError when the disk is full; neither leaves a folder behind.
    """
    if (raw / folder).exists() or not (parts := parts_of(raw, folder)):
        return False
    numbers = [int(path.name.removesuffix(".zip").rpartition("-")[2]) for path in parts]
    gaps = sorted(set(range(max(numbers) + 1)) - set(numbers))
    if gaps:
        raise DataError(
            f"parts of {folder} are missing: {', '.join(f'{n:02d}' for n in gaps[:8])}",
            do="fetch them and run the command again",
        )
    _unpack(raw, folder, parts, flat=False)
    return True


def unpack_replacements(raw: Path) -> bool:
    """Unpack Kinetics' `replacement_for_corrupted_k400.tgz` into a folder of that name, unless it
    is there; True if it did. Raises as `unpack_parts` does."""
    archives = [raw / f"{REPLACEMENTS}{suffix}" for suffix in (".tgz", ".tar.gz")]
    found = [path for path in archives if path.is_file()]
    if (raw / REPLACEMENTS).exists() or not found:
        return False
    _unpack(raw, REPLACEMENTS, found[:1], flat=True)
    return True


def _unpack(raw: Path, folder: str, parts: Sequence[Path], *, flat: bool) -> None:
    """The archive that `parts` make up, shown as `raw / folder` once it is whole.

    `flat`: its members may lie side by side instead of in a folder of that name.
    """
    half = raw / f".tmp-{folder}"
    shutil.rmtree(half, ignore_errors=True)
    try:
        with _Joined(parts) as joined, gzip.GzipFile(fileobj=joined, mode="rb") as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                _extract(archive, half)
            while stream.read(_CHUNK_BYTES):  # tarfile stops early; the checksum is at the end
                pass
        if (half / folder).is_dir():
            (half / folder).rename(raw / folder)
        elif flat and half.is_dir():
            half.rename(raw / folder)
        else:
            raise DataError(f"the archive holds no folder {folder}", do="check the parts")
    except _DAMAGE as error:
        raise DataError(
            f"the parts of {folder} are no whole archive: {error}",
            do="fetch the damaged or missing parts again",
        ) from None
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be unpacked: {error.strerror or error}",
            do="free some space and run the command again",
        ) from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _extract(archive: tarfile.TarFile, into: Path) -> None:
    """All members of an archive; none may come to lie outside the folder, nor be a device.

    ValueError or TarError for one that would.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(into, filter="data")
        return
    for member in archive:  # Python before 3.11.4, Debian 12's among them, has no filters
        inside = os.path.normpath(member.name.lstrip("/"))
        if not (member.isfile() or member.isdir()) or inside.split(os.sep)[0] == os.pardir:
            raise ValueError(f"{member.name} is no file of this folder")
        member.name = inside
        archive.extract(member, into, set_attrs=False)


_DAMAGE = (
    tarfile.TarError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, EOFError, ValueError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
"""What the libraries raise for a file that is no whole archive (the last two: zip's own ways)."""


def _open(part: Path) -> IO[bytes]:
    """A part's bytes; of a zipped one those of its only member."""
    if part.suffix != ".zip":
        return part.open("rb")
    archive = zipfile.ZipFile(part)
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        archive.close()
        raise ValueError(f"{part.name} holds {len(members)} files instead of one part")
    return archive.open(members[0])


class _Joined(io.RawIOBase):
    """Several files read as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._rest = list(paths)
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        wanted = _CHUNK_BYTES if size is None or size < 0 else size
        while True:
            if self._file is None:
                if not self._rest:
                    return b""
                self._file = _open(self._rest.pop(0))
            data = self._file.read(wanted)
            if data:
                return data
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
