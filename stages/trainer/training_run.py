"""One training of a row: its steps, epochs and checkpoints, by one process or by one of several.

The order of clips, their crops, flips and dropout masks are functions of seed, epoch and step
alone: a training that goes on from a checkpoint, or whose clips are loaded by another number of
processes, ends with the same weights. Nothing in a step waits for an accelerator; losses are read
from it once a second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, repeat

import torch
from torch.nn.parallel import DistributedDataParallel

from pipeline.clips.clip_dataset import Batch, ClipDataset
from pipeline.core.errors import DataError
from pipeline.schema.plan_models import TrainPlan
from pipeline.schema.profiles import Loader
from stages.rows.device import precision
from stages.rows.row_clips import Position, RowClips, batches, in_order, normaliser
from stages.trainer.checkpoints import Checkpoints
from stages.trainer.training_log import TrainingLog
from stages.trainer.training_setup import of_loaders, of_memory
from stages.trainer.worker_group import Ranks, share_gradients
from tdn_model.contract import ClipNetwork
from tdn_model.optim import Schedule, freeze_partial_bn, set_rate
from tdn_model.training import predict_step, train_step

PATIENCE = 3
"""Epochs without a new best after which the rate is divided by ten (decay: plateau)."""
READ_EVERY_S = 1.0
"""How often losses are read from an accelerator."""
EPOCH_SHARE = 0.1
"""Of the interval between checkpoints, after which the end of an epoch is saved."""


@dataclass
class Training:
    """Everything one training holds on to."""

    plan: TrainPlan
    clips: RowClips
    model: ClipNetwork
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    batch: int
    device: torch.device
    loader: Loader
    seed: int
    ranks: Ranks
    log: TrainingLog
    checkpoints: Checkpoints
    validation: ClipDataset | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    done: int = 0
    """Steps."""

    def __post_init__(self) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        """Loss and correct answers of the epoch so far, over all workers."""
        narrow = self.plan.compute.precision == "float16"
        self.scaler = torch.amp.GradScaler(self.device.type) if narrow else None
        self._shared: DistributedDataParallel | None = None
        self._trained = 0
        self._read = time.monotonic()
        self._unread: list[list[str]] = []

    def run(self) -> None:
        """Train to the end, from the newest checkpoint if there is one."""
        self._restore()
        per_epoch = self.schedule.steps_per_epoch
        stream = self._stream(self.done)
        validation = self._validation_stream()
        for epoch in range(self.done // per_epoch, self.schedule.epochs):
            self._begin(epoch)
            rate = 0.0
            while self.done < (epoch + 1) * per_epoch:
                rate = self._step(stream)
                if steps := self.done % per_epoch:
                    if self.ranks.first and self.checkpoints.due():
                        self._save()
                    if self.log.due():
                        self.log.line(self.done, epoch, self._sums()[0] / steps, rate)
            self._end(epoch, rate)
            if validation is not None:
                self._validate(validation)
            over = epoch + 1 == self.schedule.epochs
            if not over and self.ranks.first and self.checkpoints.due(EPOCH_SHARE):
                self._save()

    def _begin(self, epoch: int) -> None:
        """Choose what an epoch trains."""
        recipe = self.plan.recipe
        if recipe.phase1_epochs:
            share = epoch / self.schedule.epochs
            frozen = share < recipe.phase1_epochs / recipe.epochs
            self.model.set_phase(1 if frozen else 2)  # type: ignore[operator]  # prepare_network refuses others
        self.model.train()
        if recipe.partial_bn:
            freeze_partial_bn(self.model)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        if self.ranks.size > 1 and len(trained) != self._trained:  # phase two trains more than one
            self._trained, self._shared = len(trained), share_gradients(self.model)

    def _step(self, stream: Iterator[Batch]) -> float:
        """One step; returns its rate."""
        began = time.monotonic()
        try:
            item = next(stream)
        except RuntimeError as error:
            raise of_loaders(error) from error
        waited_s = time.monotonic() - began
        compute = self.plan.compute
        rate = self.schedule.at(self.done) * 0.1 ** saturated(self.history)
        set_rate(self.optimizer, rate)
        self._seed_dropout()
        try:
            step = train_step(
                self.model,
                self.optimizer,
                item.frames.to(self.device, non_blocking=True),
                item.target.to(self.device, non_blocking=True),
                clip_norm=self.plan.recipe.clip_norm,
                precision=precision(compute),
                micro_batch=compute.micro_batch,
                to_input=normaliser(self.plan.data),
                scaler=self.scaler,
                shared=self._shared,
            )
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if (known := of_memory(error, self.plan, len(item.target))) is None:
                raise
            raise known from None
        self.sums += self.ranks.total(torch.stack([step.loss / self.ranks.size, step.correct]))
        self._unread.append(item.video_ids)
        self.done += 1
        if self.device.type == "cpu" or began - self._read >= READ_EVERY_S:
            self._sums()
        self.log.step(self.done, len(item.target) * self.ranks.size, waited_s)
        return rate

    def _seed_dropout(self) -> None:
        """Have the step's masks follow from seed, step and worker."""
        seed = (self.seed * 100_003 + 1) * 1_000_000_007 + self.done * 4_099 + self.ranks.rank
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # 2 µs, the other 250
        else:
            torch.manual_seed(seed)

    def _sums(self) -> tuple[float, float]:
        """Loss and correct answers of the epoch so far; waits for the device. DataError when the
        loss is not finite."""
        loss, correct = self.sums.tolist()
        if not math.isfinite(loss):
            self._not_finite(loss)
        self._read, self._unread = time.monotonic(), []
        return loss, correct

    def _not_finite(self, loss: float) -> None:
        first = self.done + 1 - len(self._unread)
        steps = f"step {first}" if first == self.done else f"one of steps {first} to {self.done}"
        videos = [name for names in self._unread for name in names]
        more = f" and {len(videos) - 8} more" if len(videos) > 8 else ""
        raise DataError(
            f"{self.plan.row}: the loss is {loss} in {steps}, epoch {len(self.history)}",
            where=f"videos {', '.join(videos[:8])}{more}",
            do="lower the learning rate of its recipe, or use precision: bfloat16 where it is "
            "float16; if it is always the same videos, look at their files",
        )

    def _end(self, epoch: int, rate: float) -> None:
        """Write down an epoch."""
        loss, correct = self._sums()
        count = self.schedule.steps_per_epoch
        top1_pct = round(100.0 * correct / (count * self.batch), 4)
        values = {"epoch": epoch, "loss": round(loss / count, 6), "top1_pct": top1_pct, "lr": rate}
        if self.batch != self.plan.recipe.batch:
            values["batch"] = self.batch
        self.history.append(values)
        self.log.line(self.done, epoch, loss / count, rate)
        self.sums.zero_()

    def _validate(self, stream: Iterator[Batch]) -> None:
        """Accuracy on the validation split after an epoch; what a plateau is seen by."""
        assert self.validation is not None
        self.ranks.align(self.model.buffers())
        self.model.eval()
        right = torch.zeros(1, dtype=torch.float64, device=self.device)
        for item in islice(stream, len(self._validation_groups())):
            frames = normaliser(self.plan.data)(item.frames.to(self.device, non_blocking=True))
            logits_BK = predict_step(self.model, frames, precision=precision(self.plan.compute))
            best = logits_BK.argmax(dim=1).tolist()
            right += sum(b in labels for b, labels in zip(best, item.labels, strict=True))
        total = self.ranks.total(right).item()
        count = max(1, len(self.validation))
        self.history[-1]["validation_top1_pct"] = round(100.0 * total / count, 4)

    def _validation_groups(self) -> list[list[Position]]:
        """This worker's part of the validation split."""
        assert self.validation is not None
        groups = in_order(len(self.validation), self.plan.recipe.batch)
        return groups[self.ranks.rank :: self.ranks.size]

    def _validation_stream(self) -> Iterator[Batch] | None:
        """The batches of all validations, one after another, from the same loaders."""
        if self.validation is None:
            return None
        groups = chain.from_iterable(repeat(self._validation_groups()))
        return self._batches(self.validation, groups)

    def _stream(self, first: int) -> Iterator[Batch]:
        """This worker's part of every batch from step `first` on."""
        epoch, begun = divmod(first, self.schedule.steps_per_epoch)
        epochs = range(epoch, self.schedule.epochs)
        groups = chain.from_iterable(map(self._shuffled, epochs))
        return self._batches(self.clips.dataset, map(self.ranks.share, islice(groups, begun, None)))

    def _shuffled(self, epoch: int) -> list[list[Position]]:
        """Whole batches in an order drawn from (seed, epoch); the last short one is dropped."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        count = len(self.clips.dataset)
        order = [(epoch, n) for n in torch.randperm(count, generator=generator).tolist()]
        return [order[i : i + self.batch] for i in range(0, count - self.batch + 1, self.batch)]

    def _batches(self, dataset: ClipDataset, groups: Iterable[list[Position]]) -> Iterator[Batch]:
        pinned = self.device.type == "cuda"
        return batches(dataset, groups, self.loader.workers, pinned=pinned)

    def _save(self) -> None:
        self._sums()  # no state after a loss that was not finite
        state = {
            "history": self.history,
            "sums": self.sums,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": None if self.scaler is None else self.scaler.state_dict(),
        }
        self.checkpoints.save(self.done, state)

    def _restore(self) -> None:
        """Take up the newest checkpoint of the very same training, if there is one."""
        state = self.ranks.same(self.checkpoints.load() if self.ranks.first else None)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        self.sums = state["sums"].to(self.device)
        self.history, self.done = list(state["history"]), state["step"]


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
