"""Whether code and manifests are those of the last commit, whatever git was told to overlook."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.audit.committed import Commit, changed_code, changed_manifests

CODE = '''"""A module."""

import os

LIMIT = 3


def answer(path: str) -> int:
    """Count."""
    return LIMIT + len(os.sep)  # two


class Kept:
    pass
'''
TABLE = "rows:\n  - a  # first\n  - b\n"


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    command = ["git", "-C", str(root), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A checkout with a module, a style sheet, two manifests and a graph, all committed."""
    for name, text in {
        "pipeline/a.py": CODE,
        "pipeline/a.css": "h1 {}",
        "manifests/tables/t.yaml": TABLE,
        "manifests/claims.csv": "a,1\nb,2\n",
        "manifests/profiles/p/dvc.lock": "stages: {}\n",
        "dvc.yaml": "stages: {}\n",
        "params.yaml": "workers: 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "before")
    return tmp_path


def edit(path: str, before: str, after: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        text = (root / path).read_text("utf-8")
        assert before in text
        (root / path).write_text(text.replace(before, after), "utf-8")

    return change


def hidden_from_status(root: Path) -> None:
    edit("pipeline/a.py", "LIMIT = 3", "LIMIT = 4")(root)
    git(root, "update-index", "--assume-unchanged", "pipeline/a.py")
    assert git(root, "status", "--porcelain") == ""


def skipped_by_status(root: Path) -> None:
    edit("pipeline/a.py", "LIMIT = 3", "LIMIT = 4")(root)
    git(root, "update-index", "--skip-worktree", "pipeline/a.py")
    assert git(root, "status", "--porcelain") == ""


def excluded(root: Path) -> None:
    (root / ".git/info/exclude").write_text("*.py\n", "utf-8")
    (root / "pipeline/new.py").write_text("x = 1\n", "utf-8")
    assert git(root, "status", "--porcelain") == ""


def replaced(root: Path) -> None:
    """Git shows another object in the place of the committed one."""
    before = git(root, "rev-parse", "HEAD:pipeline/a.py").strip()
    edit("pipeline/a.py", "LIMIT = 3", "LIMIT = 4")(root)
    after = git(root, "hash-object", "-w", "pipeline/a.py").strip()
    git(root, "replace", before, after)


def with_windows_ends(root: Path) -> None:
    for path in ("pipeline/a.py", "manifests/tables/t.yaml", "manifests/claims.csv"):
        edit(path, "\n", "\r\n")(root)


def backed_up(root: Path) -> None:
    for path in ("manifests/tables/t.yaml~", "manifests/.DS_Store", "pipeline/.a.py.swp"):
        (root / path).write_bytes(b"x")


def stashed(root: Path) -> None:
    edit("pipeline/a.py", "= 3", "= 4")(root)
    git(root, "stash")
    git(root, "gc", "-q")


def removed(root: Path) -> None:
    (root / "manifests/tables/t.yaml").unlink()


def added(root: Path) -> None:
    (root / "manifests/tables/u.yaml").write_text("rows: []\n", "utf-8")


CHANGES: dict[str, tuple[Callable[[Path], None], dict[str, set[str]], list[str]]] = {
    "a constant": (edit("pipeline/a.py", "= 3", "= 4"), {"pipeline/a.py": {"LIMIT"}}, []),
    "a function": (edit("pipeline/a.py", "LIMIT +", "1 +"), {"pipeline/a.py": {"answer"}}, []),
    "an import": (
        edit("pipeline/a.py", "import os", "import sys as os"),
        {"pipeline/a.py": {"os"}},
        [],
    ),
    "assume-unchanged": (hidden_from_status, {"pipeline/a.py": {"LIMIT"}}, []),
    "skip-worktree": (skipped_by_status, {"pipeline/a.py": {"LIMIT"}}, []),
    "excluded": (excluded, {"pipeline/new.py": {"x"}}, []),
    "replaced": (replaced, {"pipeline/a.py": {"LIMIT"}}, []),
    "no Python": (
        edit("pipeline/a.py", "class", "clas s"),
        {"pipeline/a.py": {"LIMIT", "answer", "Kept", "os", "(on import)"}},
        [],
    ),
    "a style sheet": (edit("pipeline/a.css", "h1", "h2"), {"pipeline/a.css": {"a.css"}}, []),
    "a layout": (edit("manifests/tables/t.yaml", "- b", "- c"), {}, ["manifests/tables/t.yaml"]),
    "a removed layout": (removed, {}, ["manifests/tables/t.yaml"]),
    "a new layout": (added, {}, ["manifests/tables/u.yaml"]),
    "a claim": (edit("manifests/claims.csv", "b,2", "b,3"), {}, ["manifests/claims.csv"]),
    "the graph": (edit("dvc.yaml", "{}", "{a: {}}"), {}, ["dvc.yaml"]),
    "a comment": (edit("pipeline/a.py", "# two", "# three"), {}, []),
    "a docstring": (edit("pipeline/a.py", "Count.", "Counts."), {}, []),
    "ends of lines": (with_windows_ends, {}, []),
    "a derived graph's lock": (
        edit("manifests/profiles/p/dvc.lock", "{}", "{a: {}}"),
        {},
        [],
    ),
    "a comment in a layout": (edit("manifests/tables/t.yaml", "# first", "# 1st"), {}, []),
    "an editor's backup": (backed_up, {}, []),
    "stash and gc": (stashed, {}, []),
}


@pytest.mark.parametrize("name", CHANGES)
def test_only_what_says_something_else_is_in_no_commit(root: Path, name: str) -> None:
    change, code, manifests = CHANGES[name]
    change(root)
    commit = Commit.of(root)
    assert commit is not None
    found = changed_code(commit, ["pipeline/a.css"])
    assert {path: set(labels) for path, labels in found.items()} == code
    assert changed_manifests(commit) == manifests


def test_variables_of_git_point_nowhere_else(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(root / "nothing"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(root / "other"))
    commit = Commit.of(root)
    assert commit is not None and changed_code(commit, []) == {}


def test_without_git_nobody_knows(tmp_path: Path) -> None:
    assert Commit.of(tmp_path) is None
