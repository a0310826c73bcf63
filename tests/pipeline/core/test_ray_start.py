"""Ray starts without a home folder; where it does not start, a sentence says so."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.ray_pool import Pool
from pipeline.core.ray_start import cluster_address, starting
from tests.checkout import ROOT
from tests.processes import within

RUN = "import operator\nfrom pipeline.core.ray_pool import Pool\n" + (
    "with Pool(1) as pool: print(sorted(pool.run(operator.neg, [1, 2])))"
)
"""A program that needs Ray."""
SOONER = "import time\nclock = time.monotonic\ntime.monotonic = lambda: 10 * clock()\n"
"""Ray waits half a minute for its processes, by this clock three seconds."""
NAMELESS = ["unshare", "-U", "--map-user=12345"]
"""Runs a program as a user without an entry in passwd."""


@pytest.mark.parametrize("value", ["", " ", "local", None])
def test_an_empty_address_and_local_are_no_cluster(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if value is not None:
        monkeypatch.setenv("RAY_ADDRESS", value)
    assert cluster_address() == ""
    pool = Pool(3)
    assert (pool.cluster, pool.workers) == (False, 3)


def test_another_address_is_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert cluster_address() == "127.0.0.1:6379"
    assert Pool(2).cluster and not Pool(0).cluster


@pytest.mark.parametrize("home", ["/proc/nothing", None])
def test_a_home_that_cannot_be_written_is_replaced_while_ray_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr("pipeline.core.ray_start._has_home", lambda: False)
    else:
        monkeypatch.setenv("HOME", home)
    with starting(tmp_path):
        assert os.environ["HOME"] == str(tmp_path)
    assert os.environ.get("HOME") == home


def test_a_home_that_can_be_written_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "new"))
    with starting(tmp_path):
        assert os.environ["HOME"] == str(tmp_path / "new")


@pytest.mark.parametrize(
    ("limits", "raised"),
    [
        ((64, 64), None),
        ((64, 4096), 1024),
        ((64, 200), 200),
        ((1024, 4096), 0),
        ((64, -1), 1024),
        ((-1, -1), 0),
    ],
)
def test_a_limit_of_open_files_is_raised_or_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], raised: int | None
) -> None:
    found: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda _: limits)
    monkeypatch.setattr("resource.setrlimit", lambda _, new: found.append(new))
    if raised is None:
        with pytest.raises(UsageError, match="64 open files") as caught, starting(tmp_path):
            pass
        assert "--workers 0" in caught.value.do
        return
    with starting(tmp_path):
        assert found == ([(raised, limits[1])] if raised else [])


def test_what_ray_raises_is_a_sentence_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the node timed out") as caught, starting(tmp_path):
        raise Exception("the node timed out\nand much more")
    assert "much more" not in str(caught.value)
    assert "--workers 0" in caught.value.do
    with pytest.raises(UsageError, match="mine"), starting(tmp_path):
        raise UsageError("mine")


def ray(prefix: list[str], program: str = RUN, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("HOME", "USER", "LOGNAME")}
    return subprocess.run(
        [*prefix, sys.executable, "-c", program],
        cwd=ROOT,
        env=kept | env,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("nameless", [False, True])
def test_ray_works_for_a_user_without_a_home_or_a_name(nameless: bool) -> None:
    if nameless and subprocess.run([*NAMELESS, "true"], capture_output=True).returncode:
        pytest.skip("this system lets no user make a namespace")
    done = ray(NAMELESS) if nameless else ray([], HOME="/proc/nothing")
    assert done.stdout.strip() == "[(0, -1), (1, -2)]", done.stderr[-2000:]


def abandoned() -> set[str]:
    """Folders of a Ray whose driver has ended: nobody holds them."""
    found = set()
    for folder in Path("/tmp").glob("tdn-*"):
        try:
            with (folder / ".held").open("r+b") as hold:
                fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        except FileNotFoundError:
            pass
        found |= {folder.name} if folder.is_dir() else set()
    return found


@pytest.mark.slow
def test_a_ray_that_does_not_start_leaves_nothing(tmp_path: Path) -> None:
    before = abandoned()
    prefix = ["bash", "-c", 'ulimit -f 100; exec "$@"', "-"]
    done = ray(prefix, SOONER + RUN, HOME=str(tmp_path), RAY_raylet_start_wait_time_s="3")
    assert "Ray does not start on this machine" in done.stderr, done.stderr[-2000:]
    # What a killed driver of a test beside this one left goes when the next Ray starts.
    assert within(300, lambda: not abandoned() - before), abandoned() - before


def test_a_folder_that_cannot_be_held_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.mkdtemp", lambda **_: str(tmp_path / "tdn-new"))
    (tmp_path / "tdn-new").mkdir()
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError, match="full"), Pool(1) as pool:
        list(pool.run(abs, [1]))
    assert list(tmp_path.iterdir()) == []
