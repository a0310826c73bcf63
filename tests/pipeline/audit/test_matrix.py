"""Every way of tampering in `matrix.yaml` is found, named, and gone when the file is put back."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.audit.links import Link
from pipeline.core.files import read_json, write_json
from pipeline.scores import predictions
from stages.commands import audit_results as audit
from tests.pipeline.audit.project import Project

pytestmark = pytest.mark.slow
ROWS = ("tsn_r50_8f_ssv1", "tconv_r50_8f_ssv1")
ROW = ROWS[0]
CASES: list[dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("matrix.yaml").read_text("utf-8")
)


def broken(project: Project, level: int) -> list[Link]:
    return audit.run(project.work, level=level, seed=0, cached=level > 1).broken


def name_of(case: dict[str, Any]) -> str:
    return f"{case['item']}-{case.get('call', case['do'])}-{case['status']}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_tampering_is_found_and_named(
    copy: Project, pristine: Project, case: dict[str, Any]
) -> None:
    try:
        path = tamper(copy, case)
        if "clean_at" in case:
            assert broken(copy, case["clean_at"]) == [], "a forgery that this level cannot see"
        found = broken(copy, case["level"])
    finally:
        copy.restore(pristine)
    named = case.get("names", path)
    fitting = [f for f in found if f.status == case["status"] and f.path.startswith(named)]
    assert fitting, [(str(link.status), link.path, link.detail) for link in found]
    assert all(link.level <= case["level"] for link in fitting)
    assert all(link.detail and link.source for link in fitting)
    assert broken(copy, case["level"]) == []


def tamper(project: Project, case: dict[str, Any]) -> str:
    """Do what a case says; returns the relative path that it touched."""
    if case["do"] == "call":
        globals()[case["call"]](project)
        return ""
    if case["do"] == "add":
        path = project.root / case["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"stray")
        return str(case["path"])
    path = project.one(case["path"])
    if case["do"] == "flip":
        flip(path, case.get("at"))
    elif case["do"] == "delete":
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif case["do"] == "swap":
        swap(*sorted(p for p in project.root.glob(case["path"]) if "observed" not in p.name)[:2])
    elif case["do"] == "garble":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        stage, _, key = case["record"].partition("/")
        project.reseal(stage, key)
    else:
        assert case["do"] == "edit"
        project.checkout.edit(project.work.relative(path), case["find"], case["put"])
    return project.work.relative(path)


def flip(path: Path, at: str | None) -> None:
    """Change one byte in place; size and times stay."""
    about, data = path.stat(), bytearray(path.read_bytes())
    place = len(data) // 2 if at is None else data.index(at.encode()) + len(at)
    # A digit stays a digit, so that what is parsed is still parsed.
    data[place] = data[place] ^ (1 if data[place : place + 1].isdigit() else 0x55)
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_size == about.st_size


def swap(first: Path, second: Path) -> None:
    one, other = first.read_bytes(), second.read_bytes()
    assert one != other
    first.write_bytes(other)
    second.write_bytes(one)


def raise_top1(project: Project) -> None:
    for row in ROWS:
        path = project.work.metrics(row)
        metrics = read_json(path)
        metrics["protocols"]["center_1x1"]["top1_pct"] = 99.0
        write_json(path, metrics)


def commit_a_forged_metric(project: Project) -> None:
    raise_top1(project)
    done = project.checkout.run("commit", "--force", "--quiet", module="dvc")
    assert done.returncode == 0, done.stderr
    assert project.checkout.run("status", module="dvc").stdout.count("changed") == 0


def forge_metric(project: Project) -> None:
    raise_top1(project)
    for row in ROWS:
        project.reseal("score", row)
    project.make_report()
    project.relock()


def forge_predictions(project: Project) -> None:
    found = predictions.read(project.work.run(ROW) / "predict" / "center_1x1.parquet")
    logits = found.logits.copy()
    for row, labels in enumerate(found.labels):
        logits[row, labels[0]] = np.abs(logits[row]).max() + 1
    _forge_predictions(project, logits=logits)


def relabel_predictions(project: Project) -> None:
    """Videos said to be of the class that the network answers."""
    found = predictions.read(project.work.run(ROW) / "predict" / "center_1x1.parquet")
    answers = tuple((int(label),) for label in found.logits.argmax(axis=1))
    assert answers != found.labels
    _forge_predictions(project, labels=answers)


def _forge_predictions(project: Project, **fields: Any) -> None:
    """Replace fields of a row's predictions; everything that follows is made again and fits."""
    path = project.work.run(ROW) / "predict" / "center_1x1.parquet"
    found = predictions.read(path)
    predictions.write(path, predictions.Predictions(**{**found.__dict__, **fields}))
    project.reseal("predict", ROW)
    project.run("score", ROW)
    project.make_report()
    project.relock()


def measure_over_100_percent(project: Project) -> None:
    path = project.work.reports / "tables" / "cells.json"
    value = read_json(path)
    cell = next(c for c in value["cells"].values() if c["measured"] and c["unit"] == "percent")
    cell["measured"] = 104.0
    write_json(path, value)
    for stage in ("tables", "figures", "report"):
        project.reseal(stage, "all")
    project.relock()


def forge_table(project: Project) -> None:
    project.checkout.edit("reports/mini/tables/tdn-iclr2021/1d.md", "smoke", "verified")
    for stage in ("tables", "figures", "report"):
        project.reseal(stage, "all")
    project.relock()


def reseal_other_parameters(project: Project) -> None:
    project.reseal("train", ROW, seed=7)


def rebind_a_video(project: Project) -> None:
    """A video said to come from another source, in a store whose record fits."""
    path = project.work.frames("ssv1") / "index.parquet"
    table = pq.read_table(path)
    digests = table["source_sha256"].to_pylist()
    digests[0] = digests[1]
    place = table.schema.get_field_index("source_sha256")
    pq.write_table(table.set_column(place, "source_sha256", pa.array(digests)), path)
    project.reseal("decode", "ssv1")


def verify_a_smoke_cell(project: Project) -> None:
    path = project.work.reports / "tables" / "cells.json"
    value = read_json(path)
    cell = next(c for c in value["cells"].values() if c["status"] == "smoke")
    cell["status"] = "verified"
    write_json(path, value)
    project.reseal("tables", "all")


def turn_a_verdict(project: Project) -> None:
    """A sentence that its own text contradicts, said to hold; the records fit."""
    _forge(project, "tables/prose.json", "verdicts", lambda v: v["paper"] == "fails", paper="holds")


def turn_our_verdict(project: Project) -> None:
    def counted(verdict: dict[str, Any]) -> bool:
        return verdict["ours"] == "holds" and verdict["draws_pct"] is None

    _forge(project, "tables/prose.json", "verdicts", counted, ours="fails")


def name_another_cell(project: Project) -> None:
    """A verdict that names a cell which its rule does not read."""
    other = ["tdn-iclr2021/1d/tsn/top1"]
    _forge(project, "tables/prose.json", "verdicts", lambda v: bool(v["cells"]), cells=other)


def turn_a_rule(project: Project) -> None:
    """A rule turned round, and the verdict that follows from it then."""
    path = project.work.reports / "tables" / "prose.json"
    plain = re.compile(r"'[^']+' > '[^']+'")
    found = next(
        verdict
        for verdict in read_json(path)["verdicts"]
        if plain.fullmatch(verdict["rule"]) and verdict["paper"] == "holds"
    )
    rule, name = found["rule"].replace(">", "<"), found["prose_id"]
    _forge(
        project, "tables/prose.json", "verdicts", lambda v: v["prose_id"] == name,
        rule=rule, paper="fails",
    )  # fmt: skip


def reword_a_sentence(project: Project) -> None:
    words = "Something that no text says."
    _forge(project, "tables/prose.json", "verdicts", lambda v: bool(v["rule"]), sentence=words)


def empty_a_verdict(project: Project) -> None:
    """A sentence without its rules, and so undecided."""
    said: dict[str, Any] = {"rule": "", "paper": "undecided", "cells": []}
    said |= {"ours_rule": "", "ours": "undecided", "ours_cells": [], "draws_pct": None}
    _forge(project, "tables/prose.json", "verdicts", lambda v: bool(v["rule"]), **said)


def drop_a_verdict(project: Project) -> None:
    _forge(project, "tables/prose.json", "verdicts", lambda v: bool(v["rule"]), drop=True)


def name_another_row(project: Project) -> None:
    """A figure said to be drawn from a row that no run is behind."""
    rows = ["tdn_r50_8f_ssv1"]
    _forge(project, "figures/figures.json", "figures", lambda f: bool(f["rows"]), rows=rows)


def name_a_row_of_another_figure(project: Project) -> None:
    path = project.work.reports / "figures" / "figures.json"
    drawn = {row for figure in read_json(path)["figures"] for row in figure["rows"]}
    assert ROWS[1] in drawn
    _forge(
        project, "figures/figures.json", "figures", lambda f: f["key"] == "gains_ssv1",
        rows=[ROWS[1]],
    )  # fmt: skip


def name_a_cell_of_another_table(project: Project) -> None:
    _forge(
        project, "figures/figures.json", "figures", lambda f: f["key"] == "cost_ssv1",
        cells=["tdn-iclr2021/1d/tsn/top1"],
    )  # fmt: skip


def drop_a_figure(project: Project) -> None:
    _forge(
        project, "figures/figures.json", "figures", lambda f: f["key"] == "gains_ssv1", drop=True
    )


def _forge(
    project: Project,
    name: str,
    among: str,
    fits: Callable[[dict[str, Any]], bool],
    *,
    drop: bool = False,
    **said: Any,
) -> None:
    """Change (or drop) the first entry that `fits`, and make every record and the lock fit."""
    path = project.work.reports / name
    value = read_json(path)
    entry = next(entry for entry in value[among] if fits(entry))
    entry.update(said)
    if drop:
        value[among].remove(entry)
    write_json(path, value)
    for stage in ("tables", "figures", "report"):
        project.reseal(stage, "all")
    project.relock()


def swap_in_the_lock(project: Project) -> None:
    path = project.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text("utf-8"))
    stage = lock["stages"][f"train@{ROW}"]
    stage["outs"][0]["size"] += 1
    path.write_text(yaml.safe_dump(lock, sort_keys=False), "utf-8")


def run_uncommitted_code(project: Project) -> None:
    project.checkout.edit(
        "pipeline/reporting/templates/report.css", "scroll-padding-top: 1rem", "margin: 0"
    )
    for command in (["plan"], ["report"]):  # by that code itself
        done = project.checkout.run(*command)
        assert done.returncode == 0, done.stderr
    project.relock()


def test_the_matrix_names_what_it_must() -> None:
    """Every kind of file and every level up to replay is in the list."""
    text = " ".join(case["item"] for case in CASES)
    for item in (
        "source video",
        "shard",
        "index",
        "weights",
        "predictions",
        "metrics",
        "record",
        "table",
        "verdict",
        "figure",
        "claims",
        "manifest",
        "code",
        "stale row",
        "orphan",
        "dirty code tree",
        "mixed environments",
    ):
        assert re.search(rf"\b{item}", text), item
    assert {case["level"] for case in CASES} == {0, 1, 2, 3}
