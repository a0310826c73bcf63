from __future__ import annotations

import numpy as np
import pytest

from pipeline.reporting.figures.kernels import (
    KINDS,
    describe,
    distance,
    draw_kernels,
    measure,
    roughness,
)

RNG = np.random.default_rng(0)
VIDEOS, CHANNELS = 40, 16


def smooth(shift: float = 0.0) -> np.ndarray:
    """Values spread evenly, each video its own."""
    return RNG.uniform(0.1, 0.9, (VIDEOS, CHANNELS, 8)) + shift


def spiky(at: float) -> np.ndarray:
    return at + RNG.normal(0, 0.01, (VIDEOS, CHANNELS, 3))


def narrow() -> np.ndarray:
    return RNG.normal(0, 0.002, (200, 3))


def sample(*values: np.ndarray) -> dict[str, np.ndarray]:
    """The kinds of kernels that are given, in the order of KINDS."""
    return dict(zip(KINDS, values, strict=False))


def test_one_spike_is_as_rough_as_it_gets_and_a_wide_spread_is_not() -> None:
    assert roughness(np.full(50, 0.3)) == 2
    assert roughness(RNG.uniform(0, 1, 100_000)) < 0.15


def test_variance_across_videos_is_nought_when_every_video_is_the_same() -> None:
    same = np.repeat(RNG.uniform(0, 1, (1, CHANNELS, 8)), VIDEOS, axis=0)
    assert describe(same)["between_videos"] == 0
    assert describe(smooth())["between_videos"] > 0.9
    assert describe(narrow())["between_videos"] is None


def test_the_distance_is_how_far_values_were_shifted() -> None:
    values = smooth()
    assert distance(values, values) == 0
    assert distance(values, values + 0.25) == pytest.approx(0.25)


def test_the_texts_sentences_hold_where_the_kernels_are_as_it_says() -> None:
    place = {
        "one": sample(smooth(), spiky(0.2), narrow()),
        "two": sample(smooth(), spiky(0.6), narrow()),
    }
    found = measure({"stage": place})["stage"]
    assert [s["holds"] for s in found["sentences"]] == [True] * 5
    assert found["kernel"]["distance"] == pytest.approx(0.4, abs=0.01)
    assert found["kernel"]["distance_within"] < 0.05


def test_the_sentences_fail_where_they_are_not() -> None:
    place = {
        name: sample(spiky(0.5), smooth()[..., :3], RNG.normal(0, 1, (200, 3)))
        for name in ("one", "two")
    }
    smoother, _, narrower, differs, _ = measure({"stage": place})["stage"]["sentences"]
    assert [smoother["holds"], narrower["holds"], differs["holds"]] == [False] * 3


def test_one_data_set_alone_leaves_distances_open() -> None:
    found = measure({"stage": {"one": sample(smooth(), spiky(0.3))}})["stage"]
    assert "distance" not in found["kernel"]
    assert [s["holds"] for s in found["sentences"][2:]] == [None, None, None]


def test_a_missing_kind_leaves_no_line() -> None:
    place = {"one": sample(smooth(), spiky(0.3))}
    assert len(draw_kernels({"stage": place}).sheet.axes) == 2
