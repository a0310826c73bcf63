"""How much memory a run takes: its driver and everything that it started, together.

What was started is known by an environment variable that it inherits, so a daemon whose parent has
ended is counted as well; a process that has written over its environment (Ray's workers rename
themselves) is counted because a counted one is its parent.
"""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path
from types import TracebackType

_MARK = "TDN_RUN"


class Meter:
    """Samples, for as long as the block runs, the memory of this process and all it starts there.

    The sum is of proportional set sizes: a page that several processes share is counted once. It
    stays `None` on a system that does not tell them (`proc` is not there, or not Linux's).
    """

    def __init__(self, every_s: float = 2.0, proc: Path = Path("/proc")) -> None:
        self.peak_bytes: int | None = None
        self._every_s = every_s
        self._proc = proc
        self._mark = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._closed = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Meter:
        os.environ[_MARK] = self._mark
        self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        self._sampler.join()
        os.environ.pop(_MARK, None)

    def _sample(self) -> None:
        while True:
            found = [_pss(self._proc / str(pid)) for pid in self._ours()]
            if any(found):
                self.peak_bytes = max(self.peak_bytes or 0, sum(found))
            if self._closed.wait(self._every_s):
                return

    def _ours(self) -> set[int]:
        """This process, those with the mark, and all children of either."""
        try:
            pids = [int(name) for name in os.listdir(self._proc) if name.isdigit()]
        except OSError:
            return set()
        mark = f"{_MARK}={self._mark}".encode()
        ours = {os.getpid()}
        children: dict[int, list[int]] = {}
        for pid in pids:
            try:
                if mark in (self._proc / str(pid) / "environ").read_bytes().split(b"\0"):
                    ours.add(pid)
            except OSError:  # ended, or somebody else's
                continue
            children.setdefault(_parent(self._proc / str(pid)), []).append(pid)
        new = ours
        while new:
            new = {child for pid in new for child in children.get(pid, [])} - ours
            ours |= new
        return ours


def _parent(place: Path) -> int:
    """Id of a process's parent; 0 when the process has ended."""
    try:  # the name before it may hold anything but a line break
        return int((place / "stat").read_bytes().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _pss(place: Path) -> int:
    """Proportional set size of a process in bytes; 0 when it has ended or nobody tells."""
    try:
        for line in (place / "smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return 1024 * int(line.split()[1])
    except (OSError, IndexError, ValueError):
        pass
    return 0
