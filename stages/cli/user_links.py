"""Data and results on other disks: `data/raw` and `runs` as links.

TDN_DATA_ROOT names a folder with the data sets below it (`ssv2/`, `kinetics400/` …), which may be
mounted read-only. `data` and `runs` may be links that the user made. `my/` has manifests of the
user's own, which git ignores; DVC, unless told, refuses a graph that git ignores.
"""

from __future__ import annotations

import io
import os
import sys
from configparser import ConfigParser
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic
from pipeline.core.workspace import OWN

VARIABLE = "TDN_DATA_ROOT"


def arrange(root: Path) -> None:
    """Let `data/raw` be the folder that TDN_DATA_ROOT names, and DVC bear a `runs` elsewhere and
    graphs in `my/`.

    Raises UsageError where the folder is not there or `data/raw` holds data of its own.
    """
    if place := os.environ.get(VARIABLE):
        _link(root / "data" / "raw", Path(place).absolute())
    if (root / "runs").is_symlink() or (root / OWN / "profiles").is_dir():
        _without_git(root / ".dvc" / "config.local")


def _without_git(local: Path) -> None:
    """Have DVC leave git alone, whatever else the user wrote there."""
    config = ConfigParser(interpolation=None)
    config.read(local, "utf-8")
    if not config.has_option("core", "no_scm"):
        config.read_dict({"core": {"no_scm": "true"}})
        text = io.StringIO()
        config.write(text)
        write_atomic(local, text.getvalue().encode())


def _link(raw: Path, place: Path) -> None:
    if raw.is_symlink() and raw.readlink() == place:
        return
    if not place.is_dir():
        raise UsageError(
            f"{VARIABLE} names {place}, which is no folder",
            do=f"mount it, or `unset {VARIABLE}`",
        )
    if raw.is_symlink():
        print(f"data/raw led to {raw.readlink()}, now to {place} ({VARIABLE})", file=sys.stderr)
        raw.unlink()
    elif raw.is_dir() and not any(raw.iterdir()):
        raw.rmdir()
    elif raw.exists():
        raise UsageError(
            f"{VARIABLE} names {place}, and data/raw holds data of its own",
            where="data/raw",
            do=f"move what is in data/raw there and remove it, or `unset {VARIABLE}`",
        )
    raw.parent.mkdir(parents=True, exist_ok=True)
    raw.symlink_to(place, target_is_directory=True)
