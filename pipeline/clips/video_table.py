"""Videos as columns: what a process that loads clips is sent in place of an object for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import pyarrow as pa

from pipeline.store.index import COLUMNS, Video

_SENT = ("video_id", "labels", "shard", "n_frames", "width_px", "height_px", "status")
_SCHEMA = pa.schema([COLUMNS.field(name) for name in _SENT])
_NOT_SENT: dict[str, Any] = {"splits": [], "reason": ""} | dict.fromkeys(
    ("fps", "source", "source_sha256", "frames_sha256")
)


class VideoTable(Sequence[Video]):
    """Videos of an index without what no clip needs (digests, source, rate): 60 bytes each."""

    def __init__(self, videos: Sequence[Video]) -> None:
        columns = {name: [getattr(video, name) for video in videos] for name in _SENT}
        self._table = pa.table(columns, schema=_SCHEMA)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> list[Video]: ...
    def __getitem__(self, index: int | slice) -> Video | list[Video]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        row: dict[str, Any] = self._table.slice(range(len(self))[index], 1).to_pylist()[0]
        return Video(**row, **_NOT_SENT)

    def shards(self) -> dict[str, int]:
        """The shard of each video."""
        return dict(
            zip(*(self._table[name].to_pylist() for name in ("video_id", "shard")), strict=True)
        )
