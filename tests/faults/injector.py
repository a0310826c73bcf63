"""Makes one call of this process fail: the k-th open for writing, rename, removal, making of a
folder, fsync or start of a program; or every write beyond a size.

The product's code is not touched: Python reports such calls to an audit hook, which may raise;
`os.fsync`, of which it reports nothing, is wrapped. What C libraries do themselves (LMDB, torch's
archives, Parquet) no hook sees: a limit on the size of files (RLIMIT_FSIZE) makes the kernel cut
their writes short, and refuse the next one.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

CALLS = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.rmdir": "remove",
    "os.mkdir": "mkdir",
    "subprocess.Popen": "spawn",
    "os.posix_spawn": "spawn",
}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_NEVER = ("/proc/", "/dev/")


class Injector:
    """Counts calls by kind from `start` on; the call number `at` gets `fault`: 'kill', or an errno
    to raise."""

    def __init__(self, at: int = -1, fault: int | str = 0) -> None:
        self.calls: list[str] = []
        self._at, self._fault = at, fault
        self._running = False
        sys.addaudithook(self._audit)  # for the life of the process
        self._fsync: Callable[[Any], None] = os.fsync

    def start(self) -> None:
        os.fsync = self._synced
        self._running = True

    def stop(self) -> None:
        self._running = False
        os.fsync = self._fsync

    def _synced(self, handle: Any) -> None:
        if self._running:
            self._count("fsync")
        self._fsync(handle)

    def _audit(self, event: str, given: tuple[Any, ...]) -> None:
        if not self._running:
            return
        if event == "open":
            path, _, flags = given
            if flags & _WRITES and not str(path).startswith(_NEVER) and not isinstance(path, int):
                self._count("open")
        elif event in CALLS:
            self._count(CALLS[event])

    def _count(self, kind: str) -> None:
        self.calls.append(kind)
        if len(self.calls) - 1 != self._at:
            return
        if self._fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        number = int(self._fault)
        raise OSError(number, os.strerror(number))


def limit_files(most_bytes: int) -> None:
    """No file of this process grows beyond so many bytes: writes are cut short there, then fail."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
