"""Somebody's reports are judged without data: spoiled ones are found, honest ones are valid."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.audit.context import Plans
from pipeline.core.errors import UsageError
from pipeline.core.files import read_json, write_json
from pipeline.scores.reference import Result, write_results
from stages.commands import audit_results, check_submission, export_results, judge_results
from tests.checkout import Checkout
from tests.pipeline.audit.project import Project
from tests.pipeline.audit.test_matrix import CASES, name_of, tamper

pytestmark = pytest.mark.slow
SPOILED: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("submissions.yaml").read_text("utf-8")
)
RUN_AGAIN = ("commit_a_forged_metric", "forge_metric", "run_uncommitted_code")
TAMPERED = [
    case
    for case in CASES
    if str(case.get("path", case.get("names"))).startswith("reports/mini/")
    and case.get("call") not in RUN_AGAIN
    and case["status"] != "mixed-env"
]


class Sent(Project):
    """A submission: `reports/mini` alone, whose records can be made to fit."""

    def relock(self) -> None:
        """DVC's lock is no part of it."""


@pytest.fixture(autouse=True)
def planned(plans: Plans) -> Iterator[None]:
    """The plans of the project's manifests, which no case changes, are resolved once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_results, "_plans", lambda work: plans)
        yield


@pytest.fixture
def sent(pristine: Project, tmp_path: Path) -> Sent:
    shutil.copytree(pristine.work.reports, tmp_path / "theirs" / "reports" / "mini")
    return Sent(Checkout(tmp_path / "theirs"))


def judged(pristine: Project, sent: Sent) -> check_submission.Submission:
    return check_submission.run(pristine.root, sent.work.reports)


def spoil(sent: Sent, case: dict[str, Any]) -> None:
    path = sent.work.reports / case["file"]
    if "find" in case:
        sent.checkout.edit(sent.work.relative(path), case["find"], case["text"])
    elif "text" in case:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(case["text"], "utf-8")
    else:
        value = read_json(path)
        for *place, last, given in ([None, *entry] for entry in case["set"]):
            value = put(value, [name for name in place if name is not None], last, given)
        path.unlink() if value is None else write_json(path, value)
    if case.get("sealed") is not False and "guess" not in case["file"]:
        sent.reseal_all()


def put(value: Any, place: list[Any], last: Any, given: Any) -> Any:
    """`value` with `given` at a place; without what is there, or without itself, for '-'."""
    if last is None:
        return None
    at = value
    for name in place:
        at = at[name]
    if given == "-":
        del at[last]
    else:
        at[last] = given
    return value


@pytest.mark.parametrize("case", SPOILED, ids=lambda case: case["item"].replace(" ", "-"))
def test_what_was_spoiled_and_sealed_again_is_named(
    pristine: Project, sent: Sent, case: dict[str, Any]
) -> None:
    spoil(sent, case)
    found = judged(pristine, sent)
    assert not found.valid
    assert any(re.search(case["reason"], reason) for reason in found.reasons), found.reasons


@pytest.mark.parametrize("case", TAMPERED, ids=name_of)
def test_what_the_audit_finds_in_reports_makes_them_invalid(
    pristine: Project, sent: Sent, case: dict[str, Any]
) -> None:
    place = tamper(sent, case)
    found = judged(pristine, sent)
    name = Path(case.get("names", place)).stem  # without data, a run is named in its record's place
    assert any(name in reason for reason in found.reasons), found.reasons


def test_honest_submissions_are_valid(pristine: Project, sent: Sent) -> None:
    assert judged(pristine, sent).reasons == ()
    sent.work.reports.joinpath("tables", ".note.swp").write_text("an editor's", "utf-8")
    for path in sent.work.reports.glob("records/*/*.observed.json"):
        write_json(path, read_json(path) | {"cpu": "Another Processor", "os": "Linux 1.0"})
    sent.work.reports.joinpath("results.json").write_text(export_results.run(sent.work), "utf-8")
    found = judged(pristine, sent)
    assert found.reasons == () and found.valid and found.rows == 2
    assert any("reference" in remark for remark in found.remarks)


def test_results_far_from_the_reference_are_invalid(
    pristine: Project, sent: Sent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Ten trainings of each row that all were right about nearly everything."""
    others = [
        Result(**{**one.__dict__, "seed": seed, "predictions": f"{seed}", "value_pct": 96.4286})
        for one in judge_results.results_here(pristine.work)
        for seed in range(100, 110)
    ]
    write_results(tmp_path / "reference.csv", others)
    given = tmp_path / "reference.csv"
    monkeypatch.setattr(check_submission, "reference_path", lambda root, profile: given)
    (reason,) = judged(pristine, sent).reasons
    assert reason.startswith("verdict: 0 of 2 results within the reference distribution; outside")


def test_a_folder_without_records_cannot_be_judged(pristine: Project, tmp_path: Path) -> None:
    (tmp_path / "mini").mkdir()
    with pytest.raises(UsageError, match="no run records"):
        check_submission.run(pristine.root, tmp_path / "mini")
    with pytest.raises(UsageError, match="no such folder"):
        check_submission.run(pristine.root, tmp_path / "none")


def test_reports_are_judged_as_the_profile_that_they_say_whatever_their_folder_is_called(
    pristine: Project, sent: Sent, tmp_path: Path
) -> None:
    other = sent.work.reports.rename(tmp_path / "theirs" / "reports" / "long")
    found = check_submission.run(pristine.root, other)
    assert (found.profile, found.reasons) == ("mini", ())
    cells = other / "tables" / "cells.json"
    write_json(cells, read_json(cells) | {"profile": "nano"})
    with pytest.raises(UsageError, match="unknown profile 'nano'"):
        check_submission.run(pristine.root, other)


def test_there_are_as_many_spoiled_submissions_as_were_promised() -> None:
    names = [json.dumps(case, sort_keys=True) for case in (*SPOILED, *TAMPERED)]
    assert len({*names}) == len(names) >= 40
