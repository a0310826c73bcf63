"""The driver beside Ray: what signals mean."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.checkout import ROOT

STOPPED = """
import os, signal, sys
def stop(*_):
    print("stopped", flush=True)
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
from pipeline.core.ray_pool import Pool
with Pool(1) as pool:
    pool.start(1)
    os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.slow
def test_a_driver_that_is_told_to_stop_stops_in_its_own_way_with_ray_running() -> None:
    done = subprocess.run(
        [sys.executable, "-c", STOPPED], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout) == (130, "stopped\n"), done.stderr
