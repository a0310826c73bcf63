"""A tiny data set through the real stages: frame folders in, a frame store out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.workspace import Workspace
from stages import check, decode, pretrain
from tests.pipeline import samples

LABELS = ["Holding something", "Pushing something"]
RECIPE = {
    "unit": "epochs",
    "epochs": 3,
    "phase1_epochs": 0,
    "batch": 4,
    "lr": 0.05,
    "decay": "cosine",
    "milestones": [2],
    "warmup_epochs": 0.0,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "dropout": 0.5,
    "clip_norm": 20.0,
    "flip": "plain",
    "crop": "multi_scale",
    "colour_jitter": False,
    "crop_px": 224,
    "sampling": "segments_random",
    "partial_bn": False,
    "group_rates": "tsn",
}


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose `ssv1` has nine training and four validation videos, one without files."""
    root = tmp_path_factory.mktemp("root")
    work = Workspace(root)
    videos = {
        str(100 + n): ("train" if n < 9 else "validation", LABELS[n % 2], 10 + n) for n in range(13)
    }
    samples.something_v1(work.raw("ssv1"), videos, LABELS)
    for file in (work.raw("ssv1") / "20bn-something-something-v1" / "112").iterdir():
        file.unlink()
    dataset = samples.dataset("ssv1", max_failed_fraction=0.5, num_classes=2)
    params = {"dataset": dataset.model_dump(mode="json"), "generated": True}
    check.run(work, "ssv1", params=params)
    decode.run(work, "ssv1", params=params, workers=0)
    return root


@pytest.fixture
def work(store: Path, tmp_path: Path) -> Workspace:
    """A workspace of its own runs over a copy of the frame store."""
    shutil.copytree(store / "data" / "mini" / "frames", tmp_path / "data" / "mini" / "frames")
    work = Workspace(tmp_path)
    pretrain.run(work, "scratch", params={"kind": "scratch", "backbones": {}})
    return work


def params(row: str = "row", architecture: str = "tsn", **recipe: Any) -> dict[str, Any]:
    """What `plan` would hand to the train and predict stages of a tiny row."""
    protocol = {
        "title": "1 clip × 1 crop",
        "sampling": "segments_center",
        "clips": 1,
        "crops": "center",
        "resize_px": 256,
        "crop_px": 224,
        "aggregate": "mean_logits",
        "segments": None,
        "stream": "both",
        "source": "test",
    }
    return {
        "row": row,
        "profile": "mini",
        "smoke": True,
        "sizes_px": {"224": 32, "256": 36},
        "data": {
            "name": "ssv1",
            "input": "frames",
            "fold": "default",
            "generated": True,
            "obtain": "put the frame folders there",
            "train": "train",
            "val": "validation",
            "multi_label": False,
            "num_classes": 2,
            "flip_pairs": [],
        },
        "model": {
            "architecture": architecture,
            "backbone": "resnet50",
            "segments": 4,
            "width": 4,
            "blocks": [1, 1, 1, 1],
            "options": {},
        },
        "recipe": {**RECIPE, **recipe},
        "start": {"kind": "scratch", "from": "scratch", "images": False},
        "seeds": 1,
        "protocols": {"center_1x1": protocol},
        "seed": 0,
        "compute": {
            "device": "cpu",
            "precision": "float32",
            "threads": 1,
            "loader_workers": 0,
            "cache_mb": 64,
            "eval_batch": 2,
        },
    }
