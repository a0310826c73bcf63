from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.locks import exclusive

HOLD = """
import sys, time
from pathlib import Path
from pipeline.core.locks import exclusive
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


def left(path: Path, machine: str, boot: str) -> None:
    """A lock file as a process leaves it that was killed before it could empty it."""
    path.write_text(json.dumps({"process": 4711, "machine": machine, "boot": boot}))


def test_a_lock_names_its_machine_and_is_empty_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with exclusive(path, "it"):
        said = json.loads(path.read_text())
        assert (said["process"], said["machine"]) == (os.getpid(), socket.gethostname())
        with (
            pytest.raises(UsageError, match=f"process {os.getpid()} on {said['machine']}"),
            exclusive(path, "it"),
        ):
            pass
    assert path.read_text() == ""


def test_a_lock_of_another_machine_is_held_whatever_runs_here(tmp_path: Path) -> None:
    """Where storage does not pass locks on, only the file's text says that somebody is at work."""
    path = tmp_path / "frames" / ".ssv2.lock"
    path.parent.mkdir()
    left(path, "node-b", "another kernel")
    with pytest.raises(UsageError) as refused, exclusive(path, "the store"):
        pass
    assert "the store is busy: process 4711 on node-b" in refused.value.what
    command = refused.value.do.split("`")[1]
    assert "no longer runs on node-b, run `rm " in refused.value.do
    with pytest.raises(UsageError, match="node-b"), exclusive(path, "the store"):
        pass
    subprocess.run(command.split(), check=True)
    with exclusive(path, "the store"):
        pass


def test_what_a_killed_process_of_this_machine_left_is_free(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    for machine, kernel in (("a container of before", boot), (socket.gethostname(), "before")):
        left(path, machine, kernel)
        with exclusive(path, "it"):
            pass
    path.write_text("4711\n")  # as locks were written once
    with exclusive(path, "it"):
        pass
