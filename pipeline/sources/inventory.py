"""The video files and frame folders of a data set, and the file that a name in a list means."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.core.errors import AbsentData
from pipeline.schema.dataset import Dataset

VIDEO_SUFFIXES = (".avi", ".mp4", ".mkv", ".webm", ".mov", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv")
"""Endings of files that are reported when no list names them; a listed file may have any ending."""
MAX_ID_BYTES = 500  # LMDB takes keys of at most 511 bytes

_DEEPEST = 6
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. /()+-]{0,250}")


def unsafe(name: str) -> str:
    """Why a name from an annotation may not become a path below the data set; '' when it may.

    A leading dash is allowed (many YouTube ids have one): files are only ever opened by full path.
    """
    if _PLAIN.fullmatch(name) and ".." not in name:
        return ""
    if not name:
        return "the name is empty"
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        return "the name holds a control character"
    if "\\" in name or re.match("[A-Za-z]:/", name):
        return "the name holds a backslash or a drive letter"
    path = PurePosixPath(name)
    if path.is_absolute():
        return "the name is an absolute path"
    if ".." in path.parts:
        return "the name leads out of the data set with '..'"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_ID_BYTES:
        return f"the name is longer than {MAX_ID_BYTES} bytes"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "the name is not valid Unicode"
    return ""


def normalise(name: str) -> str:
    """A name without `./`, doubled and trailing slashes; `..` and a leading slash stay."""
    if not name or not re.search(r"(^|/)\.(/|$)|//|/$", name):
        return name
    short = PurePosixPath(name).as_posix()
    return "" if short == "." else short


def video_folder(dataset: Dataset, raw: Path) -> str:
    """`options.videos` once it is known to be a folder; AbsentData otherwise."""
    folder = dataset.options.videos
    if not (raw / folder).is_dir():
        raise AbsentData(
            f"{dataset.name}: the folder {folder} is not there",
            where=f"the raw folder of {dataset.name}",
            do=dataset.obtain,
        )
    return folder


class Inventory:
    """The files below one folder, listed once, looked up by exact name, then by spelling.

    Spelling ignores case and whether an accent is a character of its own (Unicode NFC and NFD).
    """

    def __init__(
        self, raw: Path, folder: str, *, frame_folders: bool = False, else_folders_at: int = 0
    ) -> None:
        """`frame_folders`: videos are folders of frames, right below `folder`. `else_folders_at`:
        they are where there is no video file, so many levels below it."""
        self.folder = folder
        self.respelt: dict[str, str] = {}
        """Names as looked up → names as found, where the spelling differs."""
        self._raw = raw
        self._frame_folders = frame_folders
        base = raw if folder == "." else raw / folder
        walk = [] if frame_folders else list(_video_files(base, base, _DEEPEST))
        if not walk and (levels := 1 if frame_folders else else_folders_at):
            self._frame_folders = True
            walk = list(_frame_folders(base, levels))
        prefix = "" if folder == "." else folder + "/"
        self.names = {prefix + name for name in walk}
        self._by_spelling: dict[str, str] | None = None
        self._by_bare_name: dict[str, str] | None = None

    def find(self, names: Iterable[str]) -> str | None:
        """The first of `names` (relative to the raw folder) that exists, else one spelt alike."""
        names = list(names)
        for name in names:
            if name in self.names or self._on_disk(name):
                return name
        if self._by_spelling is None:
            self._by_spelling = {_spelling(n): n for n in sorted(self.names, reverse=True)}
        for name in names:
            found = self._by_spelling.get(_spelling(name))
            if found is not None:
                self.respelt[name] = found
                return found
        return None

    def similar(self, name: str) -> str | None:
        """A file of the same name with another ending."""
        if self._by_bare_name is None:
            self._by_bare_name = {_stem(n): n for n in sorted(self.names, reverse=True)}
        return self._by_bare_name.get(_spelling(name)) or self._by_bare_name.get(_stem(name))

    def _on_disk(self, name: str) -> bool:
        """Whether a file is there that the walk left out: for its ending, or for its depth.

        os.path, unlike Path, says no to a name too long for the system.
        """
        path = self._raw / name
        return not self._frame_folders and os.path.exists(path) and not os.path.isdir(path)


def _spelling(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    return _spelling(PurePosixPath(name).with_suffix("").as_posix())


def _video_files(base: Path, folder: Path, depth: int) -> Iterator[str]:
    """Names of video files below `base`, following links to folders but never for ever."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if depth > 0:
                    yield from _video_files(base, Path(entry.path), depth - 1)
            elif entry.name.lower().endswith(VIDEO_SUFFIXES):
                yield Path(entry.path).relative_to(base).as_posix()


def _frame_folders(base: Path, levels: int) -> Iterator[str]:
    with os.scandir(base) as entries:
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):
                if levels == 1:
                    yield entry.name
                else:
                    below = _frame_folders(Path(entry.path), levels - 1)
                    yield from (f"{entry.name}/{name}" for name in below)


def any_form(stem: str, suffix: str) -> list[str]:
    """Where a video may be: as published, encoded otherwise, or as a folder of frames."""
    others = (".mp4", ".mkv", ".webm", ".avi")
    return [stem + suffix, *(stem + other for other in others if other != suffix), stem]
