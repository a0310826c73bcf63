"""Data sets that come as numbered parts of one gzip tar: unpacked beside the parts, once.

The publisher's own instruction is `cat 20bn-something-something-v1-?? | tar zx`; this does the
same, lets no member leave the folder, and shows the folder only when it is complete.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import DataError, StoreError

_CHUNK_BYTES = 1 << 20


def parts_of(raw: Path, folder: str) -> list[Path]:
    """The archive's parts in order: files `<folder>-00`, `<folder>-01`, … in the raw folder."""
    pattern = re.compile(re.escape(folder) + r"-\d{2,3}")
    return sorted(path for path in raw.iterdir() if path.is_file() and pattern.fullmatch(path.name))


def unpack_parts(raw: Path, folder: str) -> bool:
    """Unpack the parts of `folder` where they lie, unless the folder is there; True if it did.

    Raises DataError for an incomplete or damaged archive (a missing part shows as its end coming
    too early) and StoreError when the disk is full; neither leaves a folder behind.
    """
    if (raw / folder).exists() or not (parts := parts_of(raw, folder)):
        return False
    numbers = [int(path.name.rpartition("-")[2]) for path in parts]
    gaps = sorted(set(range(max(numbers) + 1)) - set(numbers))
    if gaps:
        raise DataError(
            f"parts of {folder} are missing: {', '.join(f'{n:02d}' for n in gaps[:8])}",
            do="fetch them and run the command again",
        )
    half = raw / f".tmp-{folder}"
    shutil.rmtree(half, ignore_errors=True)
    try:
        with _Joined(parts) as joined, gzip.GzipFile(fileobj=joined, mode="rb") as stream:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                archive.extractall(half, filter="data")
            while stream.read(_CHUNK_BYTES):  # tarfile stops early; the checksum is at the end
                pass
        if not (half / folder).is_dir():
            raise DataError(f"the archive holds no folder {folder}", do="check the parts")
        (half / folder).rename(raw / folder)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
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
    return True


class _Joined(io.RawIOBase):
    """Several files read as one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._rest = list(paths)
        self._file: io.BufferedReader | None = None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        wanted = _CHUNK_BYTES if size is None or size < 0 else size
        while True:
            if self._file is None:
                if not self._rest:
                    return b""
                self._file = self._rest.pop(0).open("rb")
            data = self._file.read(wanted)
            if data:
                return data
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
