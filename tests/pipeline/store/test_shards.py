from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.schema.dataset import DecodePolicy
from pipeline.sources.source import Source
from pipeline.store.shards import cut, identity, plan, recipe
from pipeline.video import ffmpeg
from tests.pipeline.samples import dataset, policy


def row(video_id: str | None, sha256: str = "a", status: str = "ok") -> Source:
    return Source(video_id, f"{video_id}.avi", [0], ["train"], 1, 9, sha256, status, "")


IDS = st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=30)


@given(IDS, st.integers(1, 7), st.randoms())
def test_the_plan_is_a_function_of_the_listing(
    ids: list[str], size: int, chance: random.Random
) -> None:
    rows = [row(video_id) for video_id in ids]
    shuffled = list(rows)
    chance.shuffle(shuffled)
    shards = plan(rows, size)
    assert shards == plan(shuffled, size)
    assert [r.video_id for shard in shards for r in shard.rows] == sorted(ids)
    assert all(len(shard.rows) == size for shard in shards[:-1])
    assert [shard.number for shard in shards] == list(range(len(shards)))


@given(IDS, st.integers(1, 7))
def test_shards_cut_from_a_stream_are_those_of_the_plan(ids: list[str], size: int) -> None:
    rows = [row(video_id) for video_id in sorted(ids)] + [row(None, status="unlisted")]
    assert list(cut(iter(rows), size)) == plan(rows, size)


def test_missing_files_keep_their_place() -> None:
    rows = [row(f"v{n}") for n in range(6)]
    gone = [row("v1", status="missing"), *rows[2:], rows[0]]
    assert [[r.video_id for r in s.rows] for s in plan(gone, 2)] == [
        [r.video_id for r in s.rows] for s in plan(rows, 2)
    ]


def test_unlisted_and_skipped_rows_are_in_no_shard() -> None:
    rows = [row("v0"), row(None, status="unlisted"), row("v1", status="skipped")]
    assert [[r.video_id for r in shard.rows] for shard in plan(rows, 2)] == [["v0"]]


def test_identity_follows_sources_policy_and_ffmpeg_only() -> None:
    base = dataset(decode=policy())
    made_by = recipe(base, "7.0")
    (shard,) = plan([row("v0"), row("v1")], 4)
    same = identity(shard, made_by, 30.0)
    relabelled = plan([row("v0"), Source("v1", "v1.avi", [5], ["test"], 1, 9, "a", "ok", "")], 4)
    assert identity(relabelled[0], made_by, 30.0) == same
    assert identity(plan([row("v0"), row("v1", "b")], 4)[0], made_by, 30.0) != same
    assert recipe(base, "7.1") != made_by
    assert recipe(dataset(decode=policy(quality=3)), "7.0") != made_by
    assert recipe(dataset(decode=policy(timeout_s=1.0, videos_per_shard=9)), "7.0") == made_by
    assert identity(shard, made_by, 31.0) != same, "a stopped video deserves the new limit"


def test_the_recipe_follows_code_that_changes_frames_but_not_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = dataset(decode=policy())
    made_by = recipe(base, "7.0")
    monkeypatch.chdir(tmp_path)
    assert recipe(base, "7.0") == made_by
    places = ("store.packed_frames", "video.jpeg_split", "video.decode_video")
    for place in (f"{module}.FORMAT" for module in places):
        with monkeypatch.context() as patch:
            patch.setattr(f"pipeline.{place}", 99)
            assert recipe(base, "7.0") != made_by, place
    true_command = ffmpeg.command

    def other(source: Path, policy: DecodePolicy, program: str) -> list[str]:
        return [*true_command(source, policy, program), "-another"]

    monkeypatch.setattr("pipeline.video.ffmpeg.command", other)
    assert recipe(base, "7.0") != made_by
