"""A copy of this project's sources and manifests in a temporary folder, to edit and to run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
_PARTS = (
    "pipeline",
    "stages",
    "tdn_model",
    "manifests",
    ".dvc/config",
    ".dvcignore",
    "dvc.yaml",
    "params.yaml",
)


@dataclass(frozen=True)
class Checkout:
    """A working copy; `run` calls its command line, never this project's."""

    root: Path

    def edit(self, place: str, pattern: str, replacement: str) -> None:
        """Replace one occurrence; fails when the pattern is not there."""
        path = self.root / place
        text, count = re.subn(pattern, replacement, path.read_text("utf-8"), count=1, flags=re.S)
        assert count == 1, f"{pattern!r} is not in {place}"
        path.write_text(text, "utf-8")

    def rewrite(self, place: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change what a YAML file holds; its comments go."""
        path = self.root / place
        value = yaml.safe_load(path.read_text("utf-8"))
        change(value)
        path.write_text(yaml.safe_dump(value, sort_keys=False), "utf-8")

    def run(self, *words: str, module: str = "stages") -> subprocess.CompletedProcess[str]:
        """`python -m MODULE WORDS` in the copy."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("TDN_", "COV_"))}
        env |= {"DVC_NO_ANALYTICS": "1"}
        env["TDN_PYTHON"] = sys.executable
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            cwd=self.root,
            env=env,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
        done = subprocess.run(
            ["git", *identity, *words], cwd=self.root, capture_output=True, text=True, check=True
        )
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """Every file below the copy but git's, DVC's and Python's own, by relative path."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            place = path.relative_to(self.root).as_posix()
            ours = not place.startswith((".git/", ".dvc/", ".tdn/")) and "__pycache__" not in place
            if path.is_file() and ours:
                found[place] = path.read_bytes()
        return found


def copy_to(folder: Path) -> Checkout:
    """This project's sources in `folder`, with their byte code, without data, runs or reports."""
    # .dvcignore below manifests: profiles that are switched on here. *.pyc.*: being written.
    skip = shutil.ignore_patterns("*.pyc.*", "dvc.lock", ".tmp-*", ".dvcignore")
    for part in _PARTS:
        source, target = ROOT / part, folder / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=skip)
        else:
            shutil.copy(source, target)
    for name in (".gitignore", ".gitattributes"):
        shutil.copy(ROOT / name, folder / name)
    return Checkout(folder)
