"""Sentences are held against their manifest, figures against their plan, each by its own name."""

from __future__ import annotations

import csv
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.audit.context import Context, Tools
from pipeline.audit.links import Link, Status
from pipeline.audit.statements import check
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.prose import judge
from pipeline.schema.claims import ProseClaim

HEADER = "prose_id,document,place,kind,sentence,rule,ours,note\n"
SENTENCE = "The first is above the second."
RULE = "'1/a/top1' > '1/b/top1'"
LINES = (
    f"doc/above,doc,abstract,ordering,{SENTENCE},{RULE},{RULE},\n"
    "doc/open,doc,abstract,ordering,Nothing here decides this one.,,,\n"
)
CELLS = {
    f"doc/1/{row}/{column}": {"claim_id": "x", "claimed": claimed, "measured": None}
    for row, claimed in (("a", "2.0"), ("b", "1.0"))
    for column in ("top1", "flops")
}
READ = ["doc/1/a/top1", "doc/1/b/top1"]
TABLES = (
    {
        "document": "doc",
        "table": "1",
        "rows": [{"row": row, "cells": ["top1", "flops"]} for row in "ab"],
    },
)
CLAIMS = [ProseClaim(**line) for line in csv.DictReader((HEADER + LINES).splitlines())]
VERDICTS: list[dict[str, Any]] = [
    judge(claim, tuple(CELLS), CELLS, lambda claim, rule: None).as_json() for claim in CLAIMS
]
LABELLED = {"title": "t", "kind": "curves"}
PLANNED: dict[str, Any] = {
    "one": {**LABELLED, "rows": [["a", "A"], ["b", "B"]]},
    "other": {**LABELLED, "rows": [["c", "C"]]},
    "cost": {
        "title": "t", "kind": "cost", "rows": [["a", "A"]], "protocol": "p",
        "printed": {"table": "doc/1", "cost": "flops", "accuracy": "top1"},
    },
    "order": {"title": "t", "kind": "ordering"},
}  # fmt: skip
FIGURES: list[dict[str, Any]] = [
    {"key": "one", "state": "drawn", "rows": ["a", "b"], "cells": []},
    {"key": "other", "state": "not-run", "rows": [], "cells": []},
    {"key": "cost", "state": "drawn", "rows": ["a"], "cells": ["doc/1/b/flops", *READ]},
    {"key": "order_doc_1_top1", "state": "drawn", "rows": [], "cells": READ},
]
Change = Callable[[list[dict[str, Any]]], Any]


def links(
    root: Path,
    *,
    verdicts: list[Any] | None = None,
    figures: list[Any] | None = None,
    lines: str = LINES,
    made_with: str = "now",
) -> dict[str, Link]:
    """What level 0 says of these files, by source; `made_with`: the manifests that the runs saw."""
    work = Workspace(root)
    work.manifests.mkdir(exist_ok=True)
    (work.manifests / "prose_claims.csv").write_text(HEADER + lines, "utf-8")
    write_json(work.reports / "tables/prose.json", {"verdicts": verdicts or VERDICTS})
    write_json(work.reports / "figures/figures.json", {"figures": figures or FIGURES})
    asked = {"figures": [list(item) for item in PLANNED.items()], "manifests": "now"}
    plans = {name: {"params": asked} for name in ("tables/all", "figures/all")}
    run = SimpleNamespace(params={**asked, "manifests": made_with})
    behind = {"train/a", "train/b", "train/c", "tables/all"}
    evidence: Any = SimpleNamespace(runs=dict.fromkeys(plans, run), behind=lambda paths: behind)
    tools = Tools(plans=lambda work: plans, lock=root / "dvc.lock")
    return {link.source: link for link in check(Context(work, tools, evidence, CELLS, TABLES))}


def changed(before: list[dict[str, Any]], change: Change) -> list[dict[str, Any]]:
    after = deepcopy(before)
    change(after)
    return after


def broken(found: dict[str, Link]) -> dict[str, str]:
    return {source: str(link.status) for source, link in found.items() if link.broken}


def test_what_is_as_asked_holds(tmp_path: Path) -> None:
    found = links(tmp_path)
    assert broken(found) == {}
    assert set(found) == {
        "prose:doc/above", "prose:doc/open",
        "figure:one", "figure:other", "figure:cost", "figure:order_doc_1_top1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "source", "said"),
    [
        (
            lambda v: v[0].update(rule=RULE.replace(">", "<"), paper="fails"),
            "doc/above",
            "its rule is not that of prose_claims.csv",
        ),
        (lambda v: v[0].update(ours_rule="", ours_cells=[]), "doc/above", "its ours is not"),
        (lambda v: v[0].update(sentence="Another sentence."), "doc/above", "its sentence is not"),
        (
            lambda v: v[0].update(v[1] | {"prose_id": "doc/above", "sentence": SENTENCE}),
            "doc/above",
            "its rule is not",
        ),
        (lambda v: v[1].update(cells=READ), "doc/open", "cells: it says"),
        (lambda v: v[0].update(paper="fails"), "doc/above", "rules and cells say holds"),
        (
            lambda v: v[0].update(paper_numbers="9 > 1"),
            "doc/above",
            "rules and cells say 2.0 > 1.0",
        ),
        (lambda v: v[0].update(smoke=True), "doc/above", "smoke: it says true"),
        (lambda v: v.pop(0), "doc/above", "the manifests ask for it and it is not there"),
        (lambda v: v.append(v[1]), "doc/open", "it is there twice"),
        (lambda v: v.append(v[1] | {"prose_id": "doc/new"}), "doc/new", "has no such sentence"),
    ],
)
def test_a_verdict_that_the_manifest_does_not_give_is_found(
    tmp_path: Path, change: Change, source: str, said: str
) -> None:
    found = links(tmp_path, verdicts=changed(VERDICTS, change))
    assert broken(found) == {f"prose:{source}": Status.RECOMPUTE_MISMATCH}
    assert said in found[f"prose:{source}"].detail


@pytest.mark.parametrize(
    ("change", "source", "said"),
    [
        (lambda f: f[1].update(rows=["a"]), "other", "does not give it the row a"),
        (lambda f: f[0].update(rows=["a"]), "one", "does not name its row b"),
        (lambda f: f[0].update(cells=READ), "one", "does not give it the cell doc/1/a/top1"),
        (
            lambda f: f[3].update(cells=["doc/1/a/flops"]),
            "order_doc_1_top1",
            "does not give it the cell doc/1/a/flops",
        ),
        (lambda f: f[2].update(cells=["doc/1/z/top1"]), "cost", "no table has its cell"),
        (lambda f: f.pop(1), "other", "the manifests ask for it and it is not there"),
        (lambda f: f.pop(3), "order", "the manifests ask for it and it is not there"),
        (lambda f: f.append(f[1] | {"key": "new"}), "new", "has no such figure"),
    ],
)
def test_a_figure_that_its_plan_does_not_give_is_found(
    tmp_path: Path, change: Change, source: str, said: str
) -> None:
    found = links(tmp_path, figures=changed(FIGURES, change))
    assert broken(found) == {f"figure:{source}": Status.UNRECORDED}
    assert said in found[f"figure:{source}"].detail


def test_an_entry_that_does_not_parse_is_named_by_itself_and_the_others_are_held(
    tmp_path: Path,
) -> None:
    verdicts = [VERDICTS[0], {"prose_id": "doc/open"}, {}, 3, VERDICTS[1]]
    found = links(tmp_path, verdicts=verdicts)
    assert found["prose:doc/above"].status is Status.OK
    assert found["prose:?"].status is Status.UNREADABLE
    assert "twice" in found["prose:doc/open"].detail
    verdicts = [{"prose_id": "doc/above"}, VERDICTS[1]]
    assert broken(links(tmp_path, verdicts=verdicts)) == {"prose:doc/above": Status.UNREADABLE}


def test_an_edit_of_a_manifest_makes_what_was_there_stale_and_not_forged(tmp_path: Path) -> None:
    lines = LINES.replace(SENTENCE, "The first is far above the second.")
    found = links(tmp_path, lines=lines, made_with="before")
    assert broken(found) == {"prose:doc/above": Status.STALE_INPUT}
    forged = changed(VERDICTS, lambda v: v[0].update(paper="fails"))
    found = links(tmp_path, lines=lines, made_with="before", verdicts=forged)
    assert broken(found) == {"prose:doc/above": Status.RECOMPUTE_MISMATCH}


def test_a_manifest_that_does_not_validate_is_named(tmp_path: Path) -> None:
    found = links(tmp_path, lines="doc/above,doc\n")
    assert found["prose"].path == "manifests/prose_claims.csv"
    assert found["prose"].status is Status.UNREADABLE
