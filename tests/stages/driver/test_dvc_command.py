"""DVC imported before it is asked: nothing is open, and its lock is what it would write itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dvc import dvcfile
from dvc.utils.serialize import modify_yaml as of_dvc

from stages.driver import dvc_command
from tests.checkout import ROOT

ENTRY: dict[str, Any] = {
    # Longer than a line; words that YAML could take for numbers, dates and truth.
    "cmd": "sh stages/run predict a_row_with_quite_a_long_name_of_its_own --profile mini --graph",
    "deps": [
        {"path": "no", "hash": "md5", "md5": "12345678901234567890123456789012", "size": 1},
        {"path": "2026-11-26", "hash": "md5", "md5": "123e4567890123456789012345678901", "size": 0},
        {"path": "a: b #c", "hash": "md5", "md5": "0x10", "size": 12, "nfiles": 2},
        {"path": "über/wäg 'e' \"d\".dir", "hash": "md5", "md5": "1_000.dir", "size": 2**40},
    ],
    "params": {"params.yaml": {"lr": 1e-05, "on": True, "none": None, "text": "on\ntwo lines\n"}},
    "outs": [{"path": "~", "md5": "null"}],
}


OPEN_FILES = """
import os
def open_files():
    for number in os.listdir("/proc/self/fd"):
        try:
            if int(number) > 2:
                yield os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # that of the listing itself
            pass
"""


@pytest.fixture
def prepared() -> Iterator[None]:
    dvc_command.prepare()
    yield
    dvcfile.modify_yaml = of_dvc


def told(code: str) -> list[str]:
    """The words that a fresh interpreter prints; it has `open_files`, all but the standard ones."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN_FILES + code],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def write(path: Path, modify: Any, name: str, entry: dict[str, Any]) -> bytes:
    """The lock after a stage was put into it as DVC does."""
    with modify(str(path)) as found:
        found.setdefault("schema", "2.0")
        found.setdefault("stages", {}).update({name: entry})
    return path.read_bytes()


def test_a_lock_is_written_byte_for_byte_as_dvc_writes_it(prepared: None, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours" / "dvc.lock", tmp_path / "theirs" / "dvc.lock"
    for path in (ours, theirs):
        path.parent.mkdir()
    for name in ("train@one", "train@two", "train@one"):
        entry = {**ENTRY, "cmd": f"{ENTRY['cmd']} {name}"}
        assert write(ours, dvc_command.modify_yaml, name, entry) == write(
            theirs, of_dvc, name, entry
        )


def test_the_lock_of_this_project_stays_as_it_is(prepared: None, tmp_path: Path) -> None:
    committed = (ROOT / "dvc.lock").read_bytes()
    path = tmp_path / "dvc.lock"
    path.write_bytes(committed)
    with dvc_command.modify_yaml(str(path)):
        pass
    assert path.read_bytes() == committed


def test_remarks_in_other_files_are_kept(prepared: None, tmp_path: Path) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("stages: # a remark\n  one:\n    cmd: echo\n")
    with dvc_command.modify_yaml(str(path)) as found:
        found["stages"]["one"]["cmd"] = "true"
    assert "# a remark" in path.read_text()


def test_it_is_what_dvc_writes_its_lock_with(prepared: None) -> None:
    assert dvcfile.modify_yaml is dvc_command.modify_yaml
    assert "modify_yaml" in dvcfile.Lockfile.dump_stages.__code__.co_names


def test_it_has_one_thread_and_nothing_open() -> None:
    code = """
import os
from stages import dvc_command
dvc_command.prepare()
print(len(os.listdir("/proc/self/task")), *open_files())
"""
    assert told(code) == ["1"]


def test_what_is_open_is_found_wherever_it_is() -> None:
    assert told("os.dup2(os.open(os.devnull, os.O_RDONLY), 17); print(*open_files())") == [
        "/dev/null",
        "/dev/null",
    ]


def test_preparing_twice_does_no_harm(prepared: None, tmp_path: Path) -> None:
    dvc_command.prepare()
    test_remarks_in_other_files_are_kept(prepared, tmp_path)
