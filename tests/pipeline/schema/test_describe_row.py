"""`tdn rows ROW`: a row as a profile runs it, and where each value comes from."""

from __future__ import annotations

import pytest

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.lineage.resolve_plans import resolve_typed
from pipeline.schema.describe_row import describe_row
from pipeline.schema.plan_models import PredictPlan, TrainPlan
from stages.networks import Catalogue
from tests.checkout import ROOT

MANIFESTS = ROOT / "manifests"


def described(profile: str, row: str) -> dict[str, tuple[str, str]]:
    return {v.name: (v.value, v.origin) for v in describe_row(MANIFESTS, profile, row)}


def test_each_value_names_the_line_it_comes_from() -> None:
    found = described("mini", "tdn_r50_8f_ssv1_stdm_mul")
    assert found["options.s_tdm_fusion"] == ("mul", "own line")
    assert found["segments"] == ("8", "base _ssv1")
    assert found["fold"] == ("default", "default")
    assert found["recipe.lr"] == ("0.05", "profile mini, schedules.from_images")
    assert found["recipe.flip"] == ("label_aware", "profile mini, schedules.from_images")
    assert found["recipe.sampling"] == ("segments_random", "recipe tdn_sthsth_8f_paper")
    assert found["recipe.crop_px"][0] == "48"
    assert found["network.width"] == ("12", "profile mini, backbones.resnet50")


def test_a_row_of_several_has_its_split_from_its_own_entry() -> None:
    found = described("paper", "featdiff_r50_hmdb51_flow_s2")
    assert found["fold"] == ("2", "own line")
    assert found["start"] == ("tsn_r50_hmdb51_flow_s2", "own line")
    assert found["dataset"] == ("hmdb51", "base _hmdb51")
    assert found["recipe.lr"][1] == "recipe featdiff_hmdb51_flow"


def test_a_base_whose_key_the_row_begins_with_is_still_a_base() -> None:
    found = described("mini", "featdiff_r50_hmdb51_rgb_s1_s3")
    assert found["segments"] == ("3", "own line")
    assert found["fold"] == ("1", "base featdiff_r50_hmdb51_rgb_s1")


@pytest.mark.parametrize("profile", ["mini", "paper"])
def test_what_is_shown_is_what_is_planned(profile: str) -> None:
    plans = resolve_typed(Workspace(ROOT, profile), Catalogue(ROOT))
    row = "tdn_r50_16f_ucf101_s2"
    train, predict = plans["train", row], plans["predict", row]
    assert isinstance(train, TrainPlan) and isinstance(predict, PredictPlan)
    found = {name: value for name, (value, _) in described(profile, row).items()}
    shown = {k.removeprefix("recipe."): v for k, v in found.items() if k.startswith("recipe.")}
    assert shown["batch"] == str(train.recipe.batch)
    assert shown["epochs"] == str(train.recipe.epochs)
    assert found["network.width"] == str(train.network.width)
    assert found["compute.eval_batch"] == str(predict.compute.eval_batch)
    assert found["start"] == train.start.source


def test_an_unknown_row_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="has no row 'tsn_r50_8f_ssv11'") as caught:
        describe_row(MANIFESTS, "mini", "tsn_r50_8f_ssv11")
    assert caught.value.do == "did you mean 'tsn_r50_8f_ssv1'?"
