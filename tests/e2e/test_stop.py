"""`tdn repro` stopped in the middle: nothing stays behind, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.checkout import Checkout, copy_to
from tests.e2e.test_graph import shrink
from tests.processes import RAYS_OWN, EndsLater, processes_in, within

pytestmark = pytest.mark.slow
ROW = "tconv_r50_8f_ssv1"
WAIT_S = 400.0


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    made = copy_to(tmp_path)
    shrink(made)
    made.git("init", "-q")
    yield made
    end_all(made, but=RAYS_OWN)


def start(checkout: Checkout, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "stages", "repro", *words],
        cwd=checkout.root,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
    )


def reached(driver: subprocess.Popen[str], found: Callable[[], bool]) -> bool:
    """Whether `found` comes true while the driver runs."""
    return within(WAIT_S, lambda: found() or driver.poll() is not None) and driver.poll() is None


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_ends_takes_its_children_along(
    checkout: Checkout, ends_later: EndsLater, ended_by: signal.Signals
) -> None:
    driver = start(checkout, "--jobs", "2")
    try:
        assert reached(driver, (checkout.root / "data" / "mini" / "raw").is_dir)
        assert len(processes_in(checkout.root)) > 1, "workers are running"
        driver.send_signal(ended_by)
        _, printed = driver.communicate(timeout=120)
        if ended_by == signal.SIGTERM:
            assert driver.returncode == 130, printed
            assert "stopped; run the same command again" in printed
        assert "Traceback" not in printed
        if ended_by == signal.SIGKILL:
            assert within(120, lambda: not processes_in(checkout.root, but=RAYS_OWN))
            ends_later.add(processes_in(checkout.root))
        else:
            assert within(120, lambda: not processes_in(checkout.root))
    finally:
        driver.kill()
        driver.wait()


def test_a_row_that_finished_before_a_kill_is_recorded_and_not_run_again(
    checkout: Checkout, ends_later: EndsLater
) -> None:
    driver = start(checkout, ROW, "--jobs", "2")
    record = checkout.root / "reports/mini/records/score" / f"{ROW}.json"
    weights = checkout.root / "runs/mini" / ROW / "train" / "weights.pt"
    worker_killed = False
    try:
        half = checkout.root / "runs/mini" / ROW / "resume"
        assert reached(driver, lambda: half.is_dir() or record.is_file())
        for process in psutil.Process(driver.pid).children(recursive=True):
            if process.name().startswith("ray::_in_worker") and not worker_killed:
                process.kill()  # another worker takes the chain up
                worker_killed = True
        assert worker_killed
        assert reached(driver, record.is_file)
        driver.kill()
        driver.communicate()
        assert within(120, lambda: not processes_in(checkout.root, but=RAYS_OWN))
        ends_later.add(processes_in(checkout.root))
        made = weights.stat().st_mtime_ns
        again = checkout.run("repro", ROW)
        assert again.returncode == 0, again.stderr
        assert f"row {ROW} was done before" in again.stderr
        assert weights.stat().st_mtime_ns == made
        tables = checkout.root / "reports/mini/tables"
        assert not tables.exists(), "a target stops before the tables"
        status = checkout.run("status", f"score@{ROW}", module="dvc")
        assert "up to date" in status.stdout
    finally:
        driver.kill()
        driver.wait()


def end_all(checkout: Checkout, but: tuple[str, ...] = ()) -> None:
    for process in processes_in(checkout.root, but=but):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
