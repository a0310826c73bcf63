"""The device memory of one step of a row's training, before anything runs."""

from __future__ import annotations

from dataclasses import astuple

import torch

from pipeline.core.machine import accelerator_files
from pipeline.schema.experiments import Experiment
from pipeline.schema.profiles import Profile
from pipeline.schema.recipes import Recipe
from stages.cost import Counts
from stages.network_cost import TrainingMemory, training_memory

_CLASSES = 400
"""As of Kinetics: other classifiers differ by megabytes, and are not counted apart."""


def step_memory(
    row: Experiment, profile: Profile, recipe: Recipe, counts: Counts
) -> tuple[float, int]:
    """GiB of a step of a row's training, and the clips that it computes at once.

    Weights, gradients, momentum and the maps that are kept for the backward pass, which 16 bits
    halve; as if without `recompute`. What libraries take besides is not in it.
    """
    compute, size = profile.compute, profile.backbones[row.backbone]
    share = -(-recipe.batch // compute.workers)
    clips = min(share, compute.micro_batch or share)
    network = {
        "backbone": row.backbone,
        "num_classes": _CLASSES,
        "num_segments": row.segments,
        **size.model_dump(),
        **row.options,
    }
    name, side_px = row.architecture, profile.size_px(recipe.crop_px)
    counted = counts.look_up(
        "training_memory",
        name,
        [network, side_px],
        lambda: list(astuple(training_memory(name, network, side_px))),
    )
    needs = TrainingMemory(*counted)
    narrow = compute.precision in ("bfloat16", "float16")
    return (needs.weights + clips * needs.clip / (2 if narrow else 1)) / 2**30, clips


def device_gib(name: str) -> float | None:
    """Memory of the accelerator that a profile's `device` names; None where there is none."""
    if name == "cpu" or not accelerator_files() or not torch.cuda.is_available():
        return None
    device = torch.device("cuda:0" if name == "auto" else name)
    return float(torch.cuda.get_device_properties(device).total_memory / 2**30)
