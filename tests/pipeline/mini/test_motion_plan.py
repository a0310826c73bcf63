"""Nothing but the order of frames tells the two classes of a pair apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.mini import generate
from pipeline.mini.motion_plan import ScenePlan, draw_scene, plan_scenes
from pipeline.mini.render import render
from pipeline.schema.miniature import Miniature
from tests.pipeline.mini.miniatures import MINIATURES, shipped, small

Numbers = NDArray[np.int64]


def centre_starts(frames: int, segments: int, window: int) -> Numbers:
    """First frame of each segment's window at evaluation, as the published loaders compute it."""
    tick = (frames - window + 1) / segments
    return np.array([int(tick / 2 + tick * k) for k in range(segments)])


@pytest.mark.parametrize("dataset", [name for name in MINIATURES if name != "fcvid"])
@pytest.mark.parametrize("window", [1, 5])
@pytest.mark.parametrize("segments", [8, 16])
def test_sampled_frames_are_mirror_symmetric(dataset: str, segments: int, window: int) -> None:
    last = shipped(dataset).frames - 1
    starts = centre_starts(last + 1, segments, window)
    taken = starts[:, None] + np.arange(window)
    assert np.array_equal(last - taken[::-1, ::-1], taken)


@pytest.mark.parametrize("dataset", [name for name in MINIATURES if name != "fcvid"])
def test_training_covers_a_clip_at_the_pace_of_the_test(dataset: str) -> None:
    """Training has (n - F + 1) // T places for each window; the test steps by the fraction."""
    frames = shipped(dataset).frames
    for segments in (8, 16):
        assert (frames - 4) / segments / ((frames - 4) // segments) < 1.05
        assert frames / segments / (frames // segments) < 1.2
    assert frames >= 32


def test_frame_folders_of_partners_are_each_other_reversed(tmp_path: Path) -> None:
    miniature = small("ssv1")
    generate("ssv1", miniature, tmp_path / "set", 0)
    root = tmp_path / "set" / "20bn-something-something-v1"
    rows = (tmp_path / "set" / "something-something-v1-validation.csv").read_text().splitlines()
    labels = dict(row.split(";") for row in rows)
    other = partners("ssv1", miniature)
    assert set(other) == set(labels)
    for clip, partner in other.items():
        ahead = [path.read_bytes() for path in sorted((root / clip).iterdir())]
        back = [path.read_bytes() for path in sorted((root / partner).iterdir())]
        assert ahead == back[::-1]
        pair = {labels[clip], labels[partner]}
        assert pair in [{p.forward, p.backward} for p in miniature.pairs]


def test_coded_video_of_partners_is_reversed_up_to_the_codec(tmp_path: Path) -> None:
    miniature = small("ssv2")
    generate("ssv2", miniature, tmp_path / "set", 0)
    root = tmp_path / "set" / "20bn-something-something-v2"
    clip, partner = next(iter(partners("ssv2", miniature).items()))
    ahead, back = (read(root / f"{name}.webm") for name in (clip, partner))
    assert (root / f"{clip}.webm").read_bytes() != (root / f"{partner}.webm").read_bytes()
    taken = centre_starts(miniature.frames, 8, 1)
    blind = [np.sort(video[taken].mean(axis=(1, 2)), axis=0) for video in (ahead, back)]
    assert np.abs(blind[0] - blind[1]).max() < 2.0
    assert np.abs(ahead.astype(float) - back[::-1]).mean() < 6.0


def read(path: Path) -> NDArray[np.uint8]:
    video, frames = cv2.VideoCapture(str(path)), []
    while True:
        more, frame = video.read()
        if not more:
            return np.stack(frames).astype(np.uint8)
        frames.append(frame)


@pytest.mark.parametrize("dataset", MINIATURES)
def test_fast_pairs_run_one_way_between_frames_and_neither_way_between_segments(
    dataset: str,
) -> None:
    """With 0.15 to 0.35 of a period per frame, the way over four or five frames is any."""
    for pair in shipped(dataset).pairs:
        if pair.decided_by != "adjacent":
            continue
        speeds = np.linspace(*pair.amount, 2001)
        assert np.sin(2 * np.pi * speeds).min() > 0.8
        for stride in (4, 5):
            assert abs(np.sin(2 * np.pi * stride * speeds).mean()) < 0.005


@pytest.mark.parametrize("dataset", ["ssv1", "ssv2", "kinetics400", "act", "fcvid"])
def test_subsets_share_no_object_texture_or_background(dataset: str) -> None:
    miniature = shipped(dataset)
    used: dict[str, set[int]] = {}
    for plan in plan_scenes(dataset, miniature)[::7]:
        found = draw_scene(miniature, plan)
        pool = {*found.outlines, *found.textures, found.background}
        for clip in plan.clips:
            used.setdefault(clip.subset, set()).update(pool)
    assert set(used) == set(miniature.splits)
    for one in used:
        for other in used:
            assert one == other or used[one].isdisjoint(used[other])


@pytest.mark.parametrize("dataset", ["ucf101", "hmdb51", "weizmann"])
def test_groups_share_no_object_texture_or_background(dataset: str) -> None:
    miniature = shipped(dataset)
    used: dict[int, set[int]] = {}
    for plan in plan_scenes(dataset, miniature):
        found = draw_scene(miniature, plan)
        pool = {*found.outlines, *found.textures, found.background}
        used.setdefault(plan.clips[0].group, set()).update(pool)
    assert sum(map(len, used.values())) == len(set().union(*used.values()))


@pytest.mark.parametrize("dataset", MINIATURES)
def test_ids_are_unique_and_subsets_have_the_stated_size(dataset: str) -> None:
    miniature = shipped(dataset)
    clips = [clip for plan in plan_scenes(dataset, miniature) for clip in plan.clips]
    assert len({clip.clip_id for clip in clips}) == len(clips)
    if miniature.groups is None:
        for subset, expected in miniature.expected.items():
            found = sum(clip.subset == subset for clip in clips)
            assert found + miniature.missing_rows.get(subset, 0) == expected
    assert {clip.label for clip in clips} == set(miniature.templates)


def test_scenes_do_not_depend_on_the_order_in_which_subsets_are_written() -> None:
    miniature = shipped("ssv1")
    turned = dict(reversed(miniature.splits.items()))
    assert list(turned) != list(miniature.splits)
    other = miniature.model_copy(update={"splits": turned})
    assert plan_scenes("ssv1", other) == plan_scenes("ssv1", miniature)


def test_every_kind_of_motion_moves_and_stays_in_range() -> None:
    for dataset in MINIATURES:
        miniature = shipped(dataset)
        for entry in range(len(miniature.pairs) + len(miniature.stills)):
            plan = next(plan for plan in plan_scenes(dataset, miniature) if plan.entry == entry)
            clip = render(draw_scene(miniature, plan), miniature.width_px, miniature.height_px)
            assert clip.shape == (miniature.frames, miniature.height_px, miniature.width_px, 3)
            assert clip.dtype == np.uint8
            assert 20 < clip.mean() < 235
            assert np.abs(np.diff(clip.astype(int), axis=0)).mean() > 1
            again = render(draw_scene(miniature, plan), miniature.width_px, miniature.height_px)
            assert np.array_equal(clip, again)


def partners(dataset: str, miniature: Miniature) -> dict[str, str]:
    """Clip id → id of the clip that is the same scene played backwards."""
    found: dict[str, str] = {}
    for plan in plan_scenes(dataset, miniature):
        if len(plan.clips) == 2:
            first, second = (clip.clip_id for clip in plan.clips)
            found[first], found[second] = second, first
    return found


def evaluation(dataset: str) -> list[list[ScenePlan]]:
    """The scenes of each subset that rows are scored on."""
    miniature = shipped(dataset)
    found = plan_scenes(dataset, miniature)
    if miniature.groups is None:
        closed = [name for name, split in miniature.splits.items() if split.closed_under_reversal]
        return [[plan for plan in found if plan.clips[0].subset == name] for name in closed]
    return [
        [t for t in found if t.clips[0].group in tested] for tested in miniature.groups.test_groups
    ]


@pytest.mark.parametrize("dataset", [name for name in MINIATURES if name != "fcvid"])
def test_the_stated_bound_is_one_answer_per_scene(dataset: str) -> None:
    """Blind to order, a network must answer every clip of a scene alike: one of them is right."""
    miniature = shipped(dataset)
    for scenes in evaluation(dataset):
        clips = [clip for plan in scenes for clip in plan.clips]
        assert all(len({clip.label for clip in plan.clips}) == len(plan.clips) for plan in scenes)
        assert 100 * len(scenes) / len(clips) == miniature.order_blind_bound_pct


def test_both_labels_of_a_double_change_when_it_is_played_backwards() -> None:
    miniature = shipped("fcvid")
    partner = {p.forward: p.backward for p in miniature.pairs} | {
        p.backward: p.forward for p in miniature.pairs
    }
    ((*scenes,),) = evaluation("fcvid")
    doubles = 0
    for plan in scenes:
        if len(plan.clips) == 2:
            ahead, back = (clip.labels for clip in plan.clips)
            assert back == tuple(partner.get(name, name) for name in ahead)
            assert ahead != back
        doubles += len(plan.clips[0].labels) == 2
    assert doubles == len(scenes) // 2
    orders = {p.forward: 0 for p in miniature.pairs}
    for plan in scenes:
        second = plan.clips[0].labels[1:]
        orders |= {name: orders[name] + 1 for name in second if name in orders}
    assert sum(orders.values()) not in (0, doubles)  # a second motion goes either way


def test_a_double_shows_both_motions_in_their_halves() -> None:
    miniature = shipped("fcvid")
    plan = next(t for t in plan_scenes("fcvid", miniature) if t.second is not None and t.entry == 0)
    found = draw_scene(miniature, plan)
    assert len(found.action.actors) >= 2
    half = miniature.width_px / 2
    sides = [float(np.mean(actor.x_px)) < half for actor in found.action.actors]
    assert sides[0]
    assert not any(sides[1:])
    assert render(found, miniature.width_px, miniature.height_px).shape[0] == miniature.frames


@pytest.mark.parametrize("dataset", ["act", "fcvid", "hmdb51"])
def test_the_place_fits_the_motion_and_tells_nothing_of_its_direction(dataset: str) -> None:
    miniature = shipped(dataset)
    found: dict[int, set[tuple[float, ...]]] = {}
    for plan in plan_scenes(dataset, miniature):
        tint = draw_scene(miniature, plan).tint
        assert max(map(abs, tint)) <= miniature.look.tint
        found.setdefault(plan.entry, set()).add(tint)
    assert all(len(tints) == 1 for tints in found.values())
    assert len(set().union(*found.values())) == len(miniature.pairs) + len(miniature.stills)
