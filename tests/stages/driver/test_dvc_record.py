"""Recording by DVC is not cut short."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType

from stages.driver.dvc_record import _uninterrupted


def test_a_signal_waits_until_the_lock_is_written_though_other_threads_run() -> None:
    came: list[str] = []

    def stop(_number: int, _frame: FrameType | None) -> None:
        came.append("stopped")

    before = signal.signal(signal.SIGTERM, stop)
    over = threading.Event()
    other = threading.Thread(target=over.wait)  # a signal blocked in one thread goes to another
    other.start()
    try:
        with _uninterrupted():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.2)
            assert came == []
        assert came == ["stopped"]
    finally:
        over.set()
        other.join()
        signal.signal(signal.SIGTERM, before)
