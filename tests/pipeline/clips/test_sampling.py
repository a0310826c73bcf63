"""Sampling tables as exact integers (models.md 6.3), and what holds for every video."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips.sampling import (
    center_indices,
    dense_indices,
    dense_train_indices,
    rng_for,
    snippet_indices,
    span_indices,
    spread_indices,
    starts,
    train_indices,
    twice_indices,
    uniform_n_indices,
    views,
    window,
    windows,
)
from pipeline.schema.protocols import Protocol, SamplingKind, load_protocols
from tests.pipeline.samples import MANIFESTS

PROTOCOLS = load_protocols(MANIFESTS)
KINDS: tuple[SamplingKind, ...] = SamplingKind.__args__
N = st.integers(1, 400)
T = st.sampled_from([1, 2, 3, 4, 8, 16, 25, 32])
F = st.sampled_from([1, 2, 5])


@pytest.mark.parametrize(
    ("n", "T", "F", "expected"),
    [
        (40, 8, 5, [2, 6, 11, 15, 20, 24, 29, 33]),
        (40, 8, 1, [2, 7, 12, 17, 22, 27, 32, 37]),
        (100, 16, 5, [3, 9, 15, 21, 27, 33, 39, 45, 51, 57, 63, 69, 75, 81, 87, 93]),
        (13, 8, 5, [0, 1, 2, 3, 5, 6, 7, 8]),
        (12, 8, 5, [0] * 8),
        (5, 8, 5, [0] * 8),
        (20, 16, 5, [0] * 16),
        (21, 16, 5, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16]),
        (9, 8, 1, [0, 1, 2, 3, 5, 6, 7, 8]),
        (8, 8, 1, [0] * 8),
    ],
)
def test_center(n: int, T: int, F: int, expected: list[int]) -> None:
    assert center_indices(n, T, F).tolist() == expected


def test_center_without_the_guard_spreads_short_videos() -> None:
    assert center_indices(12, 8, 5, guarded=False).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert center_indices(8, 8, 1, guarded=False).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert center_indices(4, 8, 1, guarded=False).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert center_indices(3, 8, 5, guarded=False).tolist() == [0] * 8


def test_training_draws_one_frame_from_each_segment() -> None:
    drawn = np.array([train_indices(40, 8, 5, rng_for(0, n)) for n in range(500)])
    low, high = drawn.min(axis=0), drawn.max(axis=0)
    assert low.tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert high.tolist() == [3, 7, 11, 15, 19, 23, 27, 31]


def test_training_on_short_videos() -> None:
    drawn = np.array([train_indices(10, 8, 5, rng_for(0, n)) for n in range(500)])
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert (drawn.min(), drawn.max()) == (0, 5)
    assert len(np.unique(drawn)) == 6
    for n in (1, 4, 8):
        assert train_indices(n, 8, 5, rng_for(0)).tolist() == [0] * 8
    assert train_indices(4, 3, 5, rng_for(0)).tolist() == [0, 0, 0]


def test_window_repeats_the_last_frame() -> None:
    assert window(2, 5, 40).tolist() == [2, 3, 4, 5, 6]
    assert window(2, 5, 4).tolist() == [2, 3, 3, 3, 3]
    assert window(0, 5, 1).tolist() == [0] * 5
    assert windows(np.array([0, 6]), 3, 8).tolist() == [[0, 1, 2], [6, 7, 7]]


def test_twice() -> None:
    assert twice_indices(40, 8, 1, 0).tolist() == [2, 7, 12, 17, 22, 27, 32, 37]
    assert twice_indices(40, 8, 1, 1).tolist() == [0, 5, 10, 15, 20, 25, 30, 35]


def test_uniform_n() -> None:
    assert uniform_n_indices(160, 8, 1, 0, 10).tolist() == [0, 20, 40, 60, 80, 100, 120, 140]
    assert uniform_n_indices(160, 8, 1, 4, 10).tolist() == [8, 28, 48, 68, 88, 108, 128, 148]
    assert uniform_n_indices(160, 8, 1, 9, 10).tolist() == [19, 39, 59, 79, 99, 119, 139, 159]
    assert uniform_n_indices(5, 8, 1, 9, 10).tolist() == [0, 0, 1, 1, 2, 3, 3, 4]


def test_spread_covers_the_segment_evenly() -> None:
    clips = [spread_indices(84, 8, 5, clip, 10)[0] for clip in range(10)]
    assert clips == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert spread_indices(40, 8, 5, 0, 1).tolist() == center_indices(40, 8, 5).tolist()


def test_dense() -> None:
    assert dense_indices(300, 8, 0, 10).tolist() == [0, 8, 16, 24, 32, 40, 48, 56]
    assert dense_indices(300, 8, 9, 10).tolist() == [236, 244, 252, 260, 268, 276, 284, 292]
    assert dense_indices(300, 8, 3, 10)[0] == 78
    assert dense_indices(300, 16, 0, 10).tolist() == list(range(0, 64, 4))
    assert dense_indices(40, 8, 9, 10).tolist() == [0, 8, 16, 24, 32, 0, 8, 16]


def test_dense_as_tam_places_it() -> None:
    assert dense_indices(300, 8, 0, 1, tam=True)[0] == 118  # P = 237
    assert dense_indices(300, 12, 9, 10, tam=True)[0] == 240  # stride 5: P = 241
    assert dense_indices(300, 12, 9, 10)[0] == 236
    assert dense_indices(30, 8, 0, 1, tam=True).tolist() == [0, 8, 16, 24, 2, 10, 18, 26]


def test_dense_training_never_starts_at_the_last_place() -> None:
    drawn = {int(dense_train_indices(67, 8, rng_for(0, n))[0]) for n in range(200)}
    assert drawn == {0, 1, 2}
    assert dense_train_indices(64, 8, rng_for(0)).tolist() == [0, 8, 16, 24, 32, 40, 48, 56]
    assert dense_train_indices(10, 8, rng_for(0)).tolist() == [0, 8, 6, 4, 2, 0, 8, 6]


def test_spans() -> None:
    assert span_indices(300, 8, 5, 10, 8).tolist() == [118, 126, 134, 142, 150, 158, 166, 174]
    assert span_indices(20, 4, 9, 10, 8).tolist() == [0, 8, 16, 19]


def test_snippets_are_in_order_and_reach_everywhere() -> None:
    drawn = np.array([snippet_indices(30, 25, 5, rng_for(0, n)) for n in range(200)])
    assert drawn.shape == (200, 25)
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert (drawn.min(), drawn.max()) == (0, 25)


@given(st.sampled_from(KINDS), N, T, F, st.integers(0, 9), st.integers(0, 2**31))
def test_every_rule_stays_inside_every_video(
    kind: SamplingKind, n: int, T: int, F: int, clip: int, seed: int
) -> None:
    first = starts(kind, n, T, F, clip=clip, clips=10, rng=rng_for(seed), stride=3)
    assert first.shape == (T,)
    assert 0 <= first.min() <= first.max() < n
    frames = windows(first, F, n)
    assert frames.shape == (T, F)
    assert 0 <= frames.min() <= frames.max() < n
    assert (frames[:, 0] == first).all()
    assert set(np.diff(frames, axis=1).ravel().tolist()) <= {0, 1}


@given(N, T, F, st.integers(0, 2**31))
def test_segment_rules_keep_the_order_of_time(n: int, T: int, F: int, seed: int) -> None:
    for first in (
        center_indices(n, T, F),
        train_indices(n, T, F, rng_for(seed)),
        spread_indices(n, T, F, 3, 10),
        snippet_indices(n, T, F, rng_for(seed)),
    ):
        assert (np.diff(first) >= 0).all()


@given(st.integers(13, 400))
def test_center_is_the_authors_formula(n: int) -> None:
    tick = (n - 5 + 1) / 8.0
    expected = [int(tick / 2.0 + tick * k) for k in range(8)]
    assert center_indices(n, 8, 5).tolist() == expected


def test_no_frames_and_no_such_clip_are_errors() -> None:
    with pytest.raises(ValueError, match="without frames"):
        starts("dense", 0, 8, 1, clip=0, clips=1, rng=rng_for(0))
    with pytest.raises(ValueError, match="clip 2 of 2"):
        starts("dense", 9, 8, 1, clip=2, clips=2, rng=rng_for(0))


def test_randomness_depends_on_its_parts_alone() -> None:
    assert rng_for(0, "a", 1).integers(1 << 30) == rng_for(0, "a", 1).integers(1 << 30)
    different = {rng_for(*parts).integers(1 << 60) for parts in (
        (0, "a", 1), (1, "a", 1), (0, "a", 2), (0, "b", 1), (0, "a1"), (0, "a", "1", ""),
    )}  # fmt: skip
    assert len(different) == 6
    assert rng_for(0, "video").integers(1000) == 990  # pinned: results depend on it


@pytest.mark.parametrize("name", PROTOCOLS)
@given(n=N)
def test_protocols_give_the_views_they_name(name: str, n: int) -> None:
    protocol = PROTOCOLS[name]
    found = views(protocol, n, 8, 5, "some/video", 0)
    assert [clip for clip, _ in found] == list(range(protocol.clips))
    for _, frames in found:
        assert frames.shape == (protocol.segments or 8, 5)
        assert frames.max() < n
    again = views(protocol, n, 8, 5, "some/video", 0)
    assert all((a[1] == b[1]).all() for a, b in zip(found, again, strict=True))


def test_random_protocols_differ_by_video_clip_and_seed() -> None:
    protocol = PROTOCOLS["official_tdn_10x3"]
    one, two = views(protocol, 300, 8, 5, "a", 0), views(protocol, 300, 8, 5, "b", 0)
    assert (one[0][1] != two[0][1]).any()
    assert (one[0][1] != one[1][1]).any()
    assert (one[0][1] != views(protocol, 300, 8, 5, "a", 1)[0][1]).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": 2}, "one clip"),
        ({"seeded": True}, "seeded"),
        ({"crop_px": 300}, "larger than resize_px"),
        ({"sampling": "twice"}, "two clips"),
    ],
)
def test_protocols_that_contradict_themselves_are_refused(
    changes: dict[str, object], message: str
) -> None:
    good = PROTOCOLS["center_1x1"].model_dump()
    with pytest.raises(ValueError, match=message):
        Protocol.model_validate({**good, **changes})
