"""DVC commands that the driver starts in forks: what they return, and that they can be ended."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from stages.driver import warm
from stages.driver.drive import Dvc
from stages.driver.warm import forking
from stages.driver.warm_client import GONE
from tests.checkout import ROOT
from tests.processes import processes_in, within

GRAPH = """stages:
  hello:
    cmd: echo "it said $TDN_PROGRESS $TDN_PYTHON $TDN_EXTRA"
  kept:
    cmd: cp seed kept
    deps: [seed]
    outs: [kept]
  broken:
    cmd: sh -c 'echo no such luck; exit 3'
  endless:
    cmd: touch begun && sleep 1000
"""
DRIVER = """
import sys
from pathlib import Path
from stages.drive import Dvc
from stages.warm import forking
root = Path(sys.argv[1])
with forking(root, "dvc") as forks:
    (root / "forks").write_text(str(forks))
    print(Dvc(root, forks)("repro", "endless"))
"""
ONE_FORK_FAILS = f"""
import os
real = os.fork
def fork():
    os.fork = real
    raise OSError({errno.EAGAIN}, "no more processes")
os.fork = fork
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC project of a few stages."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    (tmp_path / "seed").write_text("1")
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.fixture
def dvc(root: Path) -> Iterator[Dvc]:
    with forking(root, "dvc") as forks:
        yield Dvc(root, forks, {"TDN_EXTRA": "more"})


def test_a_command_returns_its_exit_code_and_what_it_and_its_stage_print(dvc: Dvc) -> None:
    code, printed = dvc("repro", "hello", capture=True, note=Path("a note"))
    assert code == 0
    lines = printed.splitlines()
    said = f"it said a note {sys.executable} more"
    assert lines.index("Running stage 'hello':") < lines.index(said), "in the order it happened"
    code, printed = dvc("repro", "broken", capture=True)
    assert code == 255
    assert "no such luck" in printed
    assert "exited with 3" in printed
    code, printed = dvc("repro", "unheard-of", capture=True)
    assert code == 255
    assert "unheard-of" in printed


def test_a_command_sees_what_the_one_before_it_did(dvc: Dvc, root: Path) -> None:
    assert "Running stage" in dvc("repro", "kept", capture=True)[1]
    assert "didn't change" in dvc("repro", "kept", capture=True)[1]
    (root / "seed").write_text("2")
    assert "Running stage" in dvc("repro", "kept", capture=True)[1]
    (root / "dvc.yaml").write_text(GRAPH.replace("cp seed", "cp ./seed"))
    assert "cp ./seed" in dvc("repro", "kept", capture=True)[1]


def test_stopping_ends_a_command_with_its_stage_and_starts_no_more(dvc: Dvc, root: Path) -> None:
    server = processes_in(root)
    codes: list[int] = []
    caller = threading.Thread(target=lambda: codes.append(dvc("repro", "endless")[0]))
    caller.start()
    assert within(60, (root / "begun").exists)
    assert processes_in(root) > server
    dvc.stop()
    caller.join(timeout=20)
    assert codes == [-signal.SIGTERM]
    assert dvc("repro", "hello", capture=True) == (130, "")
    assert within(20, lambda: processes_in(root) == server), "the stage's own children too"


def test_a_killed_driver_leaves_nothing_behind(root: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(root)], cwd=ROOT)
    try:
        assert within(60, (root / "begun").exists)
        assert len(processes_in(root)) > 1
    finally:
        driver.kill()
        driver.wait()
    assert within(20, lambda: not processes_in(root))
    folder = Path((root / "forks").read_text()).parent
    assert within(20, lambda: not folder.exists()), "nor in the folder for temporary files"


def test_a_killed_process_that_forks_takes_its_commands_with_their_stages_along(
    dvc: Dvc, root: Path
) -> None:
    (server,) = processes_in(root)
    answers: list[tuple[int, str]] = []
    caller = threading.Thread(target=lambda: answers.append(dvc("repro", "endless", capture=True)))
    caller.start()
    assert within(60, (root / "begun").exists)
    os.kill(server, signal.SIGKILL)
    caller.join(timeout=20)
    assert processes_in(root) == set(), "gone before the caller is told"
    assert [code for code, _ in answers] == [GONE]
    assert "run again" in answers[0][1]


def test_a_fork_that_fails_is_told_and_the_next_one_is_made(
    root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(ONE_FORK_FAILS)
    monkeypatch.setenv("PYTHONPATH", f"{hook}{os.pathsep}{ROOT}")
    with forking(root, "dvc") as forks:
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        dvc = Dvc(root, forks)
        code, printed = dvc("repro", "hello", capture=True)
        assert code == GONE
        assert "DVC cannot be started" in printed
        assert dvc("repro", "hello", capture=True)[0] == 0


def test_callers_that_hang_up_or_say_nothing_cost_nothing(dvc: Dvc, root: Path) -> None:
    assert dvc("repro", "hello", capture=True)[0] == 0
    (server,) = processes_in(root)
    open_files = Path(f"/proc/{server}/fd")
    before = len(list(open_files.iterdir()))
    with socket.socket(socket.AF_UNIX) as silent:  # as one that was stopped on the way
        silent.connect(str(dvc.forks))
        for said in (b"", b"{"):
            with socket.socket(socket.AF_UNIX) as hasty:
                hasty.connect(str(dvc.forks))
                socket.send_fds(hasty, [(100).to_bytes(8, "big") + said], [0, 1, 2])
        caller = threading.Thread(target=dvc, args=("repro", "kept"), kwargs={"capture": True})
        caller.start()
        assert within(60, (root / "kept").exists), "others are served"
        caller.join(timeout=20)
    assert within(20, lambda: len(list(open_files.iterdir())) <= before)


def test_a_long_folder_for_temporary_files_does_no_harm(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = root / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with forking(root, "dvc") as forks:
        assert forks.is_socket()
    monkeypatch.setattr(warm.os, "access", lambda *_: False)  # nor is there a shorter one
    with pytest.raises(UsageError, match="takes no socket") as caught, forking(root, "dvc"):
        pass
    assert "TMPDIR" in caught.value.do
    assert list(long.iterdir()) == []


def test_without_the_process_that_forks_a_command_fails_and_says_so(root: Path) -> None:
    with forking(root, "dvc") as forks:
        pass
    code, printed = Dvc(root, forks)("repro", "hello", capture=True)
    assert code == GONE
    assert "DVC cannot be started" in printed
