"""A twin's manifest must agree with itself."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from pipeline.errors import ManifestError
from pipeline.manifest_base import read_yaml, validate
from pipeline.manifest_twin import Kind, Twin
from pipeline.mini.motions import KINDS
from tests.pipeline.mini.twins import SHIPPED, shipped


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_twins_are_valid(path: Any) -> None:
    shipped(path.stem)


def test_ssv1_has_enough_validation_clips_and_a_bound_of_half() -> None:
    twin = shipped("ssv1")
    assert twin.expected["validation"] >= 1200
    assert twin.order_blind_bound_pct == 50
    assert twin.splits["validation"].closed_under_reversal


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
        validate(Twin, value, where="manifests/twins/ssv1.yaml")


def test_an_unknown_kind_is_named_with_the_known_ones() -> None:
    value = read_yaml(SHIPPED / "ssv1.yaml")
    value["pairs"][0] |= {"kind": "slid"}
    with pytest.raises(ManifestError, match=r"pairs\.0.kind: Input should be 'appear'"):
        validate(Twin, value, where="manifests/twins/ssv1.yaml")


def test_every_kind_can_be_drawn() -> None:
    assert set(get_args(Kind)) == set(KINDS)
