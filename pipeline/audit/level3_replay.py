"""Level 3: a sample of test videos, decoded from their source and predicted once more.

The sample is drawn from the split, by a number that the auditor chooses: of the videos that the row
got wrong, got right and could not score, each their share and at least one. Decoding is repeated
from the raw files (byte for byte with the same ffmpeg), predicting from the stored frames and the
weights as they are, in the row's own precision. What lies here is enough: without raw data, weights
and store are replayed alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.audit import level2_figures
from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status, some
from pipeline.audit.replay_sample import FORGED, Row, Sample, draw
from pipeline.audit.shadow import link_in, shadow_of
from pipeline.audit.stage_runner import StageRunner
from pipeline.core.errors import TdnError, stage_command
from pipeline.core.files import read_strict_json
from pipeline.core.parquet import write_table
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.lineage.evidence import Run, environment
from pipeline.lineage.records import observe
from pipeline.schema.status import USABLE
from pipeline.scores import predictions
from pipeline.store.index import FrameIndex, read_index, write_index, write_rows
from pipeline.store.lmdb_store import ShardFile

TOLERANCE = 1e-3
"""How far a logit in single precision may move, absolutely and relative to itself."""

BFLOAT16_TOLERANCE = 2e-2
"""How far a bfloat16 logit may move, relative to the largest logit of the sample."""
# A bfloat16 has 8 significant bits: its last digit is 0.4 to 0.8 % of it, and the rounding of every
# layer's maps moves small logits by as much as large ones. Computed in another order (convolutions
# with and without their batch normalisation folded in), logits of three untrained ResNet-50s moved
# by 0.7 to 1.0 % of the largest on a processor. The sample is a smaller batch than the row's was.


def check(context: Context, sample: Sample, seed: int) -> Iterator[Link]:
    """Replay test videos of each row in scope, drawn by `seed` and the row's name."""
    predicted = [run for run in context.runs() if _predicts(context, run)]
    rows: list[Row] = []
    for run in predicted:
        absent = _absent(context, run)
        if absent is not None:
            yield absent
            continue
        try:
            rows.append(draw(context, run, sample, seed))
        except (TdnError, OSError, ValueError, KeyError, pa.ArrowException) as error:
            yield _unreadable(run, error)
    yield _told(context, rows, len(predicted), seed)
    if context.tools.again is None:
        return
    chosen: dict[str, set[str]] = {}
    for row in rows:
        for name in _makers(context, row.run):
            chosen.setdefault(name, set()).update(row.videos)
    for name in context.evidence.in_order(chosen):
        yield from _store_again(context, context.evidence.runs[name], chosen[name])
    for row in rows:
        yield from _row_again(context, row)
    with StageRunner(context.tools.again) as runner:
        yield from level2_figures.Figures(context, Level.REPLAY, runner).compared()


def _predicts(context: Context, run: Run) -> bool:
    return run.stage in context.tools.sampled and any(
        made.role == "predictions" for made in run.outputs
    )


def _absent(context: Context, run: Run) -> Link | None:
    """Why a row cannot be replayed here: without weights, store or predictions."""
    paths = [read.path for read in run.inputs] + [made.path for made in run.outputs]
    for path in paths:
        if not context.place(path).exists():
            return context.absent(Level.REPLAY, f"record:{run.name}", path, None)
    return None


def _makers(context: Context, run: Run) -> Iterator[str]:
    """The runs that made the store of a row, and the frames that its flow is of."""
    for read in run.inputs:
        name = context.evidence.maker(read.path)
        if read.path.endswith("/index.json") and name is not None:
            yield name
            yield from _makers(context, context.evidence.runs[name])


def _told(context: Context, rows: list[Row], predicted: int, seed: int) -> Link:
    """What was drawn, and how likely a forgery is to be missed."""
    drawn, total = sum(len(row.videos) for row in rows), sum(row.total for row in rows)
    detail = f"seed {seed}: {drawn} of {total} test videos of {len(rows)} of {predicted} rows"
    if rows:
        worst = [max(row.missed[i] for row in rows) for i in range(len(FORGED))]
        words = [f"{k} videos {100 * m:.3g} %" for k, m in zip(FORGED, worst, strict=True)]
        detail += f"; a forgery of one row is missed with a chance of at most: {', '.join(words)}"
    status = Status.OK if len(rows) == predicted else Status.UNAVAILABLE
    path = context.work.relative(context.work.run("x").parent)
    return Link(Level.REPLAY, "sample", "drawn from the splits", path, status, detail=detail)


def _store_again(context: Context, run: Run, videos: Collection[str]) -> Iterator[Link]:
    """Decode some videos of a data set once more (or compute their flow), and compare."""
    params = dict(context.params(run))
    assert context.tools.again is not None
    with shadow_of(context.work) as shadow:
        try:
            if any(read.path.endswith("/index.json") for read in run.inputs):  # flow, of frames
                _cut(read_index(context.work.frames(run.key)), shadow.frames(run.key), videos)
            elif (absent := _reduce(context, shadow, run, videos, params)) is not None:
                yield absent
                return
            context.tools.again(shadow, run.stage, run.key, params)
            yield from _frames(context, shadow, run)
        except Exception as error:  # a stage may stumble in any way over what was forged
            yield _unreadable(run, error)


def _row_again(context: Context, row: Row) -> Iterator[Link]:
    """Predict a row's sample once more and compare.

    Batches of a sample are not those of the row, which may move the last bits. Where this machine
    is said to have made the row, all of it is then predicted again, in its own batches: now every
    bit must agree.
    """
    try:
        links = list(_logits(context, row, row.videos, exact=False))
        inexact = any(
            link.status is Status.OK and "bit for bit" not in link.detail for link in links
        )
        if inexact and _this_machine(context, row.run):
            every = frozenset(video.video_id for video in row.index.split(row.plan.split))
            links = list(_logits(context, row, every, exact=True))
        yield from links
    except Exception as error:  # a stage may stumble in any way over what was forged
        yield _unreadable(row.run, error)


def _this_machine(context: Context, run: Run) -> bool:
    """Whether a run's record says versions and a processor that are those of this machine."""
    said = environment(context.evidence.observed(run.name) or {})
    return said == environment(observe(context.work, datetime.now(UTC), []))


def _cut(index: FrameIndex, folder: Path, videos: Collection[str]) -> None:
    """A store that lists `videos` alone, on the shards of another."""
    folder.mkdir(parents=True)
    for shard in index.about["shards"]:
        link_in(index.folder.absolute() / shard["name"], folder / shard["name"])
        record = Path(shard["name"]).with_suffix(".json")
        link_in(index.folder.absolute() / record, folder / record)
    kept = write_rows(folder, (v for v in index.videos if v.video_id in videos))
    shards = [ShardFile(**shard) for shard in index.about["shards"]]
    write_index(folder, kept, shards, dict(index.about))


def _reduce(
    context: Context, shadow: Workspace, run: Run, videos: Collection[str], params: dict[str, Any]
) -> Link | None:
    """A ledger that lists `videos` alone, beside the raw data; a link where these are absent."""
    work, generated = context.work, bool(params["generated"])
    raw, sources = work.raw(run.key, generated=generated), work.sources(run.key)
    for path in (raw, sources, sources.with_suffix(".parquet")):
        if not path.exists():
            return context.absent(Level.REPLAY, f"record:{run.name}", work.relative(path), None)
    table = pq.read_table(sources.with_suffix(".parquet"))
    kept = table.filter(pc.is_in(table["video_id"], pa.array(sorted(videos))))
    write_table(shadow.sources(run.key).with_suffix(".parquet"), kept)
    link_in(sources, shadow.sources(run.key))
    link_in(raw, shadow.raw(run.key, generated=generated))
    # Failed videos are in the sample more often than in the data set.
    params["dataset"] = {**params["dataset"], "max_failed_fraction": 1.0}
    return None


def _frames(context: Context, shadow: Workspace, run: Run) -> Iterator[Link]:
    """Are the stored frames of the sample those that its sources give?"""
    made = next(made for made in run.outputs if made.path.endswith("/index.json"))
    before, after = (
        read_strict_json(context.place(made.path)),
        read_strict_json(shadow.root / made.path),
    )
    for tool in ("ffmpeg", "opencv"):
        if before.get(tool) != after.get(tool):
            detail = f"made by {tool} {before.get(tool)}, here is {after.get(tool)}: their frames "
            yield _link(run, made.path, Status.UNAVAILABLE, detail + "cannot be compared")
            return
    new = _stored((shadow.root / made.path).parent)
    old = _stored(context.place(made.path).parent)
    wrong = sorted(name for name, facts in new.items() if old.get(name) != facts)
    for name in wrong:
        detail = f"{name}: its source gives other frames, or another status, than the store has"
        digests = ((old.get(name) or (None,))[0], new[name][0])
        yield _link(run, made.path, Status.REPLAY_MISMATCH, detail, *digests)
    if not wrong:
        yield _link(run, made.path, Status.OK, f"frames of {len(new)} videos byte for byte")


def _stored(folder: Path) -> dict[str, tuple[str | None, str]]:
    return {v.video_id: (v.frames_sha256, v.status) for v in read_index(folder).videos}


def _logits(context: Context, row: Row, videos: Collection[str], *, exact: bool) -> Iterator[Link]:
    """Does the network say of some videos what its predictions have? One link per file."""
    assert context.tools.again is not None
    plan = row.plan
    with shadow_of(context.work) as shadow:
        _cut(row.index, shadow.store(plan.data.name, plan.data.input), videos)
        link_in(context.work.run(plan.row) / "train", shadow.run(plan.row) / "train")
        context.tools.again(shadow, row.run.stage, row.run.key, dict(context.params(row.run)))
        for name in plan.protocols:
            for number in range(plan.seeds):
                file = f"{name}{seed_suffix(number)}.parquet"
                path = context.work.run(plan.row) / "predict" / file
                place = context.work.relative(path)
                both = predictions.read(path), predictions.read(shadow.root / place)
                before, after = (_views(found, videos) for found in both)
                limits = tolerances(
                    plan.compute.precision, float(np.abs(both[1].logits).max(initial=0.0))
                )
                yield compare(row.run, place, before, after, (0.0, 0.0) if exact else limits)


def compare(run: Run, place: str, before: Views, after: Views, limits: tuple[float, float]) -> Link:
    """Views, labels and statuses both ways; logits within relative and absolute limits."""
    relative, absolute = limits
    wrong = {key[0]: "other views" for key in before.keys() ^ after.keys()}
    largest, flips = 0.0, 0
    for key in before.keys() & after.keys():
        (a, *facts), (b, *again) = before[key], after[key]
        if facts != again:
            wrong[key[0]] = "another label or status"
        elif facts[1] not in USABLE:
            continue
        elif a.shape != b.shape or not np.allclose(a, b, rtol=relative, atol=absolute):
            wrong[key[0]] = "other logits"
        else:
            largest = max(largest, float(np.abs(a - b).max(initial=0.0)))
            flips += int(a.argmax() != b.argmax())
    if wrong:
        words = [f"{name} ({what})" for name, what in sorted(wrong.items())]
        detail = f"predicting again gives another result for {some(words, 4, ', ')}"
        return _link(run, place, Status.REPLAY_MISMATCH, detail)
    how = "bit for bit" if largest == 0 else f"within {largest:.1e}, {flips} other answers"
    return _link(run, place, Status.OK, f"{len(after)} views predicted again, {how}")


Views = dict[tuple[str, int, int], tuple[Any, ...]]
"""(video, clip, crop) → (logits (K,), labels, status)."""


def _views(found: predictions.Predictions, videos: Collection[str]) -> Views:
    """The views of some videos."""
    keys = zip(found.video_ids, found.clips.tolist(), found.crops.tolist(), strict=True)
    facts = zip(found.logits, found.labels, found.statuses, strict=True)
    return {key: fact for key, fact in zip(keys, facts, strict=True) if key[0] in videos}


def tolerances(precision: str, largest: float) -> tuple[float, float]:
    """How far a logit may move relative to itself and absolutely, at the row's precision.

    `largest` is of the logits made here: what is stored cannot widen its own tolerance.
    """
    if precision != "float32":  # a bfloat16 is the coarsest of the others
        return 0.0, BFLOAT16_TOLERANCE * largest
    return TOLERANCE, TOLERANCE


def _link(
    run: Run,
    path: str,
    status: Status,
    detail: str,
    declared: str | None = None,
    actual: str | None = None,
) -> Link:
    do = ""
    if status is Status.REPLAY_MISMATCH:
        do = f"run {stage_command(run.stage, run.key)} again, and find out who changed it"
    source = f"record:{run.name}"
    return Link(Level.REPLAY, source, "replayed", path, status, declared, actual, detail, do)


def _unreadable(run: Run, error: BaseException) -> Link:
    what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
    where: Any = getattr(error, "where", "") or run.path
    return _link(run, str(where), Status.UNREADABLE, str(what).splitlines()[0])
