"""Stage `predict`: logits of every view of every test video, under each of a row's protocols."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import atomic_folder, read_json, write_json
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.scores.predictions import ViewLogits, write_predictions
from stages.row import (
    Row,
    absent_reason,
    batches,
    build_network,
    eval_clips,
    how_to_get,
    in_order,
    normaliser,
    open_index,
    precision,
    start,
)
from stages.row_start import WEIGHTS
from stages.tensor_files import load_tensors
from tdn_model.contract import window_of
from tdn_model.inference import inference_copy
from tdn_model.training import predict_step

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
    """Write `runs/P/ROW/predict/`: one Parquet file per protocol (and seed) and `outcome.json`.

    Videos that could not be decoded keep a row without logits. Raises AbsentData when the frames or
    the weights are not there; with `record_absent` that becomes a `not-run` outcome.
    """
    out = work.run(key) / "predict"
    absent = absent_reason(work, params["data"])
    reason = absent or _untrained(work, key)
    if reason and not record_absent:
        do = how_to_get(work, params["data"]) if absent else f"run `tdn train {key}` first"
        raise AbsentData(f"cannot predict {key}: {reason}", do=do)
    with atomic_folder(out) as folder:
        if reason:
            outcome = {"status": "not-run", "reason": reason, "protocols": []}
            write_json(folder / "outcome.json", outcome)
        else:
            _predict(work, key, params, folder, progress)


def _untrained(work: Workspace, key: str) -> str:
    outcome = work.run(key) / "train" / "outcome.json"
    if not outcome.is_file():
        return "the row is not trained"
    reason: str = read_json(outcome)["reason"]
    return reason


def _predict(work: Workspace, key: str, params: Params, out: Path, progress: Progress) -> None:
    device = start(params)
    index = open_index(work, params)
    for number in range(params["seeds"]):
        suffix = seed_suffix(number)
        weights = load_tensors(
            work.run(key) / "train" / WEIGHTS.replace(".pt", f"{suffix}.pt"),
            what=f"the weights of {key}",
            do=f"run `tdn train {key} --profile {work.profile}`",
        )
        for name, protocol in params["protocols"].items():
            # No network of a protocol with its own T has weights that depend on T.
            model = build_network(
                params,
                len(index.classes),
                seed=params["seed"],
                segments=protocol["segments"],
            )
            try:
                model.load_state_dict(weights)
            except RuntimeError:
                raise UsageError(
                    f"{key} was trained with another network than it has now",
                    where="manifests/",
                    do=f"run `tdn train {key}` again",
                ) from None
            model.to(device).eval()
            row = eval_clips(params, index, window_of(model), name)
            quick = inference_copy(model, dtype=precision(params))
            found = _views(_stream(quick, protocol, params), row, params, device, progress)
            write_predictions(out / f"{name}{suffix}.parquet", params["row"], name, found)
    names = list(params["protocols"])
    about = {"status": "ok", "reason": "", "protocols": names, "seeds": params["seeds"]}
    write_json(out / "outcome.json", about)


class _Stream(nn.Module):
    """One of a two-stream network's two answers."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, clips_BTFCHW: torch.Tensor) -> torch.Tensor:
        logits_BK: torch.Tensor = getattr(self.model.streams(clips_BTFCHW), self.name)  # type: ignore[operator]  # checked by _stream
        return logits_BK


def _stream(model: nn.Module, protocol: Params, params: Params) -> nn.Module:
    """The network, or the one stream of it that the protocol asks for."""
    if protocol["stream"] == "both":
        return model
    if not hasattr(model, "streams"):
        network = params["model"]["architecture"]
        raise UsageError(
            f"{params['row']}: {network} has no {protocol['stream']} stream",
            where="manifests/protocols.yaml",
            do="choose a protocol with stream: both",
        )
    return _Stream(model, protocol["stream"])


def _views(
    model: nn.Module, row: Row, params: Params, device: torch.device, progress: Progress
) -> list[ViewLogits]:
    """One entry per view of every usable video, then one without logits per unusable one."""
    compute, to_input = params["compute"], normaliser(params)
    size = max(1, compute["eval_batch"] // row.views)
    count = len(row.dataset)
    pinned = device.type == "cuda"
    loader = batches(row.dataset, in_order(count, size), compute["loader_workers"], pinned=pinned)
    found: list[ViewLogits] = []
    for done, batch in enumerate(loader, start=1):
        clips = to_input(batch.frames.to(device, non_blocking=True))
        # Autocast, for networks whose own stem does not take float32 clips to rounded weights.
        logits_BK = predict_step(model, clips, precision=precision(params)).cpu().numpy()
        views = zip(batch.video_ids, batch.labels, batch.clips, batch.crops, logits_BK, strict=True)
        found += [ViewLogits(*view) for view in views]
        if progress is not None:
            progress(min(done * size, count), count)
    failed = [ViewLogits(v.video_id, tuple(v.labels), status=v.status) for v in row.unusable]
    return found + failed
