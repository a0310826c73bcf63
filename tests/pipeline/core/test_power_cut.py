"""After a power cut at any moment a published file is the old one or the new one, and whole.

What a program did is recorded step by step. Then every moment is taken as the last: a file holds
what it held when it was last flushed, or, when it was written to since, nothing; a folder has the
names of any moment since it was last flushed, whatever other folders have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.core import files
from pipeline.core.files import atomic_file, atomic_folder, publish, write_atomic
from pipeline.core.parquet import write_table

Names = dict[str, int]
"""The inodes that a folder names."""
Tree = dict[str, bytes]


class Disk:
    """What a folder would hold after a power cut, recorded while a program works in it."""

    _now: Disk | None = None
    _hooked = False

    def __init__(self, root: Path) -> None:
        self._root, self._top = root, root.stat().st_ino
        self._folders: dict[int, list[Names]] = {}
        """The states of each folder since it was last flushed; the first is on the disk."""
        self._flushed: dict[int, bytes] = {}
        self._live: dict[int, bytes] = {}
        self.trees: list[Tree] = []
        """Every state that a power cut may leave, of all moments so far."""
        self._look()
        for number, states in self._folders.items():
            self._folders[number] = states[-1:]
        self._flushed = dict(self._live)

    def record(self, work: Callable[[], Any]) -> None:
        if not Disk._hooked:
            sys.addaudithook(lambda event, _: Disk._now._step(event) if Disk._now else None)
            Disk._hooked = True
        fsync = os.fsync
        os.fsync = lambda handle: (fsync(handle), self._flush(handle))[0]
        Disk._now = self
        try:
            work()
        finally:
            Disk._now = None
            os.fsync = fsync
        self._look()
        self._cut()

    def _step(self, event: str) -> None:
        if event == "open" or event.startswith(("os.", "shutil.")):
            Disk._now = None  # looking makes such calls itself
            self._look()
            self._cut()
            Disk._now = self

    def _flush(self, handle: int) -> None:
        Disk._now = None
        self._look()
        number = os.fstat(handle).st_ino
        if number in self._folders:
            self._folders[number] = self._folders[number][-1:]
        elif number in self._live:
            self._flushed[number] = self._live[number]
        self._cut()
        Disk._now = self

    def _look(self) -> None:
        """Note the names in each folder and the bytes of each file as they are now."""
        todo = [self._root]
        while todo:
            folder = todo.pop()
            names: Names = {}
            for path in folder.iterdir():
                number = names[path.name] = path.stat().st_ino
                if path.is_dir():
                    todo.append(path)
                else:
                    self._live[number] = path.read_bytes()
            states = self._folders.setdefault(folder.stat().st_ino, [{}])
            if states[-1] != names:
                states.append(names)

    def _cut(self) -> None:
        numbers = list(self._folders)
        for states in product(*self._folders.values()):
            tree = dict(self._below(dict(zip(numbers, states, strict=True)), self._top, ""))
            if tree not in self.trees:
                self.trees.append(tree)

    def _below(
        self, folders: dict[int, Names], number: int, place: str
    ) -> Iterator[tuple[str, bytes]]:
        for name, inner in folders[number].items():
            if inner in folders:
                yield from self._below(folders, inner, f"{place}{name}/")
            else:
                whole = self._flushed.get(inner) == self._live[inner]
                yield place + name, self._live[inner] if whole else b"lost"


def published(tree: Tree) -> Tree:
    """What has its final name."""
    return {p: data for p, data in tree.items() if ".tmp-" not in p}


def fill(folder: Path, **contents: str) -> None:
    folder.mkdir()
    for name, text in contents.items():
        (folder / name).write_text(text)


def in_pieces(path: Path) -> None:
    with atomic_file(path) as file:
        for piece in (b"n", b"e", b"w"):
            file.write(piece)


def moved(path: Path) -> None:
    path.with_name(".tmp-x").write_bytes(b"new")
    publish(path.with_name(".tmp-x"), path)


@pytest.mark.parametrize("write", [lambda p: write_atomic(p, b"new"), in_pieces, moved])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_file_is_old_or_new(
    tmp_path: Path, write: Callable[[Path], None], old: bytes | None
) -> None:
    path = tmp_path / "file"
    if old is not None:
        path.write_bytes(old)
    disk = Disk(tmp_path)
    disk.record(lambda: write(path))
    seen = [published(tree) for tree in disk.trees]
    before = {} if old is None else {"file": old}
    assert before in seen and {"file": b"new"} in seen
    assert all(tree in (before, {"file": b"new"}) for tree in seen)
    last = Disk(tmp_path)
    assert [published(tree) for tree in (last._cut(), last.trees)[1]] == [{"file": b"new"}]


def test_a_table_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table(path, pa.table({"a": [1]}))
    old = path.read_bytes()
    disk = Disk(tmp_path)
    disk.record(lambda: write_table(path, pa.table({"a": [2]})))
    assert {tree[path.name] for tree in map(published, disk.trees)} == {old, path.read_bytes()}


@pytest.mark.parametrize("with_old", [False, True])
def test_a_folder_has_no_file_of_both_and_none_that_is_cut(tmp_path: Path, with_old: bool) -> None:
    """An old folder is removed first: it may be gone in part, file by file."""
    path = tmp_path / "folder"
    if with_old:
        fill(path, a="old", b="old")

    def write() -> None:
        with atomic_folder(path) as new:
            (new / "a").write_text("new")
            (new / "c").write_text("new")

    disk = Disk(tmp_path)
    disk.record(write)
    seen = [published(tree) for tree in disk.trees]
    new = {"folder/a": b"new", "folder/c": b"new"}
    assert new in seen and len(seen) > 2
    for tree in seen:
        assert tree == new or set(tree.values()) <= {b"old"}


def test_the_recording_finds_a_name_without_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As files were published once: renamed, but not flushed before."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(files, "_flush", lambda path: None)
    disk = Disk(tmp_path)
    disk.record(lambda: moved(path))
    assert {"file": b"lost"} in map(published, disk.trees)
