"""Ids of stored videos and the scenes behind them."""

from __future__ import annotations

import pytest

from pipeline.mini.clip_ids import scenes_by_id
from pipeline.schema.base import load
from pipeline.schema.miniature import Miniature
from tests.pipeline.samples import MANIFESTS


def miniature(dataset: str) -> Miniature:
    return load(Miniature, MANIFESTS / "miniatures" / f"{dataset}.yaml")


@pytest.mark.parametrize(
    ("dataset", "video_id"),
    [
        ("ucf101", "v_Biking_g01_c01"),
        ("hmdb51", "cartwheel/#437_How_To_Ride_cartwheel_f_cm_np1_ba_med_201"),
        ("weizmann", "daria_run"),
    ],
)
def test_an_id_as_the_readers_give_it_leads_to_its_scene(dataset: str, video_id: str) -> None:
    plan, clip = scenes_by_id(dataset, miniature(dataset))[video_id]
    assert clip in plan.clips


def test_a_clip_and_its_reverse_are_one_scene() -> None:
    found = scenes_by_id("ssv1", miniature("ssv1"))
    scenes = [[c.clip_id for c in plan.clips] for plan, _ in found.values() if len(plan.clips) == 2]
    first, second = scenes[0]
    assert found[first][0].pool_key == found[second][0].pool_key
    assert found[first][1].reverse is not found[second][1].reverse


def test_the_clips_of_a_group_and_class_share_their_cluster() -> None:
    found = scenes_by_id("ucf101", miniature("ucf101"))
    keys = [found[f"v_Biking_g0{g}_c0{c}"][0].pool_key for g in (1, 2) for c in (1, 2)]
    assert keys[0] == keys[1] != keys[2] == keys[3]
