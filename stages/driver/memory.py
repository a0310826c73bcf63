"""How much memory a run takes on this machine: its process and all that it started, together."""

from __future__ import annotations

import threading
from types import TracebackType

import psutil


class Meter:
    """Samples, for as long as the block runs, the memory of this process and its descendants.

    The sum is of proportional set sizes: a page that several processes share is counted once.
    """

    def __init__(self, every_s: float = 2.0) -> None:
        self.peak_bytes = 0
        self._every_s = every_s
        self._closed = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Meter:
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

    def _sample(self) -> None:
        here = psutil.Process()
        while True:
            processes = [here, *here.children(recursive=True)]
            self.peak_bytes = max(self.peak_bytes, sum(_pss_bytes(one) for one in processes))
            if self._closed.wait(self._every_s):
                return


def _pss_bytes(process: psutil.Process) -> int:
    """Proportional set size of a process; 0 when it has ended."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
