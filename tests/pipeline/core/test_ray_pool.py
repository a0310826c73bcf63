from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.core import ray_pool
from pipeline.core.errors import DataError, StoreError, UsageError
from pipeline.core.ray_pool import Crash, Pool


def square(number: int) -> int:
    if number == 13:
        raise DataError("thirteen", where="here", do="take another")
    return number * number


def trip(number: int) -> int:
    raise OSError(number, os.strerror(number), "/secret/place/shard-00001.json")


def die(_: int) -> int:
    os._exit(1)


def descendants() -> list[int]:
    """This process and everything it started, directly or not."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                about = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(about[1])
    found = [os.getpid()]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def listening_addresses() -> set[str]:
    """Hexadecimal addresses on which this process's family listens for TCP."""
    sockets = set()
    for pid in descendants():
        with contextlib.suppress(OSError):
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    sockets.add(os.readlink(fd))
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and f"socket:[{cells[9]}]" in sockets:
                found.add(cells[1].partition(":")[0])
    return found


def test_zero_workers_run_here_in_order() -> None:
    with Pool(0) as pool:
        assert list(pool.run(square, [3, 1, 2])) == [(0, 9), (1, 1), (2, 4)]
        with pytest.raises(DataError, match="thirteen"):
            list(pool.run(square, [13]))


@pytest.mark.parametrize(
    ("number", "what", "do"),
    [
        (errno.EACCES, "Permission denied", "rights"),
        (errno.ENOSPC, "No space left on device", "free some space"),
    ],
)
def test_what_the_system_refuses_is_a_store_error(number: int, what: str, do: str) -> None:
    with Pool(0) as pool, pytest.raises(StoreError) as caught:
        list(pool.run(trip, [number]))
    error = caught.value
    assert what in error.what
    assert error.where == "shard-00001.json"
    assert do in error.do
    assert "secret" not in str(error)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no.invalid:6379", "ray://127.0.0.1:1", "x"])
def test_a_cluster_out_of_reach_is_the_users_to_mend(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def init(**_: object) -> None:
        raise ValueError(f"Invalid address format: {address}")

    # Ray reads its environment when first imported: a cluster's would outlive this test.
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.setenv("RAY_ADDRESS", address)
    with Pool(2) as pool, pytest.raises(UsageError, match="RAY_ADDRESS") as caught:
        list(pool.run(square, [1]))
    assert "unset" in caught.value.do


def test_folders_of_killed_drivers_are_swept_and_others_left(tmp_path: Path) -> None:
    for name in ("tdn-dead", "tdn-alive", "tdn-other", "else"):
        (tmp_path / name).mkdir()
    for name in ("tdn-dead", "tdn-alive", "else"):
        (tmp_path / name / ".held").touch()
    with (tmp_path / "tdn-alive" / ".held").open("r+") as hold:
        fcntl.flock(hold, fcntl.LOCK_EX)
        ray_pool._sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"tdn-alive", "tdn-other", "else"}


def test_a_folder_that_another_driver_sweeps_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a folder's making and its hold lies a moment in which it looks abandoned."""
    lock, swept = fcntl.flock, []

    def late(handle: int, how: int) -> None:
        if how == fcntl.LOCK_EX and not swept:
            swept.extend(path.name for path in tmp_path.iterdir())
            ray_pool._sweep(tmp_path)
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    folder, hold = ray_pool._new_folder(tmp_path)
    try:
        assert [path.name for path in tmp_path.iterdir()] == [Path(folder).name]
        assert swept and Path(folder).name not in swept
        ray_pool._sweep(tmp_path)
        assert Path(folder).is_dir()
    finally:
        os.close(hold)


def test_a_negative_number_of_workers_is_refused() -> None:
    with pytest.raises(UsageError):
        Pool(-1)


@pytest.mark.slow
def test_a_real_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results, errors and crashes come back; nothing listens beyond this machine."""
    with Pool(2) as pool:
        assert sorted(pool.run(square, list(range(5)))) == [(n, n * n) for n in range(5)]
        with pytest.raises(DataError) as caught:
            list(pool.run(square, [13]))
        assert (caught.value.where, caught.value.do) == ("here", "take another")
        with pytest.raises(StoreError, match="Permission denied"):
            list(pool.run(trip, [errno.EACCES]))
        assert list(pool.run(die, [0], retries=0)) == [(0, Crash("its worker process was killed"))]
        loopback = {"0100007F", "0000000000000000FFFF00000100007F", "0" * 24 + "01000000"}
        found = listening_addresses()
        assert found, "Ray listens somewhere, and this test must see it"
        assert found <= loopback
