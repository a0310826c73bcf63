"""`tdn bench model`: our TDN against the authors' arrangement of it, in one process, in pairs."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.core.benchmark import Sample, median_s, paired, ratio, target, write_benchmark
from stages.bench.measures import (
    GIB,
    compiler_missing,
    difference,
    fill_,
    gradient_difference,
    limits,
    peak_memory_mib,
    sample_clips,
    traffic_bytes,
    training_step,
    waiting,
)
from stages.bench.reference_tdn import ReferenceTDN
from tdn_model.build import build
from tdn_model.contract import NetworkShape
from tdn_model.count_cost import measure
from tdn_model.inference import fold
from tdn_model.models.tdn import TDN

CLASSES = 174
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
GRADIENT_TOLERANCE = 1e-2
"""In float32 at full depth; in float64 the two gradients agree to rounding, which a test checks."""
MEMORY_RUNS = 3
Pass = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """What is measured and how often."""

    device: torch.device
    batches: tuple[int, ...] = (1, 4)
    rounds: int = 7
    step_rounds: int = 5
    train_batch: int = 2
    segments: int = 8
    side_px: int = 224
    width: int | None = None
    compiled: bool = True


@dataclass
class Report:
    """Rows and targets as they come in."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)


def run(setting: Setting, folder: Path, say: Callable[[str], None]) -> Report:
    """Measure, write `model.<device>.{json,md}` into `folder`, and return what was written.

    Raises AssertionError where two arrangements of the network do not agree.
    """
    report = Report()
    tdn, tsn = (network(name, setting) for name in ("tdn", "tsn"))
    for batch in setting.batches:
        say(f"evaluation, batch {batch}")
        evaluation(setting, report, tdn, tsn, batch)
    say(f"training step, batch {setting.train_batch}")
    training(setting, report)
    write_benchmark(
        folder,
        f"model.{setting.device.type}",
        title=f"TDN-R50, {setting.segments} × {setting.side_px}²: ours against the authors' order",
        settings={
            "device": setting.device.type,
            "threads": torch.get_num_threads(),
            "rounds": setting.rounds,
            "rounds of the training step": setting.step_rounds,
            "speed-up": "reference over ours, wall time, median and quartiles of paired rounds",
            "difference": "max|Δ| / max|logit| to the reference in float32",
            **floors(setting, tdn),
        },
        rows=report.rows,
        targets=report.targets,
    )
    return report


def network(architecture: str, setting: Setting) -> nn.Module:
    """The full-size network (or as narrow as the setting says), filled, in evaluation mode."""
    shape = NetworkShape(
        num_classes=CLASSES, num_segments=setting.segments, width=setting.width, dropout=0.0
    )
    return fill_(build(architecture, shape)).eval().to(setting.device)


def evaluation(
    setting: Setting, report: Report, tdn: nn.Module, tsn: nn.Module, batch: int
) -> None:
    """Rows of all ways at one batch size, equal outputs asserted first; and their targets."""
    clips = sample_clips(tdn, batch, setting.side_px, setting.device)
    ways = evaluation_ways(setting, tdn)
    tsn_clips = clips[:, :, 2:3].contiguous()
    tsn_ways = {
        "TSN, folded": fold(tsn),
        "TSN, folded, bfloat16": fold(tsn).to(torch.bfloat16),
    }
    with torch.inference_mode():
        want = ways["reference"](clips)
        away = {name: difference(way(clips), want) for name, way in ways.items()}
        for name, found in away.items():
            rough = "bfloat16" in name or "TF32" in name
            limit = TOLERANCE[torch.bfloat16 if rough else torch.float32]
            if found > limit:
                raise AssertionError(f"{name}: {found:.2g} from the reference, {limit} allowed")
        calls = {name: waiting(partial(way, clips), setting.device) for name, way in ways.items()}
        calls |= {
            name: waiting(partial(way, tsn_clips), setting.device) for name, way in tsn_ways.items()
        }
        samples = paired(calls, rounds=setting.rounds)
    for name in calls:
        report.rows.append(
            {
                "what": "evaluation",
                "way": name,
                "batch": batch,
                "ms per video": 1e3 * median_s(samples[name]) / batch,
                "speed-up": ratio(samples, "reference", name) if name in ways else None,
                "difference": away.get(name),
            }
        )
    evaluation_targets(setting, report, samples, batch)


def evaluation_ways(setting: Setting, tdn: nn.Module) -> dict[str, Pass]:
    """The arrangements compared in evaluation, by name; the reference first."""
    assert isinstance(tdn, TDN)
    folded = fold(tdn)
    ways: dict[str, Pass] = {
        "reference": ReferenceTDN(tdn).eval(),
        "our network": tdn,
        "folded": folded,
        "folded, bfloat16": fold(tdn).to(torch.bfloat16),
    }
    if setting.compiled and not compiler_missing():
        ways["compiled"] = compiled(folded)
        if setting.device.type == "cuda":
            narrow = fold(tdn).to(torch.bfloat16)
            ways["compiled, bfloat16"] = compiled(narrow)
            ways["CUDA graph"] = compiled(folded, mode="reduce-overhead")
            ways["CUDA graph, bfloat16"] = compiled(narrow, mode="reduce-overhead")
    if setting.device.type == "cuda":
        ways |= {f"{name}, TF32": in_tf32(ways[name]) for name in ("reference", "folded")}
        if "CUDA graph" in ways:
            ways["compiled, TF32"] = in_tf32(compiled(copy.deepcopy(folded)))
    return ways


def compiled(model: nn.Module, mode: str | None = None) -> Pass:
    """The network through torch.compile, its weights constants (they may then be packed)."""
    from torch._inductor import config  # only here: it takes seconds

    made = torch.compile(copy.deepcopy(model), mode=mode, dynamic=False)

    def call(clips: Tensor) -> Tensor:
        with config.patch(freezing=True):
            logits: Tensor = made(clips).clone()
        return logits

    return call


def in_tf32(way: Pass) -> Pass:
    """The same with TF32 products allowed while it runs."""

    def call(clips: Tensor) -> Tensor:
        before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        try:
            return way(clips)
        finally:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before

    return call


def evaluation_targets(
    setting: Setting, report: Report, samples: dict[str, list[Sample]], batch: int
) -> None:
    """The goals of one batch size; what could not be run says why."""

    def gain(name: str) -> float | None:
        return ratio(samples, "reference", name)["median"] if name in samples else None

    where = f"batch {batch}"
    off = "" if setting.compiled else "left out"
    report.targets += [
        target(f"float32, folded, {where}", gain("folded"), at_least=1.5),
        target(
            f"torch.compile, {where}",
            gain("compiled"),
            at_least=1.9,
            reason=off or compiler_missing(),
        ),
        target(f"bfloat16, {where}", gain("folded, bfloat16"), at_least=3.0),
    ]
    for ours, theirs, kind in (
        ("folded", "TSN, folded", "float32"),
        ("folded, bfloat16", "TSN, folded, bfloat16", "bfloat16"),
    ):
        over = ratio(samples, ours, theirs)["median"]
        report.targets.append(target(f"TDN over TSN, {kind}, {where}", over, at_most=1.35))


def training(setting: Setting, report: Report) -> None:
    """A training step of ours against the reference's at equal gradients; peak memory of both."""
    makers = {name: partial(trained, name, setting) for name in ("reference", "our network")}
    made = {name: make() for name, make in makers.items()}
    steps = {name: training_step(model, clips) for name, (model, clips) in made.items()}
    for step in steps.values():
        step()
    theirs = made["reference"][0].get_submodule("net")
    away = gradient_difference(made["our network"][0], theirs)
    if away > GRADIENT_TOLERANCE:
        raise AssertionError(f"gradients are {away:.2g} apart, {GRADIENT_TOLERANCE} allowed")
    calls = {name: waiting(step, setting.device) for name, step in steps.items()}
    samples = paired(calls, rounds=setting.step_rounds, warmup=0)
    del made, steps, calls
    threads = torch.get_num_threads()
    peaks = {
        name: statistics.median(
            peak_memory_mib(make, setting.device, threads) for _ in range(MEMORY_RUNS)
        )
        for name, make in makers.items()
    }
    for name in makers:
        report.rows.append(
            {
                "what": "training step",
                "way": name,
                "batch": setting.train_batch,
                "ms per video": 1e3 * median_s(samples[name]) / setting.train_batch,
                "speed-up": ratio(samples, "reference", name),
                "difference": away if name != "reference" else None,
                "peak MiB": peaks[name],
            }
        )
    gain = ratio(samples, "reference", "our network")["median"]
    report.targets.append(target("training step at equal gradients", gain, at_least=1.3))
    share = peaks["our network"] / peaks["reference"]
    report.targets.append(target("peak memory of a training step", share, at_most=1.0))


def trained(name: str, setting: Setting) -> tuple[nn.Module, Tensor]:
    """The reference or our network in training mode, and clips for it."""
    model = network("tdn", setting)
    clips = sample_clips(model, setting.train_batch, setting.side_px, setting.device)
    assert isinstance(model, TDN)
    return (ReferenceTDN(model) if name == "reference" else model).train(), clips


def floors(setting: Setting, tdn: nn.Module) -> dict[str, Any]:
    """The least time per video that this machine's arithmetic and its memory allow, measured."""
    clips = sample_clips(tdn, 1, setting.side_px, setting.device)
    gmacs = measure(tdn, clips.shape).gmacs
    found: dict[str, Any] = {"multiply-adds per video, G": gmacs}
    for dtype in (torch.float32, torch.bfloat16):
        best = limits(setting.device, dtype)
        moved = traffic_bytes(fold(tdn).to(dtype), clips.to(dtype)) / GIB
        word = str(dtype).removeprefix("torch.")
        found[f"arithmetic floor, {word}, ms per video"] = 1e3 * gmacs / best["gmacs_per_s"]
        found[f"bandwidth floor, {word}, ms per video"] = 1e3 * moved / best["gib_per_s"]
    return found
