"""Which processes a test has started, and waiting for what they do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil

RAYS_OWN = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""They notice a minute later that the driver of a private Ray was killed (see `ends_later`)."""


def processes_in(root: Path, but: tuple[str, ...] = ()) -> set[int]:
    """Ids of the processes whose working directory is `root`, `but` those of such a name."""
    return _found(lambda entry: Path(os.readlink(entry / "cwd")) == root.resolve(), but)


def processes_with(variable: str, but: tuple[str, ...] = ()) -> set[int]:
    """Ids of the processes that were started with a variable, "NAME=value"."""
    return _found(lambda entry: variable.encode() in (entry / "environ").read_bytes(), but)


def _found(ours: Callable[[Path], bool], but: tuple[str, ...]) -> set[int]:
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and ours(entry):
                name = (entry / "cmdline").read_text("utf-8", "replace")
                found |= set() if name.startswith(but) else {int(entry.name)}
        except OSError:  # ended, or somebody else's
            continue
    return found


def within(seconds: float, found: Callable[[], bool]) -> bool:
    """Whether `found` comes true before so many seconds have passed."""
    deadline = time.monotonic() + seconds
    while not found() and time.monotonic() < deadline:
        time.sleep(0.05)
    return found()


class EndsLater:
    """Processes that shall end by themselves: looked at when the tests are through, so that no
    test waits for them."""

    def __init__(self) -> None:
        self._processes: list[psutil.Process] = []

    def add(self, ids: set[int]) -> None:
        """Ids of processes that are running now."""
        for one in ids:
            if psutil.pid_exists(one):
                self._processes.append(psutil.Process(one))

    def living(self) -> list[psutil.Process]:
        """Those that have not ended."""
        return [process for process in self._processes if process.is_running()]
