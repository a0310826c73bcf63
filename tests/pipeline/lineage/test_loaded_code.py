"""A stage runs the code of its plan: what its files hold later is another plan's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import RecordError
from pipeline.lineage import loaded_code
from pipeline.lineage.code_digest import Code, Parts

HOME = "pipeline/lineage/tried_by_a_test.py"


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Parts]:
    """The plan of a module and of a template beside it, in a checkout of their own."""
    monkeypatch.setattr(loaded_code, "_ROOT", tmp_path)
    monkeypatch.setattr(loaded_code, "_loaded", {})
    monkeypatch.setattr("importlib.import_module", lambda name: None)
    (tmp_path / HOME).parent.mkdir(parents=True)
    (tmp_path / HOME).write_text("def run():\n    return step('page.html')\n\n\ndef step(x): ...\n")
    (tmp_path / HOME).with_name("page.html").write_text("<p>")
    yield Code(tmp_path).reached(["pipeline.lineage.tried_by_a_test:run"])


def test_code_as_planned_is_run(planned: Parts) -> None:
    assert len(planned) == 2
    loaded_code.check_loaded(planned)


@pytest.mark.parametrize("name", [HOME, HOME.replace("tried_by_a_test.py", "page.html")])
@pytest.mark.parametrize("gone", [False, True])
def test_code_that_changed_before_it_was_imported_is_not_run(
    planned: Parts, tmp_path: Path, name: str, gone: bool
) -> None:
    path = tmp_path / name
    path.unlink() if gone else path.write_text("def run(): return 2\n\n\ndef step(x): ...\n")
    with pytest.raises(RecordError, match="changed after it was planned") as caught:
        loaded_code.check_loaded(planned)
    assert caught.value.where == name


def test_what_is_not_imported_yet_can_wait(
    planned: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / HOME).write_text("def run(): return 2\n\n\ndef step(x): ...\n")
    loaded_code.check_loaded(planned, imported=True)
    monkeypatch.setitem(sys.modules, "pipeline.lineage.tried_by_a_test", loaded_code)
    with pytest.raises(RecordError, match="changed after it was planned"):
        loaded_code.check_loaded(planned, imported=True)


def test_a_remark_is_no_change(planned: Parts, tmp_path: Path) -> None:
    path = tmp_path / HOME
    path.write_text("# a remark\n" + path.read_text())
    loaded_code.check_loaded(planned)


def test_what_is_imported_goes_on_being_what_it_was(planned: Parts, tmp_path: Path) -> None:
    loaded_code.check_loaded(planned)
    (tmp_path / HOME).write_text("def run(): return 2\n\n\ndef step(x): ...\n")
    loaded_code.check_loaded(planned)
    later = Code(tmp_path).reached(["pipeline.lineage.tried_by_a_test:run"])
    with pytest.raises(RecordError):
        loaded_code.check_loaded(later)
