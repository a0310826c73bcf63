"""The driver beside Ray: what signals mean."""

from __future__ import annotations

import signal
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
with Pool(1) as pool:
    pool.start(1)
    with pool.queue(time.sleep) as queue:
        queue.submit(0, 300)
        threading.Timer(2, os.kill, (os.getpid(), int(sys.argv[1]))).start()
        queue.next()
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_told_to_stop_stops_at_once_while_a_chain_runs(
    number: signal.Signals,
) -> None:
    """In its own way, not Ray's; started in the background, too, where Ctrl-C is ignored."""
    done = subprocess.run(
        [
            "sh",
            "-c",
            'trap "" INT; exec "$@"',
            "-",
            sys.executable,
            "-c",
            STOPPED,
            str(int(number)),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        timeout=200,
    )
    assert (done.returncode, done.stdout) == (130, "stopped\n"), done.stderr
