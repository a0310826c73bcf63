"""What a training needs before its first step, and errors of torch as sentences."""

from __future__ import annotations

import math
import sys
from collections import Counter

import torch
from torch import nn

from pipeline.core.errors import DataError, TdnError, UsageError
from pipeline.schema.plan_models import TrainPlan
from stages.rows.row_clips import RowClips
from tdn_model.activation_checkpointing import recompute_blocks_
from tdn_model.contract import ClipNetwork
from tdn_model.optim import Schedule


def fit_batch(plan: TrainPlan, clips: int, workers: int) -> tuple[int, float]:
    """(batch, learning rate) for so many clips: the recipe's where there are enough.

    A smaller data set is one batch. The rate then follows it by the linear rule (Goyal et al.
    2017), and a line on stderr says so, but on miniatures, whose schedules are their own. DataError
    when there is nothing to train on; UsageError when workers cannot share the batch equally.
    """
    recipe = plan.recipe
    batch = min(recipe.batch, clips) // workers * workers
    if recipe.batch % workers or batch == 0 < clips:
        raise UsageError(
            f"{plan.row}: {workers} workers cannot share a batch of {min(recipe.batch, clips)}",
            where="manifests/profiles/, compute.workers",
            do="choose a number of workers that divides the batch",
        )
    if batch == 0:
        raise DataError(
            f"{plan.row}: no training videos",
            where=f"split {plan.split} of {plan.data.name}",
            do="look at the decode counts in the report",
        )
    if batch == recipe.batch or plan.smoke:
        return batch, recipe.lr
    rate = recipe.lr * batch / recipe.batch
    print(
        f"{plan.row}: {clips} clips are fewer than the recipe's batch of {recipe.batch}: "
        f"batch {batch}, learning rate {rate:.4g} in place of {recipe.lr:.4g} (linear rule)",
        file=sys.stderr,
    )
    return batch, rate


def prepare_network(plan: TrainPlan, model: ClipNetwork, device: torch.device) -> ClipNetwork:
    """The network on its device, as `compute` asks for; UsageError for what it cannot do."""
    compute = plan.compute
    if plan.recipe.phase1_epochs and not hasattr(model, "set_phase"):
        raise UsageError(
            f"{plan.row}: {plan.network.architecture} does not train in two phases",
            where="manifests/recipes.yaml, phase1_epochs",
            do="choose a recipe with one phase",
        )
    model = model.to(device)
    if compute.channels_last:
        layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
        for p in model.parameters():
            if p.dim() in layouts:
                p.data = p.data.contiguous(memory_format=layouts[p.dim()])
    if compute.sync_bn and compute.workers > 1:
        if device.type == "cpu":
            raise UsageError(
                f"{plan.row}: torch synchronises batch norms on accelerators alone",
                where="manifests/profiles/, compute.sync_bn",
                do="leave it out on a processor",
            )
        _synchronise(model)
    if compute.recompute:
        recompute_blocks_(model)
    if compute.compile:
        model.compile()
    return model


def _synchronise(module: nn.Module) -> None:
    """Have batch norms over maps and volumes see the whole batch."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
            setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        else:
            _synchronise(child)


def name_empty_classes(row: str, clips: RowClips, classes: tuple[str, ...]) -> None:
    """A line on stderr where classes have no training clip: their videos are all missing."""
    counts = Counter(label for video in clips.dataset.videos for label in video.labels)
    empty = [name for number, name in enumerate(classes) if not counts[number]]
    if empty:
        names = ", ".join(empty[:5]) + (" …" if len(empty) > 5 else "")
        missing = f"{len(clips.unusable)} videos have no frames"
        text = f"{row}: {len(empty)} classes without a training clip ({missing}): {names}"
        print(text, file=sys.stderr)


def schedule_of(plan: TrainPlan, steps_per_epoch: int, lr: float) -> Schedule:
    """The recipe's schedule in epochs of so many steps."""
    recipe = plan.recipe
    unit = steps_per_epoch if recipe.unit == "iterations" else 1
    return Schedule(
        lr,
        math.ceil(recipe.epochs / unit),
        steps_per_epoch,
        recipe.decay,
        tuple(milestone / unit for milestone in recipe.milestones),
        warmup_epochs=recipe.warmup_epochs,
    )


def of_loaders(error: RuntimeError) -> Exception:
    """A loader that died, as a sentence; any other error as it is."""
    text = str(error)
    if "DataLoader worker" not in text and "shared memory" not in text:
        return error
    return DataError(
        f"a process that loads clips has died: {text.splitlines()[0]:.200}",
        do="give it more shared memory (`df -h /dev/shm`; of a container: --shm-size=16g), or "
        "lower loader.workers in the profile, then run the same command again",
    )


def of_memory(error: RuntimeError, plan: TrainPlan, clips: int) -> TdnError | None:
    """Too little memory for a micro-batch, and the setting that mends it; None for other errors."""
    text = str(error)
    short = "can't allocate memory" in text or "not enough memory" in text
    if not isinstance(error, torch.OutOfMemoryError) and not short:
        return None
    size = min(plan.compute.micro_batch or clips, clips)
    if size > 1:
        do = f"set `micro_batch: {size // 2}` there: gradients are summed to the recipe's batch"
    else:
        do = "set `recompute: true` or `precision: bfloat16` there, or use a larger device"
    return UsageError(
        f"{plan.row}: {size} clips at a time need more memory than there is",
        where="compute of the profile's file in manifests/profiles/",
        do=do + ("" if plan.compute.recompute else "; `recompute: true` saves memory, too"),
    )
