"""The driver beside Ray: what signals mean."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.checkout import ROOT

STOPPED = """
import os, signal, sys, threading, time
def stop(*_):
    print("stopped", flush=True)
    sys.exit(130)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
from pipeline.core.ray_pool import Pool
def run_until(number):
    with pool.queue(time.sleep) as queue:
        queue.submit(0, 300)
        threading.Timer(1, os.kill, (os.getpid(), number)).start()
        queue.next()
with Pool(1) as pool:
    pool.start(1)
    try:
        run_until(signal.SIGINT)
    except SystemExit:
        run_until(signal.SIGTERM)
"""


@pytest.mark.slow
def test_a_driver_that_is_told_to_stop_stops_at_once_while_a_chain_runs() -> None:
    """On SIGINT and on SIGTERM, in its own way, not Ray's; started in the background, too, where
    Ctrl-C is ignored."""
    words = ["sh", "-c", 'trap "" INT; exec "$@"', "-", sys.executable, "-c", STOPPED]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False, timeout=200)
    assert (done.returncode, done.stdout) == (130, "stopped\n" * 2), done.stderr
