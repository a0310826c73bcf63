"""Logits per view, one Parquet file per (row, protocol): a network's output, untouched.

No softmax, no averaging: how views become a video's score is decided in `pipeline.scores.scoring`,
without the network. A video that was expected but could not be scored keeps a row with its status
and no logits, so that a score can say how many were expected, scored and failed.

    N   rows of the file: one per (video, clip, crop), one per failed video
    K   classes
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.errors import DataError, RecordError
from pipeline.core.files import canonical_json
from pipeline.core.parquet import write_table
from pipeline.schema.status import USABLE

SCHEMA = "tdn.predictions/1"
OK = "ok"

_ARROW = pa.schema(
    [
        pa.field("row", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("protocol", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("labels", pa.list_(pa.int32()), nullable=False),
        pa.field("clip", pa.int32(), nullable=False),
        pa.field("crop", pa.int32(), nullable=False),
        pa.field("logits", pa.list_(pa.float32()), nullable=True),
        pa.field("status", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class ViewLogits:
    """One view of one video: logits (K,) with the video's status, `ok` or `partial`; or None with
    the status that says why there are none."""

    video_id: str
    labels: tuple[int, ...]
    clip: int = 0
    crop: int = 0
    logits: Sequence[float] | npt.NDArray[np.float32] | None = None
    status: str = OK


@dataclass(frozen=True)
class Predictions:
    """All views of one row under one protocol, sorted by (video_id, clip, crop).

    `logits` is (N, K) float32; rows whose status is not one of USABLE hold zeros, never read.
    """

    row: str
    protocol: str
    video_ids: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    clips: npt.NDArray[np.int32]
    crops: npt.NDArray[np.int32]
    logits: npt.NDArray[np.float32]
    statuses: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        return int(self.logits.shape[1])

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """(N,) which rows hold logits."""
        return np.array([status in USABLE for status in self.statuses], dtype=np.bool_)

    @property
    def views_per_video(self) -> int:
        """The largest number of views that any scored video has; 0 when none is scored."""
        counts: dict[str, int] = {}
        for video_id, status in zip(self.video_ids, self.statuses, strict=True):
            counts[video_id] = counts.get(video_id, 0) + (status in USABLE)
        return max(counts.values(), default=0)


def collect(row: str, protocol: str, views: Sequence[ViewLogits]) -> Predictions:
    """Sorted, checked predictions; a DataError for a view given twice or logits that do not fit."""
    ordered = sorted(views, key=lambda view: (view.video_id, view.clip, view.crop))
    place = f"row {row}, protocol {protocol}"
    sizes = {len(view.logits) for view in ordered if view.logits is not None}
    if len(sizes) > 1:
        raise DataError(
            f"logits of several lengths: {sorted(sizes)}",
            where=place,
            do="one network gives one number of classes",
        )
    n_classes = next(iter(sizes), 0)
    logits = np.zeros((len(ordered), n_classes), dtype=np.float32)
    seen: set[tuple[str, int, int]] = set()
    for index, view in enumerate(ordered):
        key = (view.video_id, view.clip, view.crop)
        if key in seen:
            raise DataError(f"view {key} is given twice", where=place, do="predict each view once")
        seen.add(key)
        if (view.logits is None) == (view.status in USABLE):
            raise DataError(
                f"view {key} has status '{view.status}' and "
                + ("no logits" if view.logits is None else "logits"),
                where=place,
                do="give logits exactly where the status is 'ok' or 'partial'",
            )
        if view.logits is not None:
            logits[index] = view.logits
    if not np.isfinite(logits).all():
        raise DataError(
            "the network's logits are not finite", where=place, do="lower the row's learning rate"
        )
    return Predictions(
        row=row,
        protocol=protocol,
        video_ids=tuple(view.video_id for view in ordered),
        labels=tuple(view.labels for view in ordered),
        clips=np.array([view.clip for view in ordered], dtype=np.int32),
        crops=np.array([view.crop for view in ordered], dtype=np.int32),
        logits=logits,
        statuses=tuple(view.status for view in ordered),
    )


def content_digest(predictions: Predictions) -> str:
    """sha256 over the rows' values: the same however Parquet lays them out."""
    digest = hashlib.sha256()
    digest.update(canonical_json([SCHEMA, predictions.row, predictions.protocol]))
    little = np.ascontiguousarray(predictions.logits, dtype="<f4")
    for index, status in enumerate(predictions.statuses):
        head = [
            predictions.video_ids[index],
            list(predictions.labels[index]),
            int(predictions.clips[index]),
            int(predictions.crops[index]),
            status,
        ]
        digest.update(canonical_json(head))
        if status in USABLE:
            digest.update(little[index].tobytes())
    return digest.hexdigest()


def write(path: Path, predictions: Predictions) -> str:
    """Write the file whole or not at all, the same bytes for the same rows; its content digest."""
    content = content_digest(predictions)
    n_rows = len(predictions.video_ids)
    arrays = [
        _constant(predictions.row, n_rows),
        _constant(predictions.protocol, n_rows),
        pa.array(predictions.video_ids, pa.string()),
        pa.array(predictions.labels, pa.list_(pa.int32())),
        pa.array(predictions.clips),
        pa.array(predictions.crops),
        _lists(predictions.logits, predictions.ok),
        pa.array(predictions.statuses, pa.string()),
    ]
    metadata = {
        "tdn.schema": SCHEMA,
        "tdn.content": content,
        "tdn.row": predictions.row,
        "tdn.protocol": predictions.protocol,
    }
    write_table(path, pa.Table.from_arrays(arrays, schema=_ARROW.with_metadata(metadata)))
    return content


def write_predictions(path: Path, row: str, protocol: str, views: Sequence[ViewLogits]) -> str:
    """`collect` and `write` in one; the content digest."""
    return write(path, collect(row, protocol, views))


def read(
    path: Path, *, row: str | None = None, protocol: str | None = None, verify: bool = False
) -> Predictions:
    """The predictions a file holds, which must be those of `row` and `protocol` where given.

    With `verify`, they must also fit the digest in the file, be finite, and hold the same views of
    every scored video, each once. Raises RecordError for all of that, and when the file does not
    parse or is of another schema.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise RecordError(f"there is no {path.name}", where=_place(path), do=_again(path)) from None
    except (pa.ArrowException, OSError) as error:
        raise RecordError(
            f"unreadable: {str(error).splitlines()[0]}",
            where=_place(path),
            do=f"remove the file; {_again(path)}",
        ) from None
    metadata = table.schema.metadata or {}
    found = metadata.get(b"tdn.schema", b"none").decode()
    if found != SCHEMA or not table.schema.equals(_ARROW):
        raise RecordError(
            f"schema '{found}', expected '{SCHEMA}'", where=_place(path), do=_again(path)
        )
    predictions = _from_table(table)
    wrong = ""
    for what, asked, own in (
        ("row", row, predictions.row),
        ("protocol", protocol, predictions.protocol),
    ):
        if asked not in (None, own):
            wrong = f"it holds predictions of {what} {own}, not of {asked}"
    if verify and not wrong:
        wrong = _contradiction(predictions, metadata.get(b"tdn.content", b"").decode())
    if wrong:
        raise RecordError(wrong, where=_place(path), do=_again(path))
    return predictions


def _again(path: Path) -> str:
    """The command that makes the predictions in `path` (runs/P/ROW/predict/PROTOCOL.parquet)."""
    return f"run `tdn predict {path.absolute().parent.parent.name}`"


def _contradiction(predictions: Predictions, content: str) -> str:
    """What makes predictions unfit to be scored; '' when nothing does."""
    if content_digest(predictions) != content:
        return "the rows do not match the digest in the file"
    if not np.isfinite(predictions.logits).all():
        return "logits that are not finite cannot be scored"
    views: dict[str, list[tuple[int, int]]] = {}
    positions = zip(predictions.clips.tolist(), predictions.crops.tolist(), strict=True)
    for video_id, view, status in zip(
        predictions.video_ids, positions, predictions.statuses, strict=True
    ):
        if status in USABLE:
            views.setdefault(video_id, []).append(view)
    expected = max(views.values(), key=len, default=[])
    for video_id, found in views.items():
        if len(set(found)) != len(found):
            return f"a view of video {video_id} is there twice"
        if sorted(found) != sorted(expected):
            return f"video {video_id} has other views than the rest ({len(found)} of them)"
    return ""


def _constant(value: str, count: int) -> pa.Array:
    indices = pa.array(np.zeros(count, dtype=np.int32))
    return pa.DictionaryArray.from_arrays(indices, pa.array([value]))


def _lists(logits: npt.NDArray[np.float32], ok: npt.NDArray[np.bool_]) -> pa.Array:
    """(N, K) as a list column: null where not ok."""
    ends = np.concatenate([[0], np.cumsum(ok)]).astype(np.int32) * logits.shape[1]
    values = pa.array(logits[ok].reshape(-1), pa.float32())
    return pa.ListArray.from_arrays(pa.array(ends), values, mask=pa.array(~ok))


def _from_table(table: pa.Table) -> Predictions:
    count = table.num_rows
    statuses = tuple(table["status"].to_pylist())
    ok = np.array([status in USABLE for status in statuses], dtype=np.bool_)
    flat = table["logits"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    n_ok = int(ok.sum())
    n_classes = flat.size // n_ok if n_ok else 0
    logits = np.zeros((count, n_classes), dtype=np.float32)
    logits[ok] = flat.reshape(n_ok, n_classes)
    return Predictions(
        row=table.schema.metadata[b"tdn.row"].decode(),
        protocol=table.schema.metadata[b"tdn.protocol"].decode(),
        video_ids=tuple(table["video_id"].to_pylist()),
        labels=tuple(tuple(labels) for labels in table["labels"].to_pylist()),
        clips=table["clip"].to_numpy(),
        crops=table["crop"].to_numpy(),
        logits=logits,
        statuses=statuses,
    )


def _place(path: Path) -> str:
    parts = path.parts
    return "/".join(parts[parts.index("runs") :]) if "runs" in parts else path.name
