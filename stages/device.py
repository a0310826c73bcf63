"""The device that a stage computes on, and its determinism."""

from __future__ import annotations

import os

import torch

from pipeline.schema.profiles import TrainingCompute


def set_up_device(compute: TrainingCompute) -> torch.device:
    """Set threads and determinism for this process; returns the device to compute on."""
    if compute.threads:
        torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Nothing here reads memory before writing it; filling it first is a fifth of a small step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a property that torch sets on the module's class
    if compute.device == "auto" and torch.cuda.is_available():
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        return torch.device("cuda")
    return torch.device("cpu")


def precision(compute: TrainingCompute) -> torch.dtype:
    """The data type of forward passes."""
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[compute.precision]
