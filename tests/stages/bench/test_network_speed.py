"""`tdn bench model` at a tiny size: it agrees with the reference, measures and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.core.errors import UsageError
from stages.bench import network_speed
from stages.bench.measures import difference, fill_, gradient_difference, pick_device, training_step
from stages.bench.reference_tdn import ReferenceTDN
from tests.tdn_model.helpers import clips, make


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(**options: Any) -> Any:
    options = {"width": 8, "blocks": (1, 2, 1, 1), "dropout": 0.0, **options}
    return fill_(make("tdn", num_classes=5, num_segments=4, **options))


def test_the_reference_is_the_same_function() -> None:
    model = tiny().double().eval()
    x = clips(model, size=(70, 64), dtype=torch.float64)
    with torch.inference_mode():
        assert difference(ReferenceTDN(model).eval()(x), model(x)) < 1e-9


def test_the_reference_trains_to_the_same_gradients_and_statistics() -> None:
    ours = tiny().double().train()
    theirs = ReferenceTDN(ours).train()
    x = clips(ours, size=(64, 64), dtype=torch.float64)
    for model in (ours, theirs):
        training_step(model, x)()
    assert gradient_difference(ours, theirs.net) < 1e-9
    wanted = theirs.net.state_dict()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=1e-9, atol=1e-12)


def test_the_reference_takes_the_released_network_alone() -> None:
    with pytest.raises(ValueError, match="released"):
        ReferenceTDN(tiny(variant="printed"))


def test_an_absent_accelerator_is_refused() -> None:
    with pytest.raises(UsageError, match="unknown device"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no CUDA"):
            pick_device("cuda")


def test_the_benchmark_writes_rows_and_targets(tmp_path: Path) -> None:
    setting = network_speed.Setting(
        device=torch.device("cpu"),
        batches=(1, 2),
        rounds=1,
        step_rounds=1,
        train_batch=2,
        segments=2,
        side_px=64,
        width=8,
        compiled=False,
    )
    network_speed.run(setting, tmp_path, lambda line: None)
    report = json.loads((tmp_path / "model.cpu.json").read_text())
    kinds = {row["what"] for row in report["rows"]}
    assert kinds == {"evaluation", "training step"}
    ways = {row["way"] for row in report["rows"] if row["what"] == "evaluation"}
    assert {"reference", "our network", "folded", "folded, bfloat16"} <= ways
    assert all(row["ms per video"] > 0 for row in report["rows"])
    goals = {goal["what"]: goal for goal in report["targets"]}
    assert goals["torch.compile, batch 1"]["met"] is None
    assert goals["torch.compile, batch 1"]["reason"] == "left out"
    assert isinstance(goals["training step at equal gradients"]["met"], bool)
    assert "| training step |" in (tmp_path / "model.cpu.md").read_text()
