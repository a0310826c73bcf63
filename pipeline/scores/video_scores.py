"""Per-video outcomes of one row under one protocol: what paired tests and intervals are made of.

One Parquet file per (row, protocol): video_id, cluster, label, predicted, correct1, correct5, one
line per scored video, sorted by video id. A video with several labels keeps the first as `label`.
Of several trainings `correct1` and `correct5` are shares, and `predicted` is the first one's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import RecordError
from pipeline.core.parquet import write_table
from pipeline.scores.scoring import VideoScores, mean_correct, predicted, shared_videos
from pipeline.scores.statistics import Codes, Floats, cluster_codes

SCHEMA = "tdn.scores/3"
UNLABELLED = -1


@dataclass(frozen=True)
class Outcomes:
    """Arrays of equal length V, sorted by video id."""

    video_ids: tuple[str, ...]
    clusters: tuple[str, ...]
    """What a video came about together with others of: a person, a film; its id if nothing."""
    labels: npt.NDArray[np.int32]
    predicted: npt.NDArray[np.int32]
    correct1: Floats
    """The share of the row's trainings that have it right."""
    correct5: Floats

    def correct(self, metric: str | None) -> Floats | None:
        """(V,) what the mean over videos gives `metric`; None for one that is no such mean."""
        return {"top1_pct": self.correct1, "top5_pct": self.correct5}.get(metric or "")


def compare(
    scored: Mapping[str, tuple[Outcomes, str | None]],
) -> tuple[dict[str, Floats], Codes]:
    """Correctness (V,) by key, in a metric, on the videos that all have, and their clusters.

    Without those whose metric is no mean over videos; empty when no video is shared.
    """
    right = {k: v for k, (o, m) in scored.items() if (v := o.correct(m)) is not None}
    if not right:
        return {}, np.zeros(0, np.int64)
    places = shared_videos(*(scored[key][0].video_ids for key in right))
    names = scored[next(iter(right))][0].clusters
    codes = cluster_codes([names[place] for place in places[0]])
    shared = zip(right.items(), places, strict=True)
    return {key: v[at] for (key, v), at in shared if len(at)}, codes


def outcomes(
    trainings: Sequence[VideoScores], clusters: Mapping[str, str] | None = None
) -> Outcomes:
    """Who was right on which video in a row's trainings, which scored the same videos.

    A video that `clusters` does not name is one of its own.
    """
    videos = trainings[0]
    return Outcomes(
        video_ids=videos.video_ids,
        clusters=tuple((clusters or {}).get(v, v) for v in videos.video_ids),
        labels=np.array([v[0] if v else UNLABELLED for v in videos.labels], dtype=np.int32),
        predicted=predicted(videos).astype(np.int32),
        correct1=mean_correct(trainings, 1),
        correct5=mean_correct(trainings, 5),
    )


def write(path: Path, found: Outcomes) -> None:
    """Write the file whole or not at all, the same bytes for the same outcomes."""
    table = pa.table(
        {
            "video_id": pa.array(found.video_ids, pa.string()),
            "cluster": pa.array(found.clusters, pa.string()),
            "label": pa.array(found.labels),
            "predicted": pa.array(found.predicted),
            "correct1": pa.array(found.correct1),
            "correct5": pa.array(found.correct5),
        }
    ).replace_schema_metadata({"tdn.schema": SCHEMA})
    write_table(path, table)


def read(path: Path) -> Outcomes | None:
    """The outcomes a file holds, None when there is no file; RecordError when it is damaged."""
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError) as error:
        raise RecordError(
            f"unreadable: {str(error).splitlines()[0]}",
            where=path.name,
            do="score the row again: `tdn score ROW`",
        ) from None
    if (table.schema.metadata or {}).get(b"tdn.schema") != SCHEMA.encode():
        raise RecordError("not a file of scores", where=path.name, do="score the row again")
    return Outcomes(
        video_ids=tuple(table["video_id"].to_pylist()),
        clusters=tuple(table["cluster"].to_pylist()),
        labels=table["label"].to_numpy(),
        predicted=table["predicted"].to_numpy(),
        correct1=table["correct1"].to_numpy(),
        correct5=table["correct5"].to_numpy(),
    )
