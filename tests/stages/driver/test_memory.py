"""What a run's memory is counted from: processes made here, of known size."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stages.driver.memory import Meter

MIB = 1 << 20
HOLD = (
    "import time; held = bytearray(b'x') * (96 << 20); print('ready', flush=True); time.sleep(60)"
)
PAIR = """
import os, time
held = bytearray(b"x") * (96 << 20)
pid = os.fork()
if pid:
    print("ready", flush=True)
time.sleep(60)
"""
NESTED = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


@contextmanager
def holding(code: str) -> Iterator[None]:
    """A process that runs `code` until the block ends, in a session of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            subprocess.run(["kill", "-9", "--", f"-{process.pid}"], check=True)


def grown_mib(meter: Meter, before: float) -> float:
    """How much more it has become than `before`: at least 96 MiB unless 20 s pass."""
    deadline = time.monotonic() + 20
    while meter.peak_bytes / MIB < before + 96 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # a few samples more, which could be too large
    return meter.peak_bytes / MIB - before


@pytest.fixture
def meter() -> Iterator[Meter]:
    with Meter(every_s=0.05) as found:
        deadline = time.monotonic() + 20
        while not found.peak_bytes and time.monotonic() < deadline:
            time.sleep(0.02)
        yield found


@pytest.mark.parametrize("code", [HOLD, NESTED, PAIR], ids=["child", "grandchild", "shared"])
def test_what_was_started_is_counted_and_what_is_shared_is_counted_once(
    meter: Meter, code: str
) -> None:
    alone = meter.peak_bytes / MIB
    with holding(code):
        assert 96 < grown_mib(meter, alone) < 96 + 60


def test_the_most_is_kept_after_it_is_gone(meter: Meter) -> None:
    alone = meter.peak_bytes / MIB
    with holding(HOLD):
        grown_mib(meter, alone)
    time.sleep(0.3)
    assert meter.peak_bytes / MIB - alone > 96
