"""Ctrl-C and SIGTERM at places that they must not cut short."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect when the block ends.

    For what must not be cut short, and for waiting in a library that mislays what a handler raises
    (Ray, until a task ends). The signals are caught rather than blocked: one that is blocked in
    this thread goes to another of the process, and Python then runs its handler in this one. Other
    threads than the main one run no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    stops = (signal.SIGINT, signal.SIGTERM)
    before = {stop: signal.signal(stop, lambda number, _: came.append(number)) for stop in stops}
    try:
        yield
    finally:
        for stop, handler in before.items():
            if handler is not None:  # one that Python did not set cannot be put back by it
                signal.signal(stop, handler)
        if came:
            signal.raise_signal(came[0])
