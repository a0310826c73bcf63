"""The device that a stage computes on, and its determinism."""

from __future__ import annotations

import os

import torch

from pipeline.core.errors import UsageError
from pipeline.core.machine import cores
from pipeline.schema.profiles import DeviceCompute


def set_up_device(compute: DeviceCompute, *, workers: int = 1, local_rank: int = 0) -> torch.device:
    """Set threads, determinism and TF32 for this process; returns the device to compute on.

    Of several workers on one machine, each has its own accelerator (`local_rank`) or its part of
    the cores. UsageError where the named accelerator is not there.
    """
    threads = compute.threads
    if workers > 1 and not threads:  # launchers set other numbers
        threads = max(1, cores() // workers)
    if threads:
        torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads memory before writing it; filling it first is a fifth of a small step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property that torch sets on the module's class
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if compute.device == "cpu" or (compute.device == "auto" and not count):
        return torch.device("cpu")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Convolutions would round by default: float32 is float32 here unless a profile says tf32.
    torch.set_float32_matmul_precision("high" if compute.precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = compute.precision == "tf32"
    _, _, number = compute.device.partition(":")
    wanted = int(number or 0) + local_rank
    if wanted >= count:
        raise UsageError(
            f"there is no accelerator {wanted} on this machine, which has {count}",
            where="compute of the profile: device, workers",
            do="name one that `nvidia-smi` lists (cuda:0 is the first), no more workers than there "
            "are, or device: cpu",
        )
    torch.cuda.set_device(wanted)
    return torch.device("cuda", wanted)


def precision(compute: DeviceCompute) -> torch.dtype:
    """The data type of forward passes."""
    narrow = {"bfloat16": torch.bfloat16, "float16": torch.float16}
    return narrow.get(compute.precision, torch.float32)
