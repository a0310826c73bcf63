"""`make repro` stopped in the middle: nothing stays behind, and the next run goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import copy_to
from tests.e2e.test_graph import shrink
from tests.processes import processes_in, within

pytestmark = pytest.mark.slow


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
        assert within(120, lambda: raw.is_dir() or driver.poll() is not None)
        assert driver.poll() is None
        assert len(processes_in(checkout.root)) > 1, "a stage is running"
        driver.send_signal(ended_by)
        _, said = driver.communicate(timeout=60)
        if ended_by == signal.SIGTERM:
            assert driver.returncode == 130, said
            assert "stopped; run the same command again" in said
        assert "Traceback" not in said
        assert within(120, lambda: not processes_in(checkout.root))
    finally:
        for process in processes_in(checkout.root):
            os.kill(process, signal.SIGKILL)
        driver.wait()
