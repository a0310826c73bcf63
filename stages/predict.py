"""Stage `predict`: logits of every view of every test video, under each of a row's protocols."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import atomic_folder, read_json, write_json
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.schema.plan_models import PredictPlan
from pipeline.schema.profiles import Loader
from pipeline.schema.protocols import EvalViews
from pipeline.scores.predictions import ViewLogits, write_predictions
from stages.rows.device import precision, set_up_device
from stages.rows.row_clips import (
    RowClips,
    absent_data,
    advice,
    batches,
    eval_clips,
    in_order,
    normaliser,
    open_index,
)
from stages.rows.row_network import build_network, weights_file
from stages.rows.tensor_files import load_tensors
from tdn_model.inference import inference_copy
from tdn_model.training import predict_step

Progress = Callable[[int, int], None] | None


def run(
    work: Workspace,
    key: str,
    plan: PredictPlan,
    *,
    loader: Loader = Loader(),
    record_absent: bool = False,
    progress: Progress = None,
) -> None:
    """Write `runs/P/ROW/predict/`: one Parquet file per protocol (and seed) and `outcome.json`.

    Videos that could not be decoded keep a row without logits. Raises AbsentData when the frames or
    the weights are not there; with `record_absent` that becomes a `not-run` outcome.
    """
    out = work.run(key) / "predict"
    no_data = absent_data(work, plan.data)
    reason = no_data or _untrained(work, key)
    if reason and not record_absent:
        do = advice(work, plan.data) if no_data else f"run `tdn train {key}` first"
        raise AbsentData(f"cannot predict {key}: {reason}", do=do)
    with atomic_folder(out) as folder:
        if reason:
            outcome = {"status": "not-run", "reason": reason, "protocols": []}
            write_json(folder / "outcome.json", outcome)
        else:
            _predict(work, key, plan, folder, loader.workers, progress)


def _untrained(work: Workspace, key: str) -> str:
    outcome = work.run(key) / "train" / "outcome.json"
    if not outcome.is_file():
        return "the row is not trained"
    reason: str = read_json(outcome)["reason"]
    return reason


def _predict(
    work: Workspace, key: str, plan: PredictPlan, out: Path, loader_workers: int, progress: Progress
) -> None:
    device = set_up_device(plan.compute)
    index = open_index(work, plan.data)
    for number in range(plan.seeds):
        suffix = seed_suffix(number)
        weights = load_tensors(
            work.run(key) / "train" / weights_file(number),
            what=f"the weights of {key}",
            do=f"run `tdn train {key} --profile {work.profile}`",
        )
        for name, protocol in plan.protocols.items():
            # No network of a protocol with its own T has weights that depend on T.
            model = build_network(
                plan.row,
                plan.network,
                len(index.classes),
                seed=plan.seed,
                segments=protocol.segments,
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
            clips = eval_clips(plan, index, model.window, name)
            folded = inference_copy(model, dtype=precision(plan.compute))
            network = _stream(folded, protocol, plan)
            views = _views(network, clips, plan, device, loader_workers, progress)
            write_predictions(out / f"{name}{suffix}.parquet", plan.row, name, views)
    outcome = {"status": "ok", "reason": "", "protocols": list(plan.protocols), "seeds": plan.seeds}
    write_json(out / "outcome.json", outcome)


class _Stream(nn.Module):
    """One of a two-stream network's two answers."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, clips_BTFCHW: torch.Tensor) -> torch.Tensor:
        logits_BK: torch.Tensor = getattr(self.model.streams(clips_BTFCHW), self.name)  # type: ignore[operator]  # checked by _stream
        return logits_BK


def _stream(model: nn.Module, protocol: EvalViews, plan: PredictPlan) -> nn.Module:
    """The network, or the one stream of it that the protocol asks for."""
    if protocol.stream == "both":
        return model
    if not hasattr(model, "streams"):
        raise UsageError(
            f"{plan.row}: {plan.network.architecture} has no {protocol.stream} stream",
            where="manifests/protocols.yaml",
            do="choose a protocol with stream: both",
        )
    return _Stream(model, protocol.stream)


def _views(
    model: nn.Module,
    row: RowClips,
    plan: PredictPlan,
    device: torch.device,
    loader_workers: int,
    progress: Progress,
) -> list[ViewLogits]:
    """One entry per view of every usable video, then one without logits per unusable one."""
    to_input = normaliser(plan.data)
    size = max(1, plan.compute.eval_batch // row.crops)
    count = len(row.dataset)
    pinned = device.type == "cuda"
    loader = batches(row.dataset, in_order(count, size), loader_workers, pinned=pinned)
    partial = {video.video_id for video in row.dataset.videos if video.status == "partial"}
    found: list[ViewLogits] = []
    for done, batch in enumerate(loader, start=1):
        clips = to_input(batch.frames.to(device, non_blocking=True))
        # Autocast, for networks whose own stem does not take float32 clips to rounded weights.
        logits_BK = predict_step(model, clips, precision=precision(plan.compute)).cpu().numpy()
        views = zip(batch.video_ids, batch.labels, batch.clips, batch.crops, logits_BK, strict=True)
        found += [
            ViewLogits(*view, status="partial" if view[0] in partial else "ok") for view in views
        ]
        if progress is not None:
            progress(min(done * size, count), count)
    failed = [ViewLogits(v.video_id, tuple(v.labels), status=v.status) for v in row.unusable]
    return found + failed
