"""What the network benchmarks share: filled networks, forms of a network, memory, waiting."""

from __future__ import annotations

import copy
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.benchmark import peak_mib
from pipeline.core.errors import UsageError
from tdn_model.inference import fold, inference_copy

AS_TRAINED, FOLDED = "as trained", "folded"
Pass = Callable[[Tensor], Tensor]


def pick_device(name: str, threads: int | None = None) -> torch.device:
    """The named device; UsageError when this machine has no such device.

    Sets torch's number of threads where it is given, and switches TF32 off, which torch otherwise
    uses in convolutions: it is a row of its own.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if name not in ("cpu", "cuda"):
        raise UsageError(f"unknown device '{name}'", do="say cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device here", do="run with --device cpu")
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def compiler_missing() -> str:
    """Why torch.compile cannot work on a processor here; empty where it can."""
    programs = (os.environ.get("CXX") or "c++", "g++", "clang++")
    return "" if any(map(shutil.which, programs)) else "no C++ compiler"


def ways(model: nn.Module, device: torch.device, *, compiled: bool) -> dict[str, Pass]:
    """A network in evaluation mode as it is trained, and in faster forms, by name.

    `compiled`: also through torch.compile, which needs a C++ compiler.
    """
    folded, narrow = fold(model), inference_copy(model, dtype=torch.bfloat16)
    forms: dict[str, Pass] = {
        AS_TRAINED: model,
        FOLDED: folded,
        f"{FOLDED}, bfloat16": _in_bfloat16(narrow),
    }
    if device.type == "cuda":
        forms[f"{FOLDED}, TF32"] = in_tf32(folded)
    if compiled and not compiler_missing():
        forms["compiled"] = _compiled(folded)
        if device.type == "cuda":
            forms["compiled, bfloat16"] = _in_bfloat16(_compiled(narrow))
            forms["CUDA graph"] = _compiled(folded, "reduce-overhead")
            forms["CUDA graph, bfloat16"] = _in_bfloat16(_compiled(narrow, "reduce-overhead"))
    return forms


def _compiled(model: nn.Module, mode: str | None = None) -> Pass:
    """The network through torch.compile, its weights constants (they may then be packed)."""
    from torch._inductor import config  # only here: it takes seconds

    network = torch.compile(copy.deepcopy(model), mode=mode, dynamic=False)

    def call(clips: Tensor) -> Tensor:
        with config.patch(freezing=True):
            logits: Tensor = network(clips).clone()
        return logits

    return call


def _in_bfloat16(way: Pass) -> Pass:
    return lambda clips: way(clips.to(torch.bfloat16)).float()


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


def fill_(model: nn.Module, seed: int = 7) -> nn.Module:
    """Random weights and batch-norm statistics, scaled so that activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                noise = 0.5 + noise.abs()
            elif tensor.ndim > 1:
                noise = noise * (2 / tensor[0].numel()) ** 0.5
            elif name.endswith("weight"):
                noise = (0.3 if name.endswith("bn3.weight") else 1) * (1 + 0.2 * noise)
            else:
                noise = 0.2 * noise
            tensor.copy_(noise)
    return model


def sample_clips(model: Any, batch: int, side_px: int, device: torch.device) -> Tensor:
    """Random normalised clips (B, T, F, C, H, W) for a network."""
    generator = torch.Generator().manual_seed(1)
    shape = (batch, model.num_segments, model.window, model.in_channels, side_px, side_px)
    return torch.randn(shape, generator=generator).to(device)


def waiting(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """`call`, and then a wait until the accelerator is done with it."""
    if device.type != "cuda":
        return call

    def run() -> None:
        call()
        torch.cuda.synchronize()

    return run


def difference(got: Tensor, want: Tensor) -> float:
    """max|Δ| / max|want|."""
    return float((got.float() - want.float()).abs().max() / want.float().abs().max())


def training_step(model: nn.Module, clips: Tensor) -> Callable[[], object]:
    """Forward, cross-entropy and backward on fixed labels; gradients are dropped first."""
    labels = torch.arange(clips.shape[0], device=clips.device)

    def step() -> None:
        for parameter in model.parameters():
            parameter.grad = None
        functional.cross_entropy(model(clips), labels).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    return step


def gradient_difference(ours: nn.Module, theirs: nn.Module) -> float:
    """‖g - g'‖ / ‖g'‖ over all parameters; both must have gradients for the same ones."""
    gradients = {n: p.grad for n, p in ours.named_parameters() if p.grad is not None}
    expected = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    if gradients.keys() != expected.keys():
        raise AssertionError(f"gradients differ in place: {gradients.keys() ^ expected.keys()}")
    away = sum(float((gradients[n] - expected[n]).double().square().sum()) for n in expected)
    return float((away / sum(float(g.double().square().sum()) for g in expected.values())) ** 0.5)


def peak_memory_mib(
    make: Callable[[], tuple[nn.Module, Tensor]], device: torch.device, threads: int
) -> float:
    """Peak memory of one training step above what stood before it, in MiB.

    On a processor in a process of its own, as resident memory; `make` must be importable there.
    """
    if device.type == "cuda":
        model, clips = make()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        training_step(model, clips)()
        return float(torch.cuda.max_memory_allocated() - before) / 2**20
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_resident_peak, (make, threads))


def _resident_peak(make: Callable[[], tuple[nn.Module, Tensor]], threads: int) -> float:
    torch.set_num_threads(threads)
    model, clips = make()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    training_step(model, clips)()
    return peak_mib() - pages * os.sysconf("SC_PAGE_SIZE") / 2**20
