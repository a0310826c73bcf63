"""A miniature's manifest must agree with itself."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from pipeline.core.errors import ManifestError
from pipeline.mini.motions import KINDS
from pipeline.schema.base import read_yaml, validate
from pipeline.schema.miniature import Growth, Kind, Miniature, grown
from tests.pipeline.mini.miniatures import SHIPPED, shipped


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_miniatures_are_valid(path: Any) -> None:
    shipped(path.stem)


def test_ssv1_has_enough_validation_clips_and_a_bound_of_half() -> None:
    miniature = shipped("ssv1")
    assert miniature.expected["validation"] >= 1200
    assert miniature.order_blind_bound_pct == 50
    assert miniature.splits["validation"].closed_under_reversal


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expected": {"train": 1, "validation": 1, "test": 1}}, "does not add up"),
        ({"flip_pairs": []}, "flip_pairs must name"),
        ({"order_blind_bound_pct": 40.0}, "order_blind_bound_pct must be 50.00"),
        ({"splits": {}}, "either splits or groups"),
        ({"sede": 1}, "unknown key; did you mean 'seed'"),
        ({"seed": "one"}, "seed: Input should be a valid integer"),
    ],
)
def test_contradictions_are_named(change: dict[str, Any], message: str) -> None:
    value = read_yaml(SHIPPED / "ssv1.yaml") | change
    with pytest.raises(ManifestError, match=message):
        validate(Miniature, value, where="manifests/miniatures/ssv1.yaml")


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    value = read_yaml(SHIPPED / "ssv1.yaml")
    value["pairs"][0] |= {"kind": "slid"}
    with pytest.raises(ManifestError, match=r"pairs\.0.kind: Input should be 'appear'"):
        validate(Miniature, value, where="manifests/miniatures/ssv1.yaml")


def test_every_kind_can_be_drawn() -> None:
    assert set(get_args(Kind)) == set(KINDS)


def grow(dataset: str, **change: Any) -> Miniature:
    growth = validate(Growth, change, where="growth")
    return grown(shipped(dataset), growth, where="manifests/profiles/gpu.yaml, miniatures.ssv1")


def test_a_grown_miniature_keeps_its_motions_in_proportion() -> None:
    small, large = shipped("ssv1"), grow("ssv1", height_px=112)
    assert (large.width_px, large.height_px) == (2 * small.width_px, 2 * small.height_px)
    assert large.look.camera_jitter_px == 2 * small.look.camera_jitter_px
    assert [p.shake_px for p in large.pairs] == [2 * p.shake_px for p in small.pairs]
    assert [p.amount for p in large.pairs] == [p.amount for p in small.pairs]
    assert (large.frames, large.expected) == (small.frames, small.expected)


def test_a_miniature_with_more_clips_expects_them() -> None:
    large = grow("ssv1", splits={"train": {"clips_per_class": 160}})
    assert large.expected == {"train": 2240, "validation": 1232, "test": 14}
    assert large.splits["train"].pool == shipped("ssv1").splits["train"].pool


@pytest.mark.parametrize(
    ("dataset", "change", "hint"),
    [
        ("ssv1", {"splits": {"trian": {"pool": 9}}}, "did you mean 'train'"),
        ("ucf101", {"splits": {"train": {"pool": 9}}}, "its subsets follow groups"),
    ],
)
def test_a_subset_that_the_miniature_lacks_is_named(
    dataset: str, change: dict[str, Any], hint: str
) -> None:
    with pytest.raises(ManifestError, match="no subset") as caught:
        grow(dataset, **change)
    assert hint in caught.value.do
    assert caught.value.where.startswith("manifests/profiles/gpu.yaml")


def test_a_size_that_no_miniature_may_have_is_refused() -> None:
    with pytest.raises(ManifestError, match="width_px"):
        grow("ssv1", height_px=500)
