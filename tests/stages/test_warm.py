from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.warm import HANDED_OVER, warm
from tests.checkout import ROOT


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """What a caller has in its environment while the warm process listens."""
    with warm(ROOT) as extra:
        deadline = time.monotonic() + 60
        while not Path(extra["TDN_WARM"]).exists():
            assert time.monotonic() < deadline, "the warm process never listened"
            time.sleep(0.05)
        yield {**os.environ, **extra, "TDN_PYTHON": sys.executable}


def call(environment: dict[str, str], cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(ROOT / "stages" / "warm_client.py"), *words]
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


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
    environment: dict[str, str], tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # A stage that waits for ever: it opens a pipe that nobody writes to.
    command = [sys.executable, "-I", "-S", str(ROOT / "stages" / "warm_client.py")]
    caller = subprocess.Popen(
        [*command, "store", "verify", "--profile", str(fifo)], env=environment, cwd=ROOT
    )
    time.sleep(0.2)
    caller.send_signal(signal.SIGKILL)
    caller.wait(timeout=10)
    # The process still answers, so nothing hangs on the one that was killed.
    assert call(environment, ROOT, "profile", "list").returncode == 0


def test_nothing_is_left_when_the_driver_ends() -> None:
    with warm(ROOT) as extra:
        path = Path(extra["TDN_WARM"])
        while not path.exists():
            time.sleep(0.05)
    assert not path.parent.exists()


def test_the_stages_handed_over_are_those_that_are_imported() -> None:
    run = (ROOT / "stages" / "run").read_text("utf-8")
    assert f"case $1 in {'|'.join(HANDED_OVER)})" in run
