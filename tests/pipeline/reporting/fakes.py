"""A small project folder with predictions made of dice: two claims tables, four rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.schema.plan_models import ReportPlan, ScorePlan, TablesPlan
from pipeline.scores import predictions
from pipeline.scores.predictions import ViewLogits
from stages import report, score, tables

CLASSES = 6
VIDEOS = 300
HEADER = "claim_id,document,table,row,column,value,unit,note\n"
ROWS = ("net_full", "net_none", "net_mid", "net_never")


def claim(address: str, value: str, unit: str, note: str = "") -> str:
    """A line of claims.csv."""
    document, table, row, column = address.split("/")
    return f"{address},{document},{table},{row},{column},{value},{unit},{note}\n"


CONFLICT = "claim-conflict doc/1/full/top1: 51.3 there"
CLAIMS = "".join(
    [
        claim("doc/1/none/flops", "33", "gflops"),
        claim("doc/1/none/top1", "45.2", "percent"),
        claim("doc/1/mid/flops", "35", "gflops"),
        claim("doc/1/mid/top1", "49.5", "percent"),
        claim("doc/1/full/flops", "36", "gflops"),
        claim("doc/1/full/top1", "51.3", "percent"),
        claim("doc/1/never/top1", "50.0", "percent"),
        claim("doc/1/theirs/top1", "48.9", "percent"),
        claim("doc/2/full/top1", "52.3", "percent", CONFLICT),
    ]
)


PROSE = """prose_id,document,place,kind,sentence,rule,ours,note
doc/better,doc,page 1,ordering,The full network is better than none.,"'1/full/top1' > '1/none/top1'","'1/full/top1' > '1/none/top1'",
doc/wrong,doc,page 1,number,It is better by nine points.,"near('1/full/top1' - '1/none/top1', 9)",,it is 6.1
doc/close,doc,page 1,ordering,The middle one beats none at all.,,'1/mid/top1' > '1/none/top1' + 4.5,
doc/set,doc,page 2,setting,We train for nine epochs.,,,
"""  # noqa: E501


def column(label: str, unit: str, measure: Mapping[str, str], **tolerance: float) -> dict[str, Any]:
    return {
        "label": label,
        "unit": unit,
        "decimals": 2,
        "measure": dict(measure),
        "tolerance": tolerance,
    }


TOP1 = column(
    "Top1", "percent", {"kind": "metric", "name": "top1_pct", "protocol": "center"}, points=1.0
)
FLOPS = column("FLOPs", "gflops", {"kind": "cost", "name": "gmacs"}, relative_pct=2.0)
LAYOUTS: tuple[dict[str, Any], ...] = (
    {
        "document": "doc",
        "table": "1",
        "caption": "Study of F⊙H & co.",
        "place": "page 1",
        "note": "A note.",
        "label_title": "net",
        "settings": {"ticked": "Ticked", "also": "Also"},
        "columns": {"top1": TOP1, "flops": FLOPS},
        "ordering": ["top1"],
        "rows": {
            "none": {"label": "none_at_all", "run": "net_none"},
            "mid": {"label": "F⊙H", "settings": {"ticked": "✓"}, "run": "net_mid"},
            "full": {"label": "F⊙H", "settings": {"also": "✓"}, "run": "net_full"},
            "never": {"label": "never", "run": "net_never"},
            "theirs": {"label": "theirs <b>", "run": "net_unknown"},
            "blank": {"label": "blank"},
        },
    },
    {
        "document": "doc",
        "table": "2",
        "caption": "Conflict",
        "place": "page 2",
        "columns": {"top1": TOP1},
        "ordering": [],
        "rows": {"full": {"label": "full", "run": "net_full"}},
    },
)


def make(root: Path, profile: str = "mini") -> Workspace:
    """Manifests only: nothing was run."""
    work = Workspace(root, profile)
    (work.manifests / "tables").mkdir(parents=True)
    (work.manifests / "claims.csv").write_text(HEADER + CLAIMS, encoding="utf-8")
    document = {"title": "A paper", "about": "Someone, somewhere"}
    (work.manifests / "documents.yaml").write_text(
        yaml.safe_dump({"documents": {"doc": document}}), encoding="utf-8"
    )
    (work.manifests / "prose_claims.csv").write_text(PROSE, encoding="utf-8")
    for layout in LAYOUTS:
        path = work.manifests / "tables" / f"{layout['document']}_{layout['table']}.yaml"
        path.write_text(yaml.safe_dump(layout, allow_unicode=True, sort_keys=False), "utf-8")
    return work


def predict(
    work: Workspace,
    row: str,
    accuracy: float,
    *,
    failed: int = 0,
    partial: int = 0,
    start: int = 0,
    number: int = 0,
) -> None:
    """Predictions of a row that is right on about `accuracy` of the videos; rows are correlated.
    The first `failed` have none, the last `partial` were decoded in part; `number` is the training.
    """
    shared = np.random.default_rng(7).normal(size=VIDEOS)
    own = np.random.default_rng(sum(row.encode()) + number).normal(size=(VIDEOS, CLASSES + 1))
    hardness = shared + 0.3 * own[:, CLASSES]
    right = hardness <= np.quantile(hardness, accuracy)
    found = []
    for index in range(VIDEOS):
        label = index % CLASSES
        logits = own[index, :CLASSES].copy()
        logits[label] = logits.max() + 1 if right[index] else logits.min() - 1
        video_id = f"video{start + index:04d}"
        if index < failed:
            found.append(ViewLogits(video_id, (label,), status="corrupt"))
        else:
            status = "partial" if index >= VIDEOS - partial else "ok"
            found.append(ViewLogits(video_id, (label,), 0, 0, logits.astype(np.float32), status))
    folder = work.run(row) / "predict"
    path = folder / f"center{seed_suffix(number)}.parquet"
    predictions.write(path, predictions.collect(row, "center", found))
    write_json(folder / "outcome.json", {"status": "ok", "reason": "", "protocols": ["center"]})


def refuse(work: Workspace, row: str, reason: str) -> None:
    """A row whose data are absent."""
    outcome = {"status": "not-run", "reason": reason, "protocols": []}
    write_json(work.run(row) / "predict" / "outcome.json", outcome)


def score_row(work: Workspace, row: str, *, smoke: bool = True, seeds: int = 1) -> dict[str, Any]:
    params: dict[str, Any] = {
        "row": row,
        "profile": work.profile,
        "smoke": smoke,
        "dataset": "toy",
        "fold": "default",
        "metric": "top1",
        "seed": 0,
        "seeds": seeds,
        "identity": row.ljust(64, "0"),
        "protocols": {"center": "mean_logits"},
    }
    score.run(work, row, ScorePlan.model_validate(params))
    return params


def cost(work: Workspace) -> None:
    costs = {"net_none": 32.75, "net_mid": 36.9, "net_full": 35.64, "net_never": 35.0}
    write_json(
        work.reports / "costs.json",
        {row: {"params": 10, "gmacs": g, "input": [1]} for row, g in costs.items()},
    )


def make_tables(work: Workspace, rows: Sequence[str] = ROWS, *, smoke: bool = True) -> None:
    params = {"profile": work.profile, "smoke": smoke, "rows": list(rows)}
    tables.run(work, "all", TablesPlan.model_validate(params))


def make_report(work: Workspace, rows: Sequence[str] = ROWS, *, smoke: bool = True) -> str:
    miniature = {"order_blind_bound_pct": 50.0, "order_blind_reason": "Pairs."} if smoke else None
    about: dict[str, Any] = {"title": "Toys"} | ({"miniature": miniature} if miniature else {})
    params = {
        "profile": work.profile,
        "title": "a small project",
        "smoke": smoke,
        "datasets": {"toy": about},
        "rows": {r: {"dataset": "toy", "fold": "default", "architecture": "net"} for r in rows},
    }
    report.run(work, "all", ReportPlan.model_validate(params))
    return (work.reports / "index.html").read_text(encoding="utf-8")


def make_figures(work: Workspace) -> None:
    """Two entries of figures.json and their files: one drawn, one not."""
    drawn = {
        "key": "order_one",
        "kind": "ordering",
        "title": "Order",
        "caption": "3 things. Tau 0.50 (95 % interval 0.10 to 0.90). rows net_full, net_unscored.",
        "found": "Tau 0.50 (95 % interval 0.10 to 0.90).",
        "rows": ["net_full", "net_unscored"],
        "cells": ["doc/1/full/top1", "doc/1/theirs/top1"],
        "alt": "A chart",
        "state": "drawn",
        "reason": "",
        "numbers": {},
        "files": {"png": "order_one.png", "svg": "order_one.svg"},
    }
    why = {"state": "not-run", "reason": "no rows", "found": "", "rows": [], "cells": []}
    lost = {**drawn, **why, "key": "lost", "files": {}}
    folder = work.reports / "figures"
    write_json(folder / "figures.json", {"figures": [drawn, lost]})
    for name in ("order_one.png", "order_one.svg"):
        (folder / name).write_bytes(b"picture")


def full(root: Path, *, smoke: bool = True) -> Workspace:
    """Three rows scored, one refused, costs counted."""
    work = make(root)
    for row, accuracy in (("net_none", 0.45), ("net_mid", 0.495), ("net_full", 0.63)):
        predict(work, row, accuracy)
        score_row(work, row, smoke=smoke)
    refuse(work, "net_never", "data set toy is not on this machine")
    score_row(work, "net_never", smoke=smoke)
    cost(work)
    return work
