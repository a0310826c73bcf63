"""Stage `pretrain`: the weights that rows start from, `images_BACKBONE` and `scratch`.

Every paper starts from a backbone that knows images: at full size from ImageNet weights, of a local
file or torchvision's; in a small profile the backbone is trained on procedural still images.
`scratch` holds nothing: rows that depend on it start from random numbers. All have the shape of a
row's training (`runs/P/START/train/`), so that a row may start from these and from rows alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
from stages.rows.device import precision, set_up_device
from stages.rows.row_network import weights_file
from stages.rows.tensor_files import UNREADABLE, save_tensors
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
    """Write `runs/P/KEY/train/`: `weights.pt` in torchvision's names, history and outcome.

    With more than one seed there are `weights.seed1.pt` … beside them. Raises AbsentData naming the
    file to provide when the ImageNet weights cannot be had, unless `record_absent`.
    """
    reason, history = "", []
    with atomic_folder(work.run(key) / "train") as folder:
        if plan.kind == "stills":
            history = _from_stills(folder, plan, progress)
        elif plan.kind == "imagenet":
            found = _imagenet(work, plan.backbone)
            if isinstance(found, str):
                reason = found
            else:
                save_tensors(folder / weights_file(0), dict(found))
        if reason and not record_absent:
            raise AbsentData(
                f"no image pre-training: {reason}",
                where=f"data/weights/{plan.backbone}.pth",
                do="put the backbone's published state dict there",
            )
        write_json(folder / "history.json", history)
        outcome = {"status": "not-run" if reason else "ok", "reason": reason}
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


def _from_stills(folder: Path, plan: PretrainPlan, progress: Progress) -> list[dict[str, float]]:
    """The backbone trained from each seed into `weights.pt`, `weights.seed1.pt` …; the history of
    the first, those of the others in `history.seed1.json` …."""
    assert plan.stills is not None and plan.size is not None
    first: list[dict[str, float]] = []
    for number in range(plan.seeds):
        seeded = plan.stills.model_copy(update={"seed": plan.stills.seed + number})
        state, history = _train(seeded, plan.backbone, plan.size, progress)
        save_tensors(folder / weights_file(number), dict(state))
        if number == 0:
            first = history
        else:
            write_json(folder / f"history{seed_suffix(number)}.json", history)
    return first


def _train(
    plan: StillsTraining, backbone: str, size: BackboneSize, progress: Progress
) -> tuple[State, list[dict[str, float]]]:
    """A backbone trained on still images (one segment, one frame), in torchvision's names."""
    seed, epochs, data = plan.seed, plan.epochs, _images(plan)
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
