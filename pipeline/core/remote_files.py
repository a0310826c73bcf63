"""Files by their digest at any URL that fsspec opens: a bucket, a server, a folder.

URL/files/3f/3fa9…              a content, named by its sha256
URL/<profile>/<data set>.json   which files of a data set have which content; written last
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.registry import known_implementations

from pipeline.core.errors import AbsentData, StoreError, UsageError
from pipeline.core.files import atomic_file, json_bytes, sha256_file

_CHUNK_BYTES = 1 << 22


class RemoteFiles:
    """The files at a URL. What its library raises becomes an error in words that names the URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        with self._asking("the URL"):
            self._fs, self._base = fsspec.url_to_fs(self.url)
            self._fs.invalidate_cache()

    def put(self, file: Path, digest: str) -> bool:
        """Copy a file there unless its content is there; whether that was needed.

        Raises StoreError when the file is not what `digest` says.
        """
        place = self._content(digest)
        size = file.stat().st_size if file.is_file() else None
        with self._asking(file.name):
            if size is not None and self._bytes(place) == size:
                return False
        if size is None or sha256_file(file) != digest:
            raise StoreError(
                "it is not what its run record says, so it is not pushed",
                where=file.name,
                do="`tdn store verify DATASET` names what is damaged",
            )
        with self._asking(file.name):
            self._make_folder(place)
            self._fs.put_file(str(file), place)
        return True

    def get(self, digest: str, path: Path) -> None:
        """Make `path` the content of that digest, which is computed as it arrives."""
        found = hashlib.sha256()
        with self._asking(path.name):
            source = self._fs.open(self._content(digest), "rb")
        with source, atomic_file(path) as file:
            while True:
                with self._asking(path.name):
                    chunk = source.read(_CHUNK_BYTES)
                if not chunk:
                    break
                found.update(chunk)
                file.write(chunk)
            if found.hexdigest() != digest:
                raise StoreError(
                    f"{self.url} has other bytes for {path.name} than were pushed",
                    where=f"files/{digest[:2]}/{digest}",
                    do="remove that file there, then `tdn store push URL DATASET` once more where "
                    "the data set was decoded",
                )

    def read(self, name: str) -> Any:
        """The JSON value `name` there. Raises AbsentData where there is none."""
        try:
            with self._asking(name):
                text = self._fs.cat_file(f"{self._base}/{name}")
            return json.loads(text)
        except ValueError as error:
            raise StoreError(
                f"it is damaged: {error}",
                where=f"{self.url}/{name}",
                do="`tdn store push URL DATASET` once more where the data set was decoded",
            ) from None
        except _NotThere:
            raise AbsentData(
                f"{self.url} has no {name}, or there is no such bucket or folder",
                do="`tdn store push URL DATASET` where the data set was decoded",
            ) from None

    def write(self, name: str, value: Any) -> None:
        """Write a JSON value there, in place of what was there."""
        place = f"{self._base}/{name}"
        with self._asking(name):
            self._make_folder(place)
            self._fs.pipe_file(place, json_bytes(value))

    def names(self, folder: str) -> list[str]:
        """The names of the files `folder/NAME.json`, sorted."""
        try:
            with self._asking(folder):
                found = self._fs.ls(f"{self._base}/{folder}", detail=False)
        except _NotThere:
            return []
        return sorted(Path(name).stem for name in found if name.endswith(".json"))

    def _content(self, digest: str) -> str:
        return f"{self._base}/files/{digest[:2]}/{digest}"

    def _bytes(self, place: str) -> int | None:
        try:
            return int(self._fs.info(place)["size"])
        except FileNotFoundError:
            return None

    def _make_folder(self, place: str) -> None:
        # An object store has none; some of their libraries would make a bucket.
        if not isinstance(self._fs, AsyncFileSystem):
            self._fs.makedirs(place.rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Around calls of fsspec alone: each storage's library has exceptions of its own."""
        protocol = self.url.partition("://")[0]
        try:
            yield
        except ImportError as error:
            known = known_implementations.get(protocol, {})
            package = known.get("class", "").partition(".")[0]
            raise UsageError(
                f"{protocol}:// needs a package that is not installed",
                where=self.url,
                do=known.get("err", str(error))
                if package in ("", "fsspec")
                else f"`.venv/bin/pip install {package}`, then the same command again",
            ) from None
        except FileNotFoundError as error:
            raise _NotThere(
                f"not found: {str(error) or what}",
                where=self.url,
                do="look at the URL: is that bucket or folder there?",
            ) from None
        except Exception as error:
            text = (str(error).strip().splitlines() or [""])[0]
            raise StoreError(
                f"{what}: {type(error).__name__}: {text:.300}",
                where=self.url,
                do="look at the URL, the credentials and the network, then run the same command "
                "again: what has arrived is kept",
            ) from None


class _NotThere(StoreError):
    pass
