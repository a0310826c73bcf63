"""One row of profile `gpu` through its stages, small enough for a processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage import resolve_plans as plan
from pipeline.schema.experiments import load_experiments
from pipeline.schema.profiles import load_profile
from stages.graph import execute
from stages.networks import Catalogue
from tdn_model.build import build_from
from tdn_model.inference import inference_copy
from tdn_model.training import predict_step
from tests.checkout import Checkout, copy_to

ROW = "tdn_r50_8f_ssv1"
GPU = "manifests/profiles/gpu.yaml"


def shrink(checkout: Checkout) -> None:
    """The profile with fewer clips and a network four channels wide; device and precision stay."""
    for pattern, replacement in (
        (r"height_px: \d+", "height_px: 64"),
        (r"train: {clips_per_class: \d+, pool: \d+}", "train: {clips_per_class: 2, pool: 4}"),
        (r"(?=flow: \[\])", "      validation: {clips_per_class: 1, pool: 4}\n"),
        (r"(\n  resnet50: ){[^}]*}", r"\1{width: 4, blocks: [1, 1, 1, 1]}"),
        (r"images: \d+, size_px: \d+, epochs: \d+", "images: 80, size_px: 48, epochs: 1"),
        (r"224: \d+, 256: \d+", "224: 48, 256: 56"),
        (r"    epochs: \d+\n    batch: \d+", "    epochs: 1\n    batch: 8"),
        (r"workers: \d+", "workers: 0"),
    ):
        checkout.edit(GPU, pattern, replacement)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A checkout whose small `gpu` profile has run one row, from its videos to its score."""
    checkout = copy_to(tmp_path_factory.mktemp("gpu"))
    shrink(checkout)
    work = Workspace(checkout.root, "gpu")
    plan.write(work, plan.resolve(work, Catalogue(checkout.root)))
    execute(work, "mini", "ssv1", workers=0)
    execute(work, "check", "ssv1")
    execute(work, "decode", "ssv1", workers=0)
    execute(work, "pretrain", "images_resnet50")
    for stage in ("train", "predict", "score"):
        execute(work, stage, ROW)
    return work


def test_a_row_runs_from_generated_videos_to_its_score(work: Workspace) -> None:
    metrics = read_json(work.metrics(ROW))
    found = metrics["protocols"]["center_1x1"]
    assert metrics["smoke"] is True
    assert found["n_scored"] == found["n_expected"] == 14
    assert read_json(work.run(ROW) / "train" / "outcome.json")["status"] == "ok"


def test_its_data_lie_apart_from_the_miniatures_and_from_a_users(work: Workspace) -> None:
    assert sorted(path.name for path in (work.root / "data").iterdir()) == ["gpu"]
    assert work.raw("ssv1", generated=True) == work.root / "data" / "gpu" / "raw" / "ssv1"
    assert read_json(work.generated("ssv1"))["subsets"] == {
        "train": 28,
        "validation": 14,
        "test": 14,
    }


def test_trained_weights_are_single_precision_on_any_machine(work: Workspace) -> None:
    weights = torch.load(work.run(ROW) / "train" / "weights.pt", weights_only=True)
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
    assert {value.device.type for value in weights.values()} == {"cpu"}


def test_its_report_is_of_the_size_that_was_generated(work: Workspace) -> None:
    about = json.loads(work.plan("report", "all").read_text("utf-8"))["params"]
    planned = json.loads(work.plan("mini", "ssv1").read_text("utf-8"))["params"]
    miniature = planned["miniature"]
    assert (miniature["width_px"], miniature["height_px"]) == (82, 64)
    assert miniature["expected"]["train"] == 28
    assert about["smoke"] is True


def test_the_profiles_networks_are_full_width_and_half_the_papers_pixels() -> None:
    root = Path(__file__).resolve().parents[2]
    found = plan.resolve(Workspace(root, "gpu"), Catalogue(root))
    train = found["train", ROW]["params"]
    assert (train["network"]["width"], train["network"]["blocks"]) == (64, [3, 4, 6, 3])
    assert train["recipe"]["crop_px"] == 112
    assert train["compute"]["precision"] == "bfloat16"
    assert found["mini", "ssv1"]["params"]["miniature"]["expected"]["train"] == 2240


@pytest.mark.parametrize(
    "row",
    [
        *(f"{name}_r50_8f_ssv1" for name in ("tsn", "tconv", "tsm", "teinet", "tea", "tdn")),
        "blvnet_tam_r50_ssv1",
        "tdn_r50_8f_ssv1_stdm_channel",
        "tdn_r50_8f_ssv1_ltdm_channel",
    ],
)
def test_a_network_predicts_in_reduced_precision_what_it_predicts_in_full(row: str) -> None:
    manifests = Path(__file__).resolve().parents[2] / "manifests"
    spec = load_experiments(manifests, load_profile(manifests, "paper"))[row]
    torch.manual_seed(0)
    keywords = {
        "backbone": spec.backbone,
        "num_classes": 5,
        "num_segments": spec.segments,
        "width": 8,
        "blocks": [1, 1, 1, 1],
        **spec.options,
    }
    model = build_from(spec.architecture, keywords).eval()
    clips = torch.randn(1, spec.segments, model.window, 3, 64, 64)
    full = predict_step(model, clips)
    copy = inference_copy(model, dtype=torch.bfloat16)
    reduced = predict_step(copy, clips, precision=torch.bfloat16)
    assert reduced.dtype == torch.float32
    torch.testing.assert_close(reduced, full, rtol=0, atol=0.05 * float(full.abs().max()))
