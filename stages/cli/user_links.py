"""Data and results on other disks: `data/raw` and `runs` as links.

TDN_DATA_ROOT names a folder with the data sets below it (`ssv2/`, `kinetics400/` …), which may be
mounted read-only. `data` and `runs` may be links that the user made.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic

VARIABLE = "TDN_DATA_ROOT"
_NO_GIT = "# `runs` is a link: DVC cannot write its .gitignore there.\n[core]\n    no_scm = true\n"


def arrange(root: Path) -> None:
    """Let `data/raw` be the folder that TDN_DATA_ROOT names, and DVC bear a `runs` elsewhere.

    Raises UsageError where the folder is not there or `data/raw` holds data of its own.
    """
    if place := os.environ.get(VARIABLE):
        _link(root / "data" / "raw", Path(place).absolute())
    local = root / ".dvc" / "config.local"
    if (root / "runs").is_symlink() and not local.is_file():
        write_atomic(local, _NO_GIT.encode())


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
