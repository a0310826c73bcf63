"""Code and manifests here, against those of the last commit as git's own objects hold them.

`git status` is not asked: flags in the index, ignore lists and replaced objects can hide an edit
from it. What only reads differently (comments, docstrings, ends of lines) is no difference.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from pipeline.lineage.code_definitions import PACKAGES, definition_texts
from pipeline.schema.quick_yaml import same_yaml

_GRAPH = ("dvc.yaml", "params.yaml")


class Commit:
    """The last commit of a checkout: {relative path: blob}."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name

    @classmethod
    def of(cls, root: Path) -> Commit | None:
        """None where there is no git, no repository or no commit."""
        name = _git(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return None if name is None else cls(root, name.decode().strip())

    @cached_property
    def blobs(self) -> dict[str, str]:
        """Every file of the commit below the project's folder."""
        listing = _git(self.root, "ls-tree", "-r", "-z", self.name) or b""
        found = {}
        for line in listing.split(b"\0"):
            about, _, path = line.partition(b"\t")
            if path:
                found[os.fsdecode(path)] = about.split(b" ")[2].decode()
        return found

    def read(self, path: str) -> bytes | None:
        """A file as the commit has it."""
        blob = self.blobs.get(path)
        return None if blob is None else _git(self.root, "cat-file", "blob", blob)

    def holds(self, path: str, content: bytes) -> bool:
        """Whether the commit has this very content at a path."""
        blob = self.blobs.get(path, "")
        digest = hashlib.sha256() if len(blob) == 64 else hashlib.sha1(usedforsecurity=False)
        digest.update(b"blob %d\0" % len(content) + content)
        return digest.hexdigest() == blob


def earlier(root: Path, paths: Iterable[str]) -> Iterator[bytes]:
    """The files at `paths` as each commit has them that changed one, the newest first."""
    names = _git(root, "rev-list", "HEAD", "--", *paths) or b""
    for name in names.decode().split():
        for path in paths:
            content = _git(root, "cat-file", "blob", f"{name}:./{path}")
            if content is not None:
                yield content


def changed_code(commit: Commit, others: Iterable[str]) -> dict[str, frozenset[str]]:
    """{module, or one of the `others` beside modules: labels of what no commit holds of it}."""
    modules = {
        path.relative_to(commit.root).as_posix()
        for package in PACKAGES
        for path in (commit.root / package).rglob("*.py")
    }
    found = {}
    for path, here, there in _differing(commit, modules | set(others)):
        if path.endswith(".py"):
            labels = _changed_labels(here, there)
        else:
            labels = frozenset({path.rpartition("/")[2]})
        if labels:
            found[path] = labels
    return found


def changed_manifests(commit: Commit) -> list[str]:
    """Manifests and DVC's graph that say something else than in the commit, or are not in it."""
    here = {
        path.relative_to(commit.root).as_posix() for path in (commit.root / "manifests").rglob("*")
    }
    there = {path for path in commit.blobs if path.startswith("manifests/")}
    # The locks of derived graphs lie there, too, and change with every run.
    paths = {path for path in here | there if path.endswith((".yaml", ".csv"))}
    found = _differing(commit, {*paths, *_GRAPH})
    return [path for path, here, there in found if not _same_value(path, here, there)]


def auditor(root: Path) -> tuple[str, frozenset[str]]:
    """The digest of this program as it is on disk, and its modules in use that lie below `root`.

    The digest covers the names and bytes of all modules, wherever they are.
    """
    own = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((own / package).rglob("*.py")):
            name, content = path.relative_to(own).as_posix(), path.read_bytes()
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    files = (
        Path(file).resolve()
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in PACKAGES and (file := getattr(module, "__file__", None))
    )
    here = root.resolve()
    used = (file.relative_to(here).as_posix() for file in files if file.is_relative_to(here))
    return digest.hexdigest(), frozenset(used)


def _differing(
    commit: Commit, paths: Iterable[str]
) -> Iterator[tuple[str, bytes | None, bytes | None]]:
    """Files whose content differs, with it here and in the commit; ends of lines do not count."""
    for path in sorted(paths):
        try:
            here = (commit.root / path).read_bytes()
        except OSError:
            here = None
        if here is not None and commit.holds(path, here):
            continue
        there = commit.read(path)
        plain = (None if text is None else text.replace(b"\r\n", b"\n") for text in (here, there))
        if len({*plain}) > 1:
            yield path, here, there


def _changed_labels(here: bytes | None, there: bytes | None) -> frozenset[str]:
    old, new = (_texts(source) for source in (there, here))
    return frozenset(name for name in {*old, *new} if old.get(name) != new.get(name))


def _texts(source: bytes | None) -> Mapping[str, str]:
    try:
        return definition_texts(source or b"")
    except (SyntaxError, ValueError, RecursionError):
        return {"(on import)": repr(source)}


def _same_value(path: str, here: bytes | None, there: bytes | None) -> bool:
    known = here is not None and there is not None and path.endswith(".yaml")
    return known and same_yaml(here or b"", there or b"")


def _git(root: Path, *words: str) -> bytes | None:
    """What a plumbing command of git prints; None where it fails.

    Another user's checkout is read as well: none of these commands runs what is configured there.
    """
    given = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "--no-replace-objects", "-c", "safe.directory=*", "-C", str(root), *words]
    try:
        done = subprocess.run(command, capture_output=True, env=given, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
