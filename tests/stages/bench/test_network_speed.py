"""`tdn bench model` at a tiny size: it agrees with the reference, measures and reports."""

from __future__ import annotations

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


def test_every_form_is_measured_beside_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = network_speed.Setting(
        batch=(1,), rounds=1, segments=2, side=64, width=8, compiled=False
    )
    monkeypatch.setattr(network_speed, "MEMORY_RUNS", 1)
    report = network_speed.run(setting, lambda line: None)
    assert report.name == "model.cpu"
    by_kind: dict[str, set[str]] = {}
    for row in report.rows:
        by_kind.setdefault(row["what"], set()).add(row["way"])
        assert row["ms per video"] > 0
        assert ("peak MiB" in row) == (row["what"] == "training step")
    assert by_kind["training step"] == {"reference", "our network"}
    assert {"reference", "as trained", "folded", "folded, bfloat16"} <= by_kind["evaluation"]
    assert report.settings["multiply-adds per video, G"] > 0
