"""`tdn bench model`: our TDN against the authors' arrangement of it, in one process, in pairs."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.core.benchmark import Report, compare
from stages.bench.measures import (
    Pass,
    compiler_missing,
    difference,
    fill_,
    gradient_difference,
    in_tf32,
    peak_memory_mib,
    pick_device,
    sample_clips,
    training_step,
    waiting,
    ways,
)
from stages.bench.reference_tdn import ReferenceTDN
from tdn_model.build import build
from tdn_model.contract import NetworkShape
from tdn_model.count_cost import measure
from tdn_model.models.tdn import TDN

REFERENCE, OURS = "reference", "our network"
CLASSES = 174
TOLERANCE, ROUGH_TOLERANCE = 1e-5, 1e-2
"""max|Δ| / max|logit| to the reference; the second for bfloat16 and TF32."""
GRADIENT_TOLERANCE = 1e-2
"""In float32 at full depth; in float64 the two gradients agree to rounding, which a test checks."""
MEMORY_RUNS = 3


@dataclass(frozen=True)
class Setting:
    """What is measured and how often."""

    device: str = "cpu"
    threads: int | None = None
    batch: tuple[int, ...] = (1, 4)
    rounds: int = 7
    train_batch: int = 2
    segments: int = 8
    side: int = 224
    """Of the frames, in pixels."""
    width: int | None = None
    compiled: bool = True

    @property
    def step_rounds(self) -> int:
        return max(1, self.rounds - 2)


def run(setting: Setting, say: Callable[[str], None]) -> Report:
    """Evaluation at each batch size, then a training step and its memory.

    Raises AssertionError where two arrangements of the network do not agree.
    """
    device = pick_device(setting.device, setting.threads)
    rows: list[dict[str, Any]] = []
    for batch in setting.batch:
        say(f"evaluation, batch {batch}")
        rows += evaluation(setting, device, batch)
    say(f"training step, batch {setting.train_batch}")
    rows += training(setting, device)
    tdn = network("tdn", setting, device)
    settings = {
        "device": setting.device,
        "threads": torch.get_num_threads(),
        "rounds": setting.rounds,
        "rounds of the training step": setting.step_rounds,
        "speed-up": "reference over ours, wall time, median and quartiles of paired rounds",
        "difference": "max|Δ| / max|logit| to the reference in float32",
        "multiply-adds per video, G": measure(
            tdn, sample_clips(tdn, 1, setting.side, device).shape
        ).gmacs,
    }
    title = f"TDN-R50, {setting.segments} × {setting.side}²: ours against the authors' order"
    if setting.compiled and (reason := compiler_missing()):
        settings["not measured"] = f"torch.compile: {reason}"
    return Report(f"model.{setting.device}", title, settings, rows)


def network(architecture: str, setting: Setting, device: torch.device) -> nn.Module:
    """The full-size network (or as narrow as the setting says), filled, in evaluation mode."""
    shape = NetworkShape(
        num_classes=CLASSES, num_segments=setting.segments, width=setting.width, dropout=0.0
    )
    return fill_(build(architecture, shape)).eval().to(device)


def evaluation(setting: Setting, device: torch.device, batch: int) -> list[dict[str, Any]]:
    """Rows of all forms at one batch size, TSN's beside them; equal outputs are asserted first."""
    tdn, tsn = (network(name, setting, device) for name in ("tdn", "tsn"))
    assert isinstance(tdn, TDN)
    clips = sample_clips(tdn, batch, setting.side, device)
    reference = ReferenceTDN(tdn).eval()
    passes: dict[str, Pass] = {REFERENCE: reference}
    passes |= ways(tdn, device, compiled=setting.compiled)
    if device.type == "cuda":
        passes[f"{REFERENCE}, TF32"] = in_tf32(reference)
    with torch.inference_mode():
        want = reference(clips)
        away = {name: difference(way(clips), want) for name, way in passes.items()}
        for name, found in away.items():
            rough = "bfloat16" in name or "TF32" in name
            limit = ROUGH_TOLERANCE if rough else TOLERANCE
            if found > limit:
                raise AssertionError(f"{name}: {found:.2g} from the reference, {limit} allowed")
        calls = {name: waiting(partial(way, clips), device) for name, way in passes.items()}
        center = clips[:, :, 2:3].contiguous()
        for name, way in ways(tsn, device, compiled=False).items():
            calls[f"TSN, {name}"] = waiting(partial(way, center), device)
        rows = compare(calls, against=REFERENCE, rounds=setting.rounds, count=batch, unit="video")
    about = {"what": "evaluation", "batch": batch}
    return [about | row | {"difference": away.get(row["way"])} for row in rows]


def training(setting: Setting, device: torch.device) -> list[dict[str, Any]]:
    """A training step of ours against the reference's at equal gradients; peak memory of both."""
    makers = {name: partial(trained, name, setting, device) for name in (REFERENCE, OURS)}
    networks = {name: make() for name, make in makers.items()}
    steps = {name: training_step(model, clips) for name, (model, clips) in networks.items()}
    for step in steps.values():
        step()
    away = gradient_difference(networks[OURS][0], networks[REFERENCE][0].get_submodule("net"))
    if away > GRADIENT_TOLERANCE:
        raise AssertionError(f"gradients are {away:.2g} apart, {GRADIENT_TOLERANCE} allowed")
    calls = {name: waiting(step, device) for name, step in steps.items()}
    batch = setting.train_batch
    rows = compare(
        calls, against=REFERENCE, rounds=setting.step_rounds, count=batch, unit="video", warmup=0
    )
    del networks, steps, calls
    threads = torch.get_num_threads()
    for row in rows:
        make = makers[row["way"]]
        peaks = [peak_memory_mib(make, device, threads) for _ in range(MEMORY_RUNS)]
        row |= {
            "difference": away if row["way"] == OURS else None,
            "peak MiB": statistics.median(peaks),
        }
    return [{"what": "training step", "batch": batch} | row for row in rows]


def trained(name: str, setting: Setting, device: torch.device) -> tuple[nn.Module, Tensor]:
    """The reference or our network in training mode, and clips for it."""
    model = network("tdn", setting, device)
    clips = sample_clips(model, setting.train_batch, setting.side, device)
    assert isinstance(model, TDN)
    return (ReferenceTDN(model) if name == REFERENCE else model).train(), clips
