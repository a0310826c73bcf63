"""Stage `pretrain`: the weights that rows start from, `images` and `scratch`.

`images` is what every paper starts from: at full size ImageNet weights, from a local file or
torchvision; in a small profile each backbone trained on procedural still images. `scratch` holds
nothing: rows that depend on it start from random numbers. Both have the shape of a row's training
(`runs/P/<start>/train/`), so that a row may start from either or from another row alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import get_weight

from pipeline.clips.crops import random_crop
from pipeline.clips.transforms import crop_views, normalise, train_view
from pipeline.core.errors import AbsentData, DataError
from pipeline.core.files import atomic_folder, write_json
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.mini.stills import CLASSES, stills
from pipeline.schema.plan_models import PretrainPlan, StillsTraining
from pipeline.schema.profiles import BackboneSize
from stages.device import precision, set_up_device
from stages.tensor_files import UNREADABLE, save_tensors
from tdn_model.contract import NetworkShape
from tdn_model.models.tea import res2net
from tdn_model.models.tsn import tsn
from tdn_model.optim import Schedule, parameter_groups, set_rate, sgd
from tdn_model.training import predict_step, train_step
from tdn_model.weights.imagenet import IMAGENET, torchvision_names

Progress = Callable[[int, int], None] | None
State = Mapping[str, Tensor]

_HELD_OUT = 5
"""One image in so many is not trained on but tells how well the rest was learned."""


def run(
    work: Workspace,
    key: str,
    plan: PretrainPlan,
    *,
    record_absent: bool = False,
    progress: Progress = None,
) -> None:
    """Write `runs/P/<key>/train/`: `<backbone>.pt` in torchvision's names, history and outcome.

    With more than one seed there are `<backbone>.seed1.pt` … beside them.

    The outcome says which backbones are `lacking`; rows on those are not run. Raises AbsentData
    naming the files to provide when ImageNet weights of none can be had, unless `record_absent`.
    """
    with atomic_folder(work.run(key) / "train") as folder:
        history: dict[str, Any] = {}
        lacking: dict[str, str] = {}
        reason = plan.reason
        if plan.stills is not None:
            history = _all_from_stills(folder, plan, plan.stills, progress)
        for backbone in () if plan.stills else plan.backbones:
            found = _imagenet(work, backbone)
            if isinstance(found, str):
                lacking[backbone] = found
            else:
                save_tensors(folder / f"{backbone}.pt", dict(found))
        if lacking and len(lacking) == len(plan.backbones):
            reason = "; ".join(lacking.values())
            if not record_absent:
                raise AbsentData(
                    f"no image pre-training: {reason}",
                    where="data/weights/",
                    do="put the backbone's published state dict there as <backbone>.pth",
                )
        write_json(folder / "history.json", history)
        status = "not-run" if reason else "ok"
        outcome = {"status": status, "reason": reason, "lacking": lacking}
        write_json(folder / "outcome.json", outcome)


def _imagenet(work: Workspace, backbone: str) -> State | str:
    """The state dict, or in words why there is none."""
    local = work.root / "data" / "weights" / f"{backbone}.pth"
    try:
        if local.is_file():
            state = torch.load(local, map_location="cpu", weights_only=True)
        elif backbone in IMAGENET:
            state = get_weight(IMAGENET[backbone]).get_state_dict(check_hash=True)
        else:
            return f"torchvision has no {backbone}, and there is no data/weights/{backbone}.pth"
    except UNREADABLE as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        return f"ImageNet weights of {backbone} cannot be had: {why}"
    return dict(state)


@dataclass(frozen=True)
class _Stills:
    """Still images as clips of one frame, and their labels; some are held out."""

    frames: Tensor
    """(N, 3, H, W) uint8."""
    labels: Tensor
    train: list[int]
    held_out: list[int]
    size_px: int
    device: torch.device

    def batch(self, rows: list[int], rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """Clips (B, 1, 1, 3, size, size), normalised, and labels (B,), on the device; random crops
        with `rng`."""
        views = []
        for row in rows:
            frame = [self.frames[row]]
            side = frame[0].shape[-1]
            if rng is None:
                views.append(crop_views(frame, "center", None, self.size_px)[0])
            else:
                crop = random_crop(side, side, self.size_px, True, rng)
                views.append(train_view(frame, crop, self.size_px))
        clips = torch.stack(views).unsqueeze(1).to(self.device)
        return normalise(clips), self.labels[rows].to(self.device)


def _images(plan: StillsTraining) -> _Stills:
    # Larger than the crop, by the margin that a profile's videos have.
    side_px = round(plan.size_px * 256 / 224)
    images, labels = stills(plan.images, side_px, plan.seed)
    held_out = np.arange(len(labels)) // len(CLASSES) % _HELD_OUT == 0
    return _Stills(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        torch.from_numpy(labels),
        np.flatnonzero(~held_out).tolist(),
        np.flatnonzero(held_out).tolist(),
        plan.size_px,
        set_up_device(plan.compute),
    )


def _all_from_stills(
    folder: Path, plan: PretrainPlan, stills: StillsTraining, progress: Progress
) -> dict[str, list[dict[str, float]]]:
    """Every backbone trained from each seed into `<backbone>.pt`, `<backbone>.seed1.pt` …; the
    histories by the same names."""
    history = {}
    for number in range(plan.seeds):
        seeded = stills.model_copy(update={"seed": stills.seed + number})
        data = _images(seeded)
        for backbone, size in plan.backbones.items():
            name = f"{backbone}{seed_suffix(number)}"
            state, history[name] = _from_stills(seeded, data, backbone, size, progress)
            save_tensors(folder / f"{name}.pt", dict(state))
    return history


def _from_stills(
    plan: StillsTraining, data: _Stills, backbone: str, size: BackboneSize, progress: Progress
) -> tuple[State, list[dict[str, float]]]:
    """A backbone trained on still images (one segment, one frame), in torchvision's names."""
    seed, epochs = plan.seed, plan.epochs
    batch = min(plan.batch, len(data.train))
    torch.manual_seed(seed)
    shape = NetworkShape(num_classes=len(CLASSES), num_segments=1, dropout=0.0, **size.model_dump())
    model = res2net(shape) if backbone.startswith("res2net") else tsn(shape)
    model.to(data.device)
    optimizer = sgd(parameter_groups(model, "flat", plan.weight_decay), 0.9)
    steps = len(data.train) // batch
    schedule = Schedule(plan.lr, epochs, steps, "cosine", warmup_epochs=0.5)
    history = []
    for epoch in range(epochs):
        model.train()
        rng = np.random.default_rng([seed, epoch])
        order = rng.permutation(data.train).tolist()
        loss = 0.0
        for number in range(steps):
            set_rate(optimizer, schedule.at(epoch * steps + number))
            clips, labels = data.batch(order[number * batch : (number + 1) * batch], rng)
            step = train_step(
                model, optimizer, clips, labels, clip_norm=20.0, precision=precision(plan.compute)
            )
            loss += float(step.loss)
            if progress is not None:
                progress(epoch * steps + number + 1, epochs * steps)
        if not math.isfinite(loss):
            what = f"image pre-training: the loss is {loss} in epoch {epoch}"
            raise DataError(what, do="lower lr of the profile's images")
        held_out_top1_pct = round(100 * _accuracy(model, data), 4)
        history.append(
            {
                "epoch": epoch,
                "loss": round(loss / steps, 6),
                "held_out_top1_pct": held_out_top1_pct,
            }
        )
    return torchvision_names(model.cpu().state_dict()), history


def _accuracy(model: nn.Module, data: _Stills) -> float:
    model.eval()
    clips, labels = data.batch(data.held_out, None)
    return float((predict_step(model, clips).argmax(1) == labels).float().mean())
