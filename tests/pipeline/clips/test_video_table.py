from __future__ import annotations

import pickle
from dataclasses import replace

from pipeline.clips.video_table import VideoTable
from pipeline.store.index import Video

VIDEO = Video("v", [3, 5], ["train"], 7, 40, 340, 256, 12.0, "v.webm", "a" * 64, "b" * 64, "ok", "")


def test_a_video_comes_back_with_all_that_a_clip_needs() -> None:
    videos = [VIDEO, replace(VIDEO, video_id="w", labels=[], shard=2, status="partial")]
    table: VideoTable = pickle.loads(pickle.dumps(VideoTable(videos)))
    assert len(table) == 2
    for found, video in zip(table, videos, strict=True):
        unused = {"splits": [], "fps": None, "source": None, "reason": ""}
        digests = {"source_sha256": None, "frames_sha256": None}
        assert found == replace(video, **unused, **digests)
    assert table[-1] == table[1] and table[:1] == [table[0]]
    assert table.shards() == {"v": 7, "w": 2}


def test_a_loader_is_sent_few_bytes_for_each_video() -> None:
    videos = [replace(VIDEO, video_id=f"video-{n:06d}", labels=[n % 400]) for n in range(2000)]
    assert len(pickle.dumps(VideoTable(videos))) < 100 * len(videos)
