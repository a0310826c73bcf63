"""Which processes a test has started, and waiting for what they do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def processes_in(root: Path) -> set[int]:
    """Ids of the processes whose working directory is `root`."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == root.resolve():
                found.add(int(entry.name))
        except OSError:  # ended, or somebody else's
            continue
    return found


def within(seconds: float, found: Callable[[], bool]) -> bool:
    """Whether `found` comes true before so many seconds have passed."""
    deadline = time.monotonic() + seconds
    while not found() and time.monotonic() < deadline:
        time.sleep(0.05)
    return found()
