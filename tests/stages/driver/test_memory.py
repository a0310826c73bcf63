"""What a run's memory is counted from: processes made here, of known size."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stages.driver.memory import Meter

MIB = 1 << 20
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="this system does not tell sizes"
)
HOLD = "held = bytearray(b'x') * (96 << 20); print('ready', flush=True); time.sleep(60)"
DAEMON = """
if os.fork():
    time.sleep(60)
middle = os.getpid()
os.setsid()
if os.fork():
    os._exit(0)
while os.getppid() == middle:
    time.sleep(0.01)
held = bytearray(b"x") * (96 << 20)
print("ready", os.getpid(), flush=True)
time.sleep(60)
"""

PAIR = """
held = bytearray(b"x") * (96 << 20)
pid = os.fork()
if not pid:
    time.sleep(60)
print("ready", pid, flush=True)
time.sleep(60)
"""


@contextmanager
def holding(code: str, **settings: object) -> Iterator[int]:
    """A process that runs `code` until the block ends; yields the id that it prints, or its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import os, signal, sys, time\n" + code],
        stdout=subprocess.PIPE, text=True, **settings,
    )  # fmt: skip
    assert process.stdout is not None
    with process:
        said = process.stdout.readline().split()
        other = int(said[1]) if len(said) > 1 else process.pid
        try:
            yield other
        finally:
            for pid in {process.pid, other}:
                os.kill(pid, signal.SIGKILL)


def peak_mib(meter: Meter) -> float:
    """The most so far; waits for a first sample."""
    deadline = time.monotonic() + 20
    while meter.peak_bytes is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert meter.peak_bytes is not None
    return meter.peak_bytes / MIB


def grown_mib(meter: Meter, before: float) -> float:
    """How much more it has become than `before`: at least 96 MiB unless 20 s pass."""
    deadline = time.monotonic() + 20
    while peak_mib(meter) < before + 96 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # a few samples more, which could be too large
    return peak_mib(meter) - before


@pytest.fixture
def meter() -> Iterator[Meter]:
    with Meter(every_s=0.05) as found:
        yield found


def test_a_child_is_counted(meter: Meter) -> None:
    alone = peak_mib(meter)
    with holding(HOLD):
        assert 96 < grown_mib(meter, alone) < 96 + 40


def test_a_child_that_has_lost_its_environment_is_counted(meter: Meter) -> None:
    alone = peak_mib(meter)
    with holding(HOLD, env={}):
        assert 96 < grown_mib(meter, alone) < 96 + 40


def test_a_daemon_whose_parent_has_ended_is_counted(meter: Meter) -> None:
    alone = peak_mib(meter)
    with holding(DAEMON):
        assert 96 < grown_mib(meter, alone) < 96 + 60


def test_a_daemon_of_somebody_else_is_not_counted() -> None:
    with Meter(every_s=0.05) as before:
        alone = peak_mib(before)
    with holding(DAEMON), Meter(every_s=0.05) as meter:  # it began before, so it has no mark
        time.sleep(0.3)
        assert peak_mib(meter) - alone < 60


def test_what_two_processes_share_is_counted_once(meter: Meter) -> None:
    alone = peak_mib(meter)
    with holding(PAIR):
        assert 96 < grown_mib(meter, alone) < 96 + 60


def test_the_most_is_kept_after_it_is_gone(meter: Meter) -> None:
    alone = peak_mib(meter)
    with holding(HOLD):
        grown_mib(meter, alone)
    time.sleep(0.3)
    assert peak_mib(meter) - alone > 96


def test_nothing_is_said_where_the_system_does_not_tell(tmp_path: Path) -> None:
    with Meter(every_s=0.05, proc=tmp_path / "none") as meter:
        time.sleep(0.1)
    assert meter.peak_bytes is None


def test_the_mark_is_gone_afterwards() -> None:
    before = dict(os.environ)
    with Meter():
        assert os.environ != before
    assert dict(os.environ) == before
