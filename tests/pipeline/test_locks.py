from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.locks import exclusive

HOLD = """
import sys, time
from pathlib import Path
from pipeline.locks import exclusive
with exclusive(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with (
        exclusive(path, "train a"),
        pytest.raises(UsageError, match=f"train a is busy: process {os.getpid()}"),
        exclusive(path, "train a"),
    ):
        pass
    with exclusive(path, "train a"):
        pass


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=str(holder.pid)), exclusive(path, "it"):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
        with exclusive(path, "it"):
            pass
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
