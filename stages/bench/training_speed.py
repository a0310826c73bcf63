"""`tdn bench train`: training steps as stage `train` makes them, in ways that `compute` offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pipeline.clips.transforms import normalise
from pipeline.core.benchmark import Report, compare
from stages.bench.measures import fill_, pick_device, waiting
from tdn_model.activation_checkpointing import recompute_blocks_
from tdn_model.build import build
from tdn_model.contract import ClipNetwork, NetworkShape
from tdn_model.optim import parameter_groups, set_rate, sgd
from tdn_model.training import train_step

WHOLE = "tdn, float32"


@dataclass(frozen=True)
class Setting:
    """What is measured and how often."""

    device: str = "cpu"
    threads: int | None = None
    batch: tuple[int, ...] = ()
    """Clips in a step, an even number (default: 16 on cuda, 2 on cpu)."""
    rounds: int = 5
    side: int = 224
    """Of the frames, in pixels."""
    width: int | None = None


def run(setting: Setting, say: Callable[[str], None]) -> Report:
    """Steps of TSN and TDN (R50, 8 segments) side by side: clips per second."""
    device = pick_device(setting.device, setting.threads)
    rows: list[dict[str, Any]] = []
    for batch in setting.batch or (16 if device.type == "cuda" else 2,):
        say(f"training steps of {batch} clips")
        ways = {
            "tsn, float32": partial(_step, "tsn", setting, device, batch),
            WHOLE: partial(_step, "tdn", setting, device, batch),
            "tdn, two micro-batches": partial(
                _step, "tdn", setting, device, batch, micro_batch=max(1, batch // 2)
            ),
            "tdn, recompute": partial(_step, "tdn", setting, device, batch, recompute=True),
            "tdn, bfloat16": partial(
                _step, "tdn", setting, device, batch, precision=torch.bfloat16
            ),
        }
        steps = {name: waiting(make(), device) for name, make in ways.items()}
        found = compare(steps, against=WHOLE, rounds=setting.rounds, count=batch, unit="clip")
        del steps
        rows += [{"clips": batch, **row, "clips per s": 1e3 / row["ms per clip"]} for row in found]
    settings = {
        "device": setting.device,
        "threads": torch.get_num_threads(),
        "rounds": setting.rounds,
        "network": f"R50, 8 segments, {setting.side}²; forward, backward, clipping, SGD",
        "data": "one batch of noise, on the device: no loading (`tdn bench loader`)",
    }
    return Report(f"train.{setting.device}", "Training steps", settings, rows)


def _step(
    name: str,
    setting: Setting,
    device: torch.device,
    batch: int,
    *,
    micro_batch: int | None = None,
    recompute: bool = False,
    precision: torch.dtype = torch.float32,
) -> Callable[[], object]:
    """A network, and a call that trains it by one batch."""
    shape = NetworkShape(num_classes=174, num_segments=8, width=setting.width, dropout=0.0)
    model = build(name, shape)
    assert isinstance(model, ClipNetwork)
    fill_(model).train().to(device)
    if recompute:
        recompute_blocks_(model)
    optimizer = sgd(parameter_groups(model, "flat", 5e-4), 0.9)
    set_rate(optimizer, 1e-4)
    size = (batch, 8, model.window, setting.side, setting.side, 3)
    clips = torch.randint(0, 256, size, dtype=torch.uint8).movedim(-1, -3).to(device)
    labels = torch.arange(batch, device=device)
    return partial(
        train_step, model, optimizer, clips, labels, clip_norm=20.0, precision=precision,
        micro_batch=micro_batch, to_input=normalise,
    )  # fmt: skip
