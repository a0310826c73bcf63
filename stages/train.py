"""Stage `train`: one row's network, trained on its fold's training split.

Deterministic for a seed, a thread count and a machine: the order of clips, their crops, flips and
the dropout masks are drawn from (seed, epoch) alone, so that a run resumed after a kill equals one
that was never stopped.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from pipeline.clips.clip_dataset import Batch, ClipDataset
from pipeline.core.errors import AbsentData, DataError, UsageError
from pipeline.core.files import atomic_folder, publish, write_atomic, write_json
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.schema.plan_models import TrainPlan
from pipeline.schema.profiles import Loader
from stages.device import precision, set_up_device
from stages.row_clips import (
    Position,
    RowClips,
    absent_data,
    advice,
    batches,
    in_order,
    normaliser,
    open_index,
    train_clips,
    validation_clips,
)
from stages.row_network import absent_start, build_network, load_start, weights_file
from stages.tensor_files import UNREADABLE, save_tensors
from tdn_model.contract import ClipNetwork
from tdn_model.optim import Schedule, freeze_partial_bn, parameter_groups, set_rate, sgd
from tdn_model.training import Step, predict_step, train_step

Progress = Callable[[int, int], None] | None

PATIENCE = 3
"""Epochs without a new best after which the rate is divided by ten (decay: plateau)."""


def run(
    work: Workspace,
    key: str,
    plan: TrainPlan,
    *,
    loader: Loader = Loader(),
    identity: str = "",
    record_absent: bool = False,
    progress: Progress = None,
) -> None:
    """Write `runs/P/ROW/train/`: `weights.pt`, `history.json`, `outcome.json`.

    With more than one seed there are `weights.seed1.pt`, `history.seed1.json` … beside them. A
    checkpoint of the same `identity` (plan, start and frames) is taken up where it stopped. Raises
    AbsentData when the frames or the initial weights are not there; with `record_absent` that
    becomes a `not-run` outcome. DataError when the loss stops being finite or the training split is
    empty.
    """
    out = work.run(key) / "train"
    no_data = absent_data(work, plan.data)
    reason = no_data or absent_start(work, plan)
    if reason and not record_absent:
        source = plan.start.source
        command = "train" if plan.start.kind == "row" else "pretrain"
        first = f"run `tdn {command} {source} --profile {work.profile}`"
        do = advice(work, plan.data) if no_data else first
        raise AbsentData(f"cannot train {key}: {reason}", do=do)
    outcome = {"status": "not-run" if reason else "ok", "reason": reason}
    if reason:  # a checkpoint stays, for when the data are back
        with atomic_folder(out) as folder:
            write_json(folder / "history.json", [])
            write_json(folder / "outcome.json", outcome)
        return
    resume = work.run(key) / "resume"
    for number in range(plan.seeds):
        _train_seed(work, plan, loader, number, resume, identity, progress)
    write_json(resume / "done" / "outcome.json", outcome)
    publish(resume / "done", out)
    (out / "identity").unlink(missing_ok=True)  # last: until then a killed run finds it all done
    shutil.rmtree(resume, ignore_errors=True)


def _train_seed(
    work: Workspace,
    plan: TrainPlan,
    loader: Loader,
    number: int,
    resume: Path,
    identity: str,
    progress: Progress,
) -> None:
    """One training from the row's seed plus `number`; its results are left in `resume/done`."""
    folder, suffix = resume / "done", seed_suffix(number)
    for left in [*resume.glob(".tmp-*"), *folder.glob(".tmp-*")]:  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    identity_file = folder / "identity"
    if folder.is_dir() and (
        not identity_file.is_file() or identity_file.read_text("utf-8") != identity
    ):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(identity_file, identity.encode())
    if (folder / f"history{suffix}.json").is_file():
        return
    seed = plan.seed + number
    device = set_up_device(plan.compute)
    index = open_index(work, plan.data)
    model = build_network(
        plan.row, plan.network, len(index.classes), seed=seed, dropout=plan.recipe.dropout
    )
    load_start(work, plan, model, number)
    clips = train_clips(plan, index, model.window, seed, cache_mb=loader.cache_mb)
    training = _prepare(plan, clips, model, device, loader.workers, progress, seed)
    checkpoint = resume / "checkpoint.pt"
    training.restore(checkpoint, f"{identity} {seed}")
    epochs = training.schedule.epochs
    stream = training.stream(len(training.history))
    for epoch in range(len(training.history), epochs):
        training.epoch(epoch, stream)
        if plan.recipe.decay == "plateau":
            training.validate(validation_clips(plan, index, model.window).dataset)
        if epoch + 1 < epochs:
            training.save(checkpoint, f"{identity} {seed}")
    weights = {name: value.cpu() for name, value in training.model.state_dict().items()}
    save_tensors(folder / weights_file(number), weights)
    write_json(folder / f"history{suffix}.json", training.history)


@dataclass
class _Training:
    """Everything one training holds on to."""

    plan: TrainPlan
    clips: RowClips
    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    batch: int
    device: torch.device
    loader_workers: int
    progress: Progress
    seed: int
    history: list[dict[str, float]] = field(default_factory=list)

    def epoch(self, epoch: int, stream: Iterator[Batch]) -> None:
        """One pass over the training split: the next batches of `stream`."""
        recipe = self.plan.recipe
        torch.manual_seed(self.seed * 100_003 + epoch)  # dropout
        if recipe.phase1_epochs:
            share = epoch / self.schedule.epochs
            frozen = share < recipe.phase1_epochs / recipe.epochs
            self.model.set_phase(1 if frozen else 2)  # type: ignore[operator]  # see _prepare
        self.model.train()
        if recipe.partial_bn:
            freeze_partial_bn(self.model)
        loss, correct, rate = 0.0, 0, 0.0
        first = epoch * self.schedule.steps_per_epoch
        for step, item in enumerate(islice(stream, self.schedule.steps_per_epoch), start=first):
            rate = self.schedule.at(step) * 0.1 ** saturated(self.history)
            set_rate(self.optimizer, rate)
            done = self._step(step, item)
            loss += done.loss
            correct += done.correct
            if self.progress is not None:
                self.progress(step + 1, self.schedule.epochs * self.schedule.steps_per_epoch)
        count = self.schedule.steps_per_epoch
        top1_pct = round(100.0 * correct / (count * self.batch), 4)
        self.history.append(
            {"epoch": epoch, "loss": round(loss / count, 6), "top1_pct": top1_pct, "lr": rate}
        )

    def validate(self, dataset: ClipDataset) -> None:
        """Accuracy on the validation split after the last epoch; what a plateau is seen by."""
        self.model.eval()
        size = self.plan.recipe.batch
        count = len(dataset)
        right = 0
        for item in self._batches(dataset, in_order(count, size)):
            frames = normaliser(self.plan.data)(item.frames.to(self.device, non_blocking=True))
            logits_BK = predict_step(self.model, frames, precision=precision(self.plan.compute))
            best = logits_BK.argmax(dim=1).tolist()
            right += sum(b in labels for b, labels in zip(best, item.labels, strict=True))
        self.history[-1]["validation_top1_pct"] = round(100.0 * right / max(1, count), 4)

    def _step(self, step: int, item: Batch) -> Step:
        frames = normaliser(self.plan.data)(item.frames.to(self.device, non_blocking=True))
        try:
            return train_step(
                self.model,
                self.optimizer,
                frames,
                item.target.to(self.device, non_blocking=True),
                clip_norm=self.plan.recipe.clip_norm,
                precision=precision(self.plan.compute),
            )
        except FloatingPointError as error:
            raise DataError(
                f"{self.plan.row}: {error} in step {step}",
                do="lower the learning rate of its recipe",
            ) from None

    def stream(self, first: int) -> Iterator[Batch]:
        """The batches of all epochs from `first` on, one after another."""
        epochs = range(first, self.schedule.epochs)
        return self._batches(self.clips.dataset, (g for e in epochs for g in self._shuffled(e)))

    def _shuffled(self, epoch: int) -> list[list[Position]]:
        """Whole batches in an order drawn from (seed, epoch); the last short one is dropped."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        count = len(self.clips.dataset)
        order = [(epoch, n) for n in torch.randperm(count, generator=generator).tolist()]
        return [order[i : i + self.batch] for i in range(0, count - self.batch + 1, self.batch)]

    def _batches(self, dataset: ClipDataset, groups: Iterable[list[Position]]) -> Iterator[Batch]:
        pinned = self.device.type == "cuda"
        return batches(dataset, groups, self.loader_workers, pinned=pinned)

    def save(self, path: Path, identity: str) -> None:
        """Leave what a killed training needs to go on, in one file outside the stage's outputs."""
        state = {
            "identity": identity,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_tensors(path, state)

    def restore(self, path: Path, identity: str) -> None:
        """Take up a checkpoint of the very same training, if there is one."""
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except UNREADABLE:
            return  # damaged: train from the start
        if state["identity"] != identity:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = list(state["history"])


def saturated(history: list[dict[str, float]]) -> int:
    """How often the validation accuracy has stopped rising: no new best in PATIENCE epochs.

    The papers divide the rate by ten "when the performance on validation set saturates" and give
    no number of epochs (Wang et al. 2021, section 4.1).
    """
    best, waited, times = -1.0, 0, 0
    for epoch in history:
        value = epoch.get("validation_top1_pct")
        if value is None:
            return 0
        best, waited = (value, 0) if value > best else (best, waited + 1)
        if waited == PATIENCE:
            times, waited = times + 1, 0
    return times


def _prepare(
    plan: TrainPlan,
    clips: RowClips,
    model: ClipNetwork,
    device: torch.device,
    loader_workers: int,
    progress: Progress,
    seed: int,
) -> _Training:
    """The optimiser and schedule of a row; DataError when there is nothing to train on."""
    recipe = plan.recipe
    batch = min(recipe.batch, len(clips.dataset))
    if batch == 0:
        raise DataError(
            f"{plan.row}: no training videos",
            where=f"split {plan.split} of {plan.data.name}",
            do="look at the decode counts in the report",
        )
    if recipe.phase1_epochs and not hasattr(model, "set_phase"):
        raise UsageError(
            f"{plan.row}: {plan.network.architecture} does not train in two phases",
            where="manifests/recipes.yaml, phase1_epochs",
            do="choose a recipe with one phase",
        )
    steps_per_epoch = len(clips.dataset) // batch
    unit = steps_per_epoch if recipe.unit == "iterations" else 1
    schedule = Schedule(
        recipe.lr,
        math.ceil(recipe.epochs / unit),
        steps_per_epoch,
        recipe.decay,
        tuple(milestone / unit for milestone in recipe.milestones),
        warmup_epochs=recipe.warmup_epochs,
    )
    model = model.to(device)
    groups = parameter_groups(model, recipe.group_rates, recipe.weight_decay)
    optimizer = sgd(groups, recipe.momentum)
    return _Training(
        plan,
        clips,
        model,
        optimizer,
        schedule,
        batch,
        device,
        loader_workers,
        progress,
        seed,
    )
