"""`make repro` stopped in the middle: nothing stays behind, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checkout import copy_to
from tests.e2e.test_graph import shrink

pytestmark = pytest.mark.slow


def processes_in(root: Path) -> set[int]:
    """Processes whose working directory is the checkout."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == root.resolve():
                found.add(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("ended_by", [signal.SIGTERM, signal.SIGKILL])
def test_a_driver_that_ends_takes_its_children_along(
    tmp_path: Path, ended_by: signal.Signals
) -> None:
    checkout = copy_to(tmp_path)
    shrink(checkout)
    checkout.git("init", "-q")
    driver = subprocess.Popen(
        [sys.executable, "-m", "stages", "repro"],
        cwd=checkout.root,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
    )
    raw = checkout.root / "data" / "mini" / "raw"
    try:
        deadline = time.monotonic() + 120
        while not raw.is_dir() and time.monotonic() < deadline:
            assert driver.poll() is None
            time.sleep(0.1)
        assert len(processes_in(checkout.root)) > 1, "a stage is running"
        driver.send_signal(ended_by)
        _, said = driver.communicate(timeout=60)
        if ended_by == signal.SIGTERM:
            assert driver.returncode == 130, said
            assert "stopped; run the same command again" in said
        assert "Traceback" not in said
        while processes_in(checkout.root) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert processes_in(checkout.root) == set()
    finally:
        for process in processes_in(checkout.root):
            os.kill(process, signal.SIGKILL)
        driver.wait()
