"""Stage `cost`: parameters and multiply-adds of every row's network at the paper's size."""

from __future__ import annotations

from typing import Any

import torch

from pipeline.digests import sha256_json, write_json
from pipeline.workspace import Workspace
from tdn_model.build import build
from tdn_model.contract import window_of
from tdn_model.cost import measure


def run(work: Workspace, key: str, *, params: dict[str, Any]) -> None:
    """Write `reports/P/costs.json`: {row: {params, gmacs, input}}; needs no data and no weights."""
    seen: dict[str, dict[str, Any]] = {}
    costs = {}
    for row, spec in params["rows"].items():
        address = sha256_json(spec)
        if address not in seen:
            seen[address] = _measure(spec)
        costs[row] = seen[address]
    write_json(work.reports / "costs.json", costs)


def _measure(spec: dict[str, Any]) -> dict[str, Any]:
    with torch.device("meta"):
        model = build(
            spec["architecture"],
            backbone=spec["backbone"],
            num_classes=spec["num_classes"],
            num_segments=spec["segments"],
            **spec["options"],
        )
    size = (1, spec["segments"], window_of(model), 3, spec["side_px"], spec["side_px"])
    cost = measure(model, size)
    return {"params": cost.params, "gmacs": round(cost.gmacs, 3), "input": list(size)}
