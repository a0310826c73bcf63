from __future__ import annotations

import json

import pytest

from pipeline.core.errors import ManifestError, UsageError
from pipeline.schema.base import validate
from pipeline.schema.dataset import Dataset, load_dataset
from tests.pipeline.samples import MANIFESTS


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (MANIFESTS / "datasets").glob("*.yaml"))
)
def test_every_manifest_is_valid_and_survives_a_plan(name: str) -> None:
    dataset = load_dataset(MANIFESTS, name)
    again = Dataset.model_validate(json.loads(dataset.model_dump_json()))
    assert again == dataset.model_copy(update={"clusters": None})
    counted = set(dataset.expected)
    for fold in dataset.folds.values():
        assert not counted or {fold.train, fold.val} <= counted


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'weizmann'"):
        load_dataset(MANIFESTS, "weizman")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qirks": []}, "did you mean 'quirks'"),
        ({"decode": {"short_side": 3}}, "did you mean 'short_side_px'"),
        ({"metric": "map"}, "metric map goes with multi_label"),
        ({"flip_pairs": [["a", "b"], ["b", "c"]]}, "names a class twice"),
        ({"layout": "list"}, "needs options.lists"),
        ({"num_classes": "101"}, "num_classes"),
        ({"folds": {"a-b": {"train": "x", "val": "y"}}}, "folds"),
    ],
)
def test_a_wrong_manifest_is_refused(changes: dict[str, object], message: str) -> None:
    good = load_dataset(MANIFESTS, "ucf101").model_dump()
    with pytest.raises(ManifestError, match=message):
        validate(Dataset, {**good, **changes}, where="manifests/datasets/ucf101.yaml")


@pytest.mark.parametrize(
    ("name", "video_id", "cluster"),
    [
        ("weizmann", "lyova_walk1", "lyova"),
        ("ucf101", "v_HandStandPushups_g07_c02", "HandStandPushups_g07"),
        ("hmdb51", "brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0", "April_09"),
        ("hmdb51", "run/Run,_Fatboy_run_f_cm_np1_ba_med_3", "Run,_Fatboy"),
        ("kinetics400", "-FIZaL1Gt0M_000192_000202", "-FIZaL1Gt0M"),
        ("kinetics400", "abc_efghijk", "abc_efghijk"),
        ("ucf101", "holiday", "holiday"),
    ],
)
def test_a_video_is_in_the_cluster_of_its_person_film_or_source(
    name: str, video_id: str, cluster: str
) -> None:
    clusters = load_dataset(MANIFESTS, name).clusters
    assert clusters is not None
    assert clusters.of(video_id) == cluster


@pytest.mark.parametrize(
    ("pattern", "message"), [("(", "not a regular expression"), ("^(.+)_", "needs a group")]
)
def test_a_pattern_that_finds_no_cluster_is_refused(pattern: str, message: str) -> None:
    clusters = {"what": "film", "pattern": pattern}
    good = load_dataset(MANIFESTS, "own_list").model_dump()
    with pytest.raises(ManifestError, match=message):
        validate(Dataset, {**good, "clusters": clusters}, where="manifests/datasets/own.yaml")


def test_clusters_reach_no_stage_but_score() -> None:
    assert "clusters" not in load_dataset(MANIFESTS, "weizmann").model_dump()
