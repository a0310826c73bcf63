"""What an audit works from."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from pipeline.audit.context import Context, Tools
from pipeline.core.workspace import Workspace


def git(root: Path, *words: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


def uncommitted(root: Path) -> frozenset[str] | None:
    nothing: Any = None
    tools = Tools(plans=lambda work: {}, lock=root / "dvc.lock")
    return Context(Workspace(root), tools, nothing).uncommitted


def test_moved_edited_and_new_sources_are_in_no_commit_under_their_whole_names(
    tmp_path: Path,
) -> None:
    git(tmp_path, "init", "-q")
    package = tmp_path / "pipeline"
    package.mkdir()
    for name in ("moved.py", "edited.css", "kept.py"):
        (package / name).write_text(f"{name}\n" * 9, "utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "before")
    git(tmp_path, "mv", "pipeline/moved.py", "pipeline/elsewhere.py")
    (package / "edited.css").write_text("other", "utf-8")
    (package / "new.html.j2").write_text("new", "utf-8")
    (tmp_path / "notes.txt").write_text("no source", "utf-8")
    assert uncommitted(tmp_path) == {
        "pipeline/moved.py",
        "pipeline/elsewhere.py",
        "pipeline/edited.css",
        "pipeline/new.html.j2",
    }


def test_without_git_nobody_knows(tmp_path: Path) -> None:
    assert uncommitted(tmp_path) is None
