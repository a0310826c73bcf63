"""DVC's lock: whole whatever happens, and never of a plan that did not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from dvc.dvcfile import Lockfile
from dvc.repo import Repo

from pipeline.core.errors import TdnError
from stages.driver import dvc_record

GRAPH = """
stages:
  one: {cmd: "true", deps: [a], outs: [{b: {cache: false, persist: true}}]}
  two: {cmd: "true", deps: [b], outs: [{c: {cache: false, persist: true}}]}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Repo.init(str(tmp_path), no_scm=True).close()
    (tmp_path / "dvc.yaml").write_text(GRAPH, "utf-8")
    for name in "abc":
        (tmp_path / name).write_text(name, "utf-8")
    return tmp_path


def recorded(root: Path) -> set[str]:
    return set(yaml.safe_load((root / "dvc.lock").read_text("utf-8"))["stages"])


def test_what_is_recorded_is_no_news_to_dvc(root: Path) -> None:
    assert dvc_record.changed(root, "dvc.yaml") == {"one", "two"}
    dvc_record.record(root, "dvc.yaml", {"one"})
    assert recorded(root) == {"one"}
    dvc_record.record(root, "dvc.yaml", {"two"})
    assert recorded(root) == {"one", "two"}
    assert dvc_record.changed(root, "dvc.yaml") == set()
    (root / "a").write_text("another", "utf-8")
    assert dvc_record.changed(root, "dvc.yaml") == {"one"}


def test_a_process_that_dies_while_dvc_writes_leaves_the_old_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dvc_record.record(root, "dvc.yaml", {"one"})
    before = (root / "dvc.lock").read_bytes()

    def half(lock: Lockfile, stages: object) -> None:
        Path(lock.path).write_text("schema: '2.0'\nstages:\n  one: {cm", "utf-8")
        os._exit(9)

    monkeypatch.setattr(Lockfile, "dump_stages", half)
    child = os.fork()
    if not child:
        dvc_record.record(root, "dvc.yaml", {"two"})
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (root / "dvc.lock").read_bytes() == before
    monkeypatch.undo()
    dvc_record.record(root, "dvc.yaml", {"two"})
    assert recorded(root) == {"one", "two"}


def test_a_lock_that_plain_dvc_left_half_written_is_named_with_a_remedy(root: Path) -> None:
    dvc_record.record(root, "dvc.yaml", {"one"})
    lock = root / "dvc.lock"
    lock.write_bytes(lock.read_bytes()[:-40] + b"\n  x: [")
    with pytest.raises(TdnError, match=r"dvc\.lock") as caught:
        dvc_record.changed(root, "dvc.yaml")
    assert "may be removed" in caught.value.do
    lock.unlink()
    dvc_record.record(root, "dvc.yaml", {"one"})
    assert recorded(root) == {"one"}
