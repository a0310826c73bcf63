"""Stage `predict`: logits of every view of every test video, under each of a row's protocols."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.clips import normalise
from pipeline.digests import read_json, write_json
from pipeline.errors import AbsentData
from pipeline.predictions import Prediction, write_predictions
from pipeline.workspace import Workspace
from stages.rows import Row, absent_reason, batches, build_row, open_row, pick_device
from tdn_model.engine import predict_step

Params = dict[str, Any]
Progress = Callable[[int, int], None] | None


def run(
    work: Workspace,
    key: str,
    *,
    params: Params,
    record_absent: bool = False,
    progress: Progress = None,
) -> None:
    """Write `runs/P/ROW/predict/`: one Parquet file per protocol and `outcome.json`.

    Videos that could not be decoded keep a row without logits. Raises AbsentData when the frames or
    the weights are not there; with `record_absent` that becomes a `not-run` outcome.
    """
    out = work.run(key) / "predict"
    reason = absent_reason(work, params["data"]["name"]) or _untrained(work, key)
    if reason and not record_absent:
        raise AbsentData(f"cannot predict {key}: {reason}", do=f"run `tdn train {key}` first")
    half = out.with_name(".tmp-predict")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    if reason:
        write_json(half / "outcome.json", {"status": "not-run", "reason": reason, "protocols": []})
    else:
        _predict(work, key, params, half, progress)
    shutil.rmtree(out, ignore_errors=True)
    half.rename(out)


def _untrained(work: Workspace, key: str) -> str:
    outcome = work.run(key) / "train" / "outcome.json"
    if not outcome.is_file():
        return "the row is not trained"
    reason: str = read_json(outcome)["reason"]
    return reason


def _predict(work: Workspace, key: str, params: Params, out: Path, progress: Progress) -> None:
    device = pick_device(params["compute"])
    state = torch.load(
        work.run(key) / "train" / "weights.pt", map_location=device, weights_only=True
    )
    model: nn.Module | None = None
    for name in params["protocols"]:
        row = open_row(work, params, train=False, protocol=name)
        if model is None:
            model = build_row(params, row.num_classes).to(device)
            model.load_state_dict(state)
            model.eval()
        found = _views(model, row, params, device, progress)
        write_predictions(out / f"{name}.parquet", params["row"], name, found)
    names = list(params["protocols"])
    write_json(out / "outcome.json", {"status": "ok", "reason": "", "protocols": names})


def _views(
    model: nn.Module, row: Row, params: Params, device: torch.device, progress: Progress
) -> list[Prediction]:
    """One prediction per view of every usable video, then one without logits per unusable one."""
    size = params["compute"]["eval_batch"]
    count = len(row.dataset)
    groups = [list(range(i, min(i + size, count))) for i in range(0, count, size)]
    found: list[Prediction] = []
    for item in batches(row.dataset, groups, params["compute"]["loader_workers"]):
        logits_BK = predict_step(model, normalise(item.frames.to(device))).cpu()
        for number, logits_K in enumerate(logits_BK):
            found.append(item.prediction(number, logits_K.tolist()))
        if progress is not None:
            progress(len(found), count)
    return found + row.unusable
