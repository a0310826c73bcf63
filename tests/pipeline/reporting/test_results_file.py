"""Results as data: they hold all that the tables print, in a form that others can check."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from pipeline.core.workspace import Workspace
from pipeline.lineage.root import read_root
from pipeline.reporting.build_tables import frame
from pipeline.reporting.results_file import collect, read_results, schema, tables_of
from pipeline.reporting.system import SYSTEM_FIELDS
from pipeline.reporting.writers import Footing, to_csv, to_latex, to_markdown
from stages.commands import export_results
from stages.tables import SMOKE_REMARK
from tests.checkout import ROOT
from tests.pipeline.reporting import fakes


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    work = fakes.full(tmp_path_factory.mktemp("project"))
    fakes.make_tables(work)
    return work


@pytest.fixture(scope="module")
def exported(work: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "results.json"
    path.write_text(export_results.run(work), encoding="utf-8")
    return path


def test_all_tables_are_made_again_from_the_file_alone(work: Workspace, exported: Path) -> None:
    results = read_results(exported)
    remark = SMOKE_REMARK if results.smoke else ""
    rebuilt = 0
    for table in tables_of(results):
        footing = replace(Footing(remark, results.root), notes=table.notes)
        data, layout = frame(table), table.layout
        texts = {
            "csv": to_csv(data),
            "md": to_markdown(data, layout, table.orders, footing),
            "tex": to_latex(data, layout, table.orders, footing),
        }
        for suffix, text in texts.items():
            path = work.reports / "tables" / layout.document / f"{layout.table}.{suffix}"
            assert path.read_text("utf-8") == text, path.name
            rebuilt += 1
    assert rebuilt == len([*(work.reports / "tables").glob("*/*.*")]) > 0


def test_the_file_fits_the_published_schema(exported: Path) -> None:
    published = json.loads((ROOT / "docs" / "results.schema.json").read_text("utf-8"))
    assert published == schema()
    jsonschema.Draft202012Validator.check_schema(published)
    jsonschema.validate(json.loads(exported.read_text("utf-8")), published)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("numbers", "doc/1/full/top1", "value"), "51.3"),
        (("numbers", "doc/1/full/top1", "unit"), None),
        (("numbers", "doc/1/full/top1", "extra"), 1),
        (("format",), "tdn.results/0"),
        (("system",), {"framework": "torch"}),
    ],
)
def test_what_does_not_fit_is_refused(exported: Path, place: tuple[str, ...], value: Any) -> None:
    content = json.loads(exported.read_text("utf-8"))
    at = content
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, schema())
    if place != ("system",):
        exported.with_name("spoiled.json").write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ValidationError):
            read_results(exported.with_name("spoiled.json"))


def test_a_number_says_what_it_covers(work: Workspace) -> None:
    results = collect(work)
    assert results.root == (read_root(work) or {})["root"]
    measured = [n for n in results.numbers.values() if n.value is not None and n.videos]
    assert measured
    for number in measured:
        assert number.videos is not None and number.sources
        assert number.videos.scored + number.videos.failed == number.videos.expected
        if number.interval is not None:
            assert number.value is not None
            assert number.interval.low <= number.value <= number.interval.high


def test_the_system_has_all_fields_and_a_reason_for_each_that_is_not_known(
    work: Workspace,
) -> None:
    found = collect(work).system
    assert tuple(found) == SYSTEM_FIELDS and len(SYSTEM_FIELDS) == 35
    assert all(value != "" for value in found.values())
    assert found["cooling"] == "n/a: not recorded"
