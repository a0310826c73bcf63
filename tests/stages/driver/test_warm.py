"""Stages in forks of a process that has imported torch: what a caller sees, and what ends when."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.driver.warm import HANDED_OVER, warm
from stages.driver.warm_client import GONE
from tests.checkout import ROOT
from tests.processes import processes_in, within

CLIENT = [sys.executable, "-I", "-S", str(ROOT / "stages" / "warm_client.py")]


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What a caller has in its environment while the warm process listens."""
    with warm(ROOT) as extra:
        yield {**os.environ, **extra}


@pytest.fixture
def endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which `profile list` waits for ever: what it reads is a pipe."""
    (tmp_path / "manifests" / "profiles").mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("")
    os.mkfifo(tmp_path / "manifests" / "profiles" / "mini.yaml")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def call(environment: dict[str, str], cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLIENT, *words],
        env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@contextlib.contextmanager
def waiting(
    environment: dict[str, str], endless: Path, **settings: Any
) -> Iterator[subprocess.Popen[str]]:
    """The caller of a stage that has begun to wait; it can go on at the end of the block."""
    pipe = endless / "manifests" / "profiles" / "mini.yaml"
    writer = -1

    def read() -> bool:
        nonlocal writer
        try:
            writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO, error  # nobody reads yet
        return writer >= 0

    command = [*CLIENT, "profile", "list"]
    with subprocess.Popen(command, env=environment, cwd=endless, text=True, **settings) as caller:
        try:
            assert within(60, lambda: writer >= 0 or read()), "the stage never began"
            yield caller
        finally:
            if writer >= 0:
                os.close(writer)
            caller.kill()


def test_a_call_has_its_own_arguments_output_and_exit_code(environment: dict[str, str]) -> None:
    good = call(environment, ROOT, "profile", "list")
    assert good.returncode == 0
    assert "mini" in good.stdout
    bad = call(environment, ROOT, "profile", "use", "minni")
    assert bad.returncode == 2
    assert "unknown profile 'minni'" in bad.stderr
    assert bad.stdout == ""


def test_a_call_runs_where_the_caller_is(environment: dict[str, str], tmp_path: Path) -> None:
    done = call(environment, tmp_path, "plan")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_killed_caller_takes_its_stage_with_it(
    environment: dict[str, str], endless: Path
) -> None:
    with waiting(environment, endless) as caller:
        assert len(processes_in(endless)) == 2, "the caller and the stage"
        caller.kill()
        caller.wait(timeout=10)
        assert within(20, lambda: not processes_in(endless))
    # The process still answers, so nothing hangs on the one that was killed.
    assert call(environment, ROOT, "profile", "list").returncode == 0


def test_nothing_is_left_when_the_driver_ends(endless: Path) -> None:
    with contextlib.ExitStack() as stack:
        with warm(endless) as extra:
            caller = stack.enter_context(waiting({**os.environ, **extra}, endless))
            assert len(processes_in(endless)) == 3, "the caller, the stage and what forked it"
        assert caller.wait(timeout=20) == 130, "the stage was told to stop"
        assert processes_in(endless) == set()
    assert not Path(extra["TDN_WARM"]).parent.exists()


def test_a_killed_warm_process_takes_its_stages_along(endless: Path) -> None:
    with warm(endless) as extra:
        (server,) = processes_in(endless)
        with waiting({**os.environ, **extra}, endless, stderr=subprocess.PIPE) as caller:
            os.kill(server, signal.SIGKILL)
            _, said = caller.communicate(timeout=20)
            assert processes_in(endless) == set(), "gone before the caller is"
            assert caller.returncode == GONE
            assert "the warm process ended before the stage did; run again" in said


def test_a_stage_runs_in_a_fresh_interpreter_when_the_warm_process_cannot_import(
    endless: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Found before the real one; it fails when the caller below is waiting already.
    (endless / "torch.py").write_text("import time\ntime.sleep(3)\nraise ImportError('broken')\n")
    with warm(endless) as extra:
        done = call({**os.environ, **extra}, ROOT, "profile", "list")
        assert done.returncode == 0, done.stderr
        assert "mini" in done.stdout
        again = call({**os.environ, **extra}, ROOT, "profile", "list")
        assert again.returncode == 0, again.stderr
    assert "ImportError: broken" in capfd.readouterr().err, "the driver says why"


def test_the_stages_handed_over_are_those_that_are_imported() -> None:
    run = (ROOT / "stages" / "run").read_text("utf-8")
    assert f"case $1 in {'|'.join(HANDED_OVER)})" in run
