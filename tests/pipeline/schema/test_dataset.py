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
    assert Dataset.model_validate(json.loads(dataset.model_dump_json())) == dataset
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
