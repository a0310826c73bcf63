from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from pipeline.core.signals import deferred


def test_a_signal_waits_until_the_block_ends_though_other_threads_run() -> None:
    came: list[str] = []

    def stop(_number: int, _frame: FrameType | None) -> None:
        came.append("stopped")

    before = signal.signal(signal.SIGTERM, stop)
    over = threading.Event()
    other = threading.Thread(target=over.wait)  # a signal blocked in one thread goes to another
    other.start()
    try:
        with deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
            assert came == []
        assert came == ["stopped"]
    finally:
        over.set()
        other.join()
        signal.signal(signal.SIGTERM, before)


def test_another_thread_than_the_main_one_may_use_it() -> None:
    inside = []

    def use() -> None:
        with deferred():
            inside.append(True)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert inside == [True]
