"""What the network benchmarks share: filled networks, machine limits, memory, waiting."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.core.benchmark import peak_mib
from pipeline.core.errors import UsageError

GIB = 2**30


def pick_device(name: str) -> torch.device:
    """The named device; UsageError when this machine has none such.

    float32 means float32 from here on: TF32, which torch otherwise uses in convolutions, is a way
    of its own.
    """
    if name not in ("cpu", "cuda"):
        raise UsageError(f"unknown device '{name}'", do="say cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device here", do="run with --device cpu")
    torch.backends.cudnn.allow_tf32 = False
    return torch.device(name)


def compiler_missing() -> str:
    """Why torch.compile cannot work on a processor here; empty where it can."""
    wanted = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return "" if any(name and shutil.which(name) for name in wanted) else "no C++ compiler"


def fill_(model: nn.Module, seed: int = 7) -> nn.Module:
    """Weights and batch-norm statistics away from initial values, drawn so that maps keep scale."""
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
    """Random normalised clips (B, T, F, C, H, W) of a network."""
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


def limits(device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """What the machine does at best, measured: multiply-adds of a matrix product and copied bytes.

    `gmacs_per_s` of a square product in `dtype`; `gib_per_s` of a copy, its reads and writes.
    """
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device).to(dtype)
    source = torch.empty(GIB // 4 if device.type == "cuda" else GIB // 32, device=device)
    out = torch.empty_like(source)
    product_s = best_s(waiting(lambda: a @ a, device))
    copy_s = best_s(waiting(lambda: out.copy_(source), device))
    moved = 2 * source.numel() * source.element_size()
    return {"gmacs_per_s": side**3 / product_s / 1e9, "gib_per_s": moved / copy_s / GIB}


def best_s(call: Callable[[], object], rounds: int = 7) -> float:
    """The shortest of a few calls, in seconds."""
    found = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


def traffic_bytes(model: nn.Module, clips: Tensor) -> int:
    """Bytes that a pass moves at least: each convolution's input, weight and output, once."""
    moved: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        tensors = [inputs[0], output, *module.parameters(recurse=False)]
        moved.append(sum(t.numel() * t.element_size() for t in tensors))

    kinds = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, kinds)]
    with torch.inference_mode():
        model(clips)
    for handle in handles:
        handle.remove()
    return sum(moved)


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
    found = {n: p.grad for n, p in ours.named_parameters() if p.grad is not None}
    wanted = {n: p.grad for n, p in theirs.named_parameters() if p.grad is not None}
    if found.keys() != wanted.keys():
        raise AssertionError(f"gradients differ in place: {found.keys() ^ wanted.keys()}")
    away = sum(float((found[n] - wanted[n]).double().square().sum()) for n in wanted)
    return float((away / sum(float(g.double().square().sum()) for g in wanted.values())) ** 0.5)


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
