"""`tdn bench accelerator` at a tiny size on the processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stages.bench import accelerator

ROOT = Path(__file__).resolve().parents[3]


def test_every_form_is_held_against_its_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {
        name: {
            "architecture": name.partition("_")[0], "backbone": "resnet50", "segments": 4,
            "options": {}, "num_classes": 5, "side_px": 224,
        }
        for name in ("tsn_r50_8f_ssv1", "tdn_r50_8f_ssv1")
    }  # fmt: skip
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(accelerator, "networks_of_rows", lambda work: rows)
    monkeypatch.setattr(accelerator, "peak_rates", lambda device: dict.fromkeys(RATES, 1.0))
    said: list[str] = []
    only: Any = tuple(rows)
    setting = accelerator.Setting(device="cpu", batch=(2,), rounds=1, side=48, width=8, only=only)
    report = accelerator.run(setting, said.append)
    networks = [row for row in report.rows if row["row"] != "JPEG"]
    assert {(row["row"], row["way"]) for row in networks} >= {(r, "folded") for r in rows}
    for row in networks:
        floor = max(row["arithmetic floor, ms"], row["bandwidth floor, ms"])
        assert row["of the floor"] == pytest.approx(floor / row["ms per video"])
    halves = {r["way"]: r["bandwidth floor, ms"] for r in networks if r["row"] == only[0]}
    assert halves["folded, bfloat16"] == pytest.approx(halves["folded"] / 2)
    assert report.rows[-1]["way"] == "processor" and report.rows[-1]["frames per s"] > 0
    assert len(said) == 1 + len(rows) + 1


RATES = ("float32, TFLOP/s", "TF32, TFLOP/s", "bfloat16, TFLOP/s", "copy, TB/s")


def test_the_rates_of_this_machine_have_all_types() -> None:
    rates = accelerator.peak_rates(torch.device("cpu"), size=64)
    assert tuple(rates) == RATES and min(rates.values()) > 0


def test_bytes_that_layers_move_are_counted_once_each() -> None:
    model = nn.Sequential(
        nn.Identity(), nn.Linear(4, 8), nn.ReLU(), nn.Flatten(), nn.Dropout()
    ).eval()
    # Input, output and parameters of the product; input and output of the other.
    floats = (3 * 4 + 3 * 8 + 4 * 8 + 8) + (3 * 8 + 3 * 8)
    assert accelerator.moved_bytes(model, torch.ones(3, 4)) == 4 * floats
