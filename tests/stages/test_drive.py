"""DVC commands that the driver starts in forks: what they return, and that they can be ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stages.drive import Dvc
from stages.warm import forking
from stages.warm_client import GONE
from tests.checkout import ROOT

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
    print(Dvc(root, forks)("repro", "endless"))
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


def within(seconds: float, found: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not found() and time.monotonic() < deadline:
        time.sleep(0.05)
    return found()


def processes_in(root: Path) -> set[int]:
    """Processes whose working directory is the project."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")) == root.resolve():
                found.add(int(entry.name))
        except OSError:
            continue
    return found


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
    codes: list[int] = []
    caller = threading.Thread(target=lambda: codes.append(dvc("repro", "endless")[0]))
    caller.start()
    assert within(60, (root / "begun").exists)
    dvc.stop()
    caller.join(timeout=20)
    assert codes == [-signal.SIGTERM]
    assert dvc("repro", "hello", capture=True) == (130, "")
    server = {os.getpid(), *_children(os.getpid())}
    assert within(20, lambda: processes_in(root) <= server), "the stage's own children too"


def test_a_killed_driver_leaves_nothing_behind(root: Path) -> None:
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(root)], cwd=ROOT)
    try:
        assert within(60, (root / "begun").exists)
        assert len(processes_in(root)) > 1
    finally:
        driver.kill()
        driver.wait()
    assert within(20, lambda: not processes_in(root))


def test_without_the_process_that_forks_a_command_fails_and_says_so(root: Path) -> None:
    with forking(root, "dvc") as forks:
        pass
    code, printed = Dvc(root, forks)("repro", "hello", capture=True)
    assert code == GONE
    assert "DVC cannot be started" in printed


def _children(parent: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                words = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(words[1]) == parent:
                    found.add(int(entry.name))
        except OSError:
            continue
    return found
