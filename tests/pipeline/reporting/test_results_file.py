"""Results as data: they hold all that the tables print, in a form that others can check."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.lineage.root import read_root
from pipeline.reporting.results_file import collect, read_results, schema
from pipeline.reporting.system import SYSTEM_FIELDS
from stages.commands import export_results
from stages.commands.check_submission import tables_again
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
    texts = tables_again(results)
    for name, text in texts.items():
        assert (work.reports / "tables" / name).read_text("utf-8") == text, name
    assert len(texts) == len([*(work.reports / "tables").glob("*/*.*")]) > 0


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


def test_a_spreadsheet_has_a_line_for_every_number(work: Workspace) -> None:
    text = export_results.run(work, form="csv")
    lines = {
        "/".join(line[n] for n in ("document", "table", "row", "column")): line
        for line in csv.DictReader(io.StringIO(text, newline=""))
    }
    numbers = collect(work).numbers
    assert lines.keys() == numbers.keys()
    for name, number in numbers.items():
        line = lines[name]
        assert line["value"] == ("" if number.value is None else str(number.value))
        if number.interval is not None and number.videos is not None:
            assert float(line["interval_low"]) == number.interval.low
            assert int(line["videos_scored"]) == number.videos.scored


TEXT = {"type": "string", "minLength": 1}
MODEL_INDEX = {
    "type": "object",
    "required": ["name", "results"],
    "properties": {
        "name": TEXT,
        "results": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["task", "dataset", "metrics"],
                "properties": {
                    "task": {"required": ["type"], "properties": {"type": TEXT}},
                    "dataset": {"required": ["type", "name"], "additionalProperties": TEXT},
                    "metrics": {
                        "minItems": 1,
                        "items": {
                            "required": ["type", "value"],
                            "properties": {"type": TEXT, "value": {"type": "number"}},
                        },
                    },
                },
            },
        },
    },
}
EVAL_RESULTS = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["dataset", "value"],
        "additionalProperties": False,
        "properties": {
            "dataset": {
                "required": ["id", "task_id"],
                "properties": {"id": {"pattern": "^[^/]+/[^/]+$"}, "task_id": TEXT},
            },
            "value": {"type": "number"},
            "notes": TEXT,
        },
    },
}
"""What the Hub requires (huggingface/hub-docs: modelcard.md, eval_results.yaml)."""


def test_model_cards_fit_what_the_hub_requires(tmp_path: Path) -> None:
    work = fakes.full(tmp_path, smoke=False)
    fakes.make_tables(work, smoke=False)
    card = yaml.safe_load(export_results.run(work, form="model-index", row="net_full"))
    jsonschema.validate(card["model-index"], {"type": "array", "items": MODEL_INDEX})
    given = {"row": "net_full", "hub": "somebody/toys"}
    entries = yaml.safe_load(export_results.run(work, form="eval-results", **given))
    jsonschema.validate(entries, EVAL_RESULTS)
    values = {n.value for n in collect(work).numbers.values() if n.run == "net_full"}
    (result,) = card["model-index"][0]["results"]
    assert {result["metrics"][0]["value"]} == {entry["value"] for entry in entries} <= values
    assert "300 of 300 videos" in entries[0]["notes"]


def test_what_cannot_be_exported_is_refused(work: Workspace) -> None:
    for given, words in (
        ({"form": "xml"}, "cannot print"),
        ({"row": "net_full"}, "--row says nothing about results as json"),
        ({"form": "csv", "hub": "a/b"}, "--hub says nothing about results as csv"),
        ({"form": "model-index", "row": "net_full", "hub": "a/b"}, "--hub says nothing"),
        ({"form": "model-index", "row": "net_ful"}, "no results of a row"),
        ({"form": "eval-results", "row": "net_full"}, "no data set of the Hub"),
        ({"form": "eval-results", "row": "net_full", "hub": "a/b"}, "miniature of toy"),
    ):
        with pytest.raises(UsageError, match=words):
            export_results.run(work, **given)
    card = json.loads(export_results.run(work, form="model-index", row="net_full"))
    assert "miniature" in card["model-index"][0]["results"][0]["dataset"]["name"]
