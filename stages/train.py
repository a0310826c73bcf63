"""Stage `train`: one row's network, trained on its fold's training split.

Deterministic for a seed, a thread count and a machine: the order of clips, their crops, flips and
the dropout masks are drawn from (seed, epoch) alone, so that a run resumed after a kill equals one
that was never stopped.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.clips import normalise
from pipeline.digests import write_json
from pipeline.errors import AbsentData, DataError
from pipeline.workspace import Workspace
from stages.rows import (
    Row,
    absent_reason,
    batches,
    build_network,
    how_to_get,
    open_index,
    start,
    start_from_imagenet,
    train_clips,
)
from tdn_model.contract import window_of
from tdn_model.engine import Step, train_step
from tdn_model.optim import Schedule, freeze_partial_bn, parameter_groups, set_rate, sgd

Params = dict[str, Any]
Progress = Callable[[int, int], None] | None


def run(
    work: Workspace,
    key: str,
    *,
    params: Params,
    identity: str = "",
    record_absent: bool = False,
    progress: Progress = None,
) -> None:
    """Write `runs/P/ROW/train/`: `weights.pt`, `history.json`, `outcome.json`.

    A checkpoint of the same `identity` (plan and frames) is taken up where it stopped. Raises
    AbsentData when the frames are not there; with `record_absent` that becomes a `not-run`
    outcome. DataError when the loss stops being finite or the training split is empty.
    """
    out = work.run(key) / "train"
    reason = absent_reason(work, params["data"])
    if reason:
        if not record_absent:
            raise AbsentData(f"cannot train {key}: {reason}", do=how_to_get(work, params["data"]))
        publish(out, {"status": "not-run", "reason": reason})
        return
    device = start(params)
    index = open_index(work, params)
    model = build_network(params, len(index.classes))
    if params["weights"] == "imagenet":
        start_from_imagenet(work, model, params["model"]["backbone"])
    row = train_clips(work, params, index, window_of(model))
    training = _prepare(params, row, model, device, progress)
    resume = work.run(key) / "resume" / "checkpoint.pt"
    training.restore(resume, identity)
    epochs = params["recipe"]["epochs"]
    for epoch in range(len(training.history), epochs):
        training.epoch(epoch)
        if epoch + 1 < epochs:
            training.save(resume, identity)
    weights = {name: value.cpu() for name, value in training.model.state_dict().items()}
    publish(out, {"status": "ok", "reason": ""}, training.history, weights)
    shutil.rmtree(resume.parent, ignore_errors=True)


def publish(
    out: Path,
    outcome: dict[str, str],
    history: list[dict[str, float]] | None = None,
    weights: dict[str, torch.Tensor] | None = None,
) -> None:
    """Make the stage's folder appear whole: written beside it, then renamed."""
    half = out.with_name(".tmp-train")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    if weights is not None:
        torch.save(weights, half / "weights.pt")
    write_json(half / "history.json", history or [])
    write_json(half / "outcome.json", outcome)
    shutil.rmtree(out, ignore_errors=True)
    half.rename(out)


@dataclass
class _Training:
    """Everything one training holds on to."""

    params: Params
    row: Row
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    batch: int
    device: torch.device
    progress: Progress
    history: list[dict[str, float]] = field(default_factory=list)

    def epoch(self, epoch: int) -> None:
        """One pass over the training split; the last short batch is dropped."""
        recipe = self.params["recipe"]
        torch.manual_seed(self.params["seed"] * 100_003 + epoch)  # dropout
        self.model.train()
        if recipe["partial_bn"]:
            freeze_partial_bn(self.model)
        loss, correct, rate = 0.0, 0, 0.0
        first = epoch * self.schedule.steps_per_epoch
        for step, (clips, labels) in enumerate(self._shuffled(epoch), start=first):
            rate = self.schedule.at(step)
            set_rate(self.optimizer, rate)
            done = self._step(step, clips, labels)
            loss += done.loss
            correct += done.correct
            if self.progress is not None:
                self.progress(step + 1, self.schedule.epochs * self.schedule.steps_per_epoch)
        count = self.schedule.steps_per_epoch
        top1_pct = round(100.0 * correct / (count * self.batch), 4)
        self.history.append(
            {"epoch": epoch, "loss": round(loss / count, 6), "top1_pct": top1_pct, "lr": rate}
        )

    def _step(self, step: int, clips: torch.Tensor, labels: torch.Tensor) -> Step:
        frames = normalise(clips.to(self.device, non_blocking=True))
        clip_norm = self.params["recipe"]["clip_norm"]
        try:
            return train_step(
                self.model, self.optimizer, frames, labels.to(self.device), clip_norm=clip_norm
            )
        except FloatingPointError as error:
            raise DataError(
                f"{self.params['row']}: {error} in step {step}",
                do="lower the learning rate of its recipe",
            ) from None

    def _shuffled(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Whole batches in an order drawn from (seed, epoch)."""
        generator = torch.Generator().manual_seed(self.params["seed"] * 1_000_003 + epoch)
        order = torch.randperm(len(self.row.dataset), generator=generator).tolist()
        groups = [
            order[i : i + self.batch] for i in range(0, len(order) - self.batch + 1, self.batch)
        ]
        self.row.dataset.set_epoch(epoch)
        workers = self.params["compute"]["loader_workers"]
        for item in batches(self.row.dataset, groups, workers):
            yield item.frames, item.target

    def save(self, path: Path, identity: str) -> None:
        """Leave what a killed training needs to go on, in one file outside the stage's outputs."""
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(".tmp-checkpoint.pt")
        state = {
            "identity": identity,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, half)
        half.replace(path)

    def restore(self, path: Path, identity: str) -> None:
        """Take up a checkpoint of the very same training, if there is one."""
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError):
            return  # torn by a full disk: train from the start
        if state["identity"] != identity:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = list(state["history"])


def _prepare(
    params: Params, row: Row, model: nn.Module, device: torch.device, progress: Progress
) -> _Training:
    """The optimiser and schedule of a row; DataError when there is nothing to train on."""
    recipe = params["recipe"]
    batch = min(recipe["batch"], len(row.dataset))
    if batch == 0:
        raise DataError(
            f"{params['row']}: no training videos",
            where=f"split {params['data']['train']} of {params['data']['name']}",
            do="look at the decode counts in the report",
        )
    schedule = Schedule(
        recipe["lr"],
        recipe["epochs"],
        len(row.dataset) // batch,
        recipe["decay"],
        tuple(recipe["milestones"]),
        warmup_epochs=recipe["warmup_epochs"],
    )
    model = model.to(device)
    groups = parameter_groups(model, recipe["group_rates"], recipe["weight_decay"])
    optimizer = sgd(groups, recipe["momentum"])
    return _Training(params, row, model, optimizer, schedule, batch, device, progress)
