"""Level 3: a seeded sample of test videos, decoded from their source and predicted once more.

The stages that work video by video run again in a shadow of the project whose ledger lists the
sample alone; weights are taken as they are. Frames must come out the same byte for byte (with the
same ffmpeg), logits within a tolerance that covers another processor or batch at the precision
that the row was predicted in.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.audit.context import Context
from pipeline.audit.level2_recompute import link_in
from pipeline.audit.links import Level, Link, Status, some
from pipeline.core.errors import TdnError, stage_command
from pipeline.core.files import read_json
from pipeline.core.parquet import write_table
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Run
from pipeline.scores import predictions

TOLERANCE = 1e-3
"""How far a logit in single precision may move, absolutely and relative to itself."""

BFLOAT16_TOLERANCE = 2e-2
"""How far a bfloat16 logit may move, relative to the largest logit of the sample."""
# A bfloat16 has 8 significant bits: its last digit is 0.4 to 0.8 % of it, and the rounding of every
# layer's maps moves small logits by as much as large ones. Computed in another order (convolutions
# with and without their batch normalisation folded in), logits of three untrained ResNet-50s moved
# by 0.7 to 1.0 % of the largest on a processor. The sample is a smaller batch than the row's was.

Sample = dict[str, str]
"""{video id: why it was drawn}, the videos of one ledger."""


def check(context: Context, sample: int, seed: int) -> Iterator[Link]:
    """Replay `sample` test videos of each row in scope, drawn by `seed` and the row's name."""
    rows = [run for run in context.runs() if _predicts(context, run)]
    chosen: dict[str, Sample] = {}
    ready = []
    for run in rows:
        ledger = _ledger(context, run)
        absent = _absent(context, run, ledger)
        if absent is not None:
            yield absent
            continue
        assert ledger is not None
        try:
            drawn = _draw(context, run, sample, seed)
        except (TdnError, OSError, ValueError, KeyError, pa.ArrowException) as error:
            yield _unreadable(run, error)
            continue
        chosen.setdefault(ledger.name, {}).update(dict.fromkeys(drawn, run.name))
        ready.append(run)
    if not ready or context.tools.again is None:
        return
    with tempfile.TemporaryDirectory(prefix="tdn-replay-") as folder:
        shadow = Workspace(Path(folder), context.work.profile)
        for name, videos in chosen.items():
            _reduce(context, shadow, context.evidence.runs[name], videos)
        wanted = context.evidence.behind(made.path for run in ready for made in run.outputs)
        runs = context.evidence.runs
        for name in context.evidence.in_order(wanted):
            if runs[name].stage in context.tools.sampled:
                yield from _again(context, shadow, runs[name], chosen)


def _predicts(context: Context, run: Run) -> bool:
    return run.stage in context.tools.sampled and any(
        made.role == "predictions" for made in run.outputs
    )


def _ledger(context: Context, run: Run) -> Run | None:
    """The run that listed the videos a row was tested on."""
    found = [
        context.evidence.runs[name]
        for name in context.evidence.behind(read.path for read in run.inputs)
        if any(made.role == "ledger" for made in context.evidence.runs[name].outputs)
    ]
    return found[0] if len(found) == 1 else None


def _absent(context: Context, run: Run, ledger: Run | None) -> Link | None:
    """Why a row cannot be replayed here."""
    needed = [read.path for read in run.inputs] + [made.path for made in run.outputs]
    if ledger is None:
        detail = "no ledger lists its videos"
        return _link(run, run.path, Status.UNAVAILABLE, detail)
    raw = context.work.raw(ledger.key, generated=_generated(ledger))
    needed += [made.path for made in ledger.outputs] + [context.work.relative(raw)]
    for path in needed:
        if not context.place(path).exists():
            return context.absent(Level.REPLAY, f"record:{run.name}", path, None)
    return None


def _draw(context: Context, run: Run, sample: int, seed: int) -> list[str]:
    """Videos with logits, drawn without replacement."""
    videos: set[str] = set()
    for path in _files(context, run):
        found = predictions.read(path)
        videos.update(v for v, ok in zip(found.video_ids, found.ok, strict=True) if ok)
    known = sorted(videos)
    return random.Random(f"{seed} {run.name}").sample(known, min(sample, len(known)))


def _files(context: Context, run: Run) -> list[Path]:
    made = next(made for made in run.outputs if made.role == "predictions")
    return sorted(context.place(made.path).glob("*.parquet"))


def _reduce(context: Context, shadow: Workspace, ledger: Run, videos: Sample) -> None:
    """A shadow of a data set that lists `videos` alone."""
    for made in ledger.outputs:
        if made.role == "ledger":
            table = pq.read_table(context.place(made.path))
            kept = table.filter(pc.is_in(table["video_id"], pa.array(sorted(videos))))
            write_table(shadow.root / made.path, kept)
        else:
            link_in(context.place(made.path), shadow.root / made.path)
    generated = _generated(ledger)
    raw, place = (work.raw(ledger.key, generated=generated) for work in (context.work, shadow))
    link_in(raw, place)


def _generated(ledger: Run) -> bool:
    return bool(ledger.params.get("generated"))


def _again(
    context: Context, shadow: Workspace, run: Run, chosen: Mapping[str, Sample]
) -> Iterator[Link]:
    assert context.tools.again is not None
    for read in run.inputs:
        if not (shadow.root / read.path).exists():
            link_in(context.place(read.path), shadow.root / read.path)
    try:
        context.tools.again(shadow, run.stage, run.key, dict(run.params))
        if _predicts(context, run):
            yield from _logits(context, shadow, run)
        else:
            yield from _frames(context, shadow, run)
    except Exception as error:  # a stage may stumble in any way over what was forged
        yield _unreadable(run, error)


def _frames(context: Context, shadow: Workspace, run: Run) -> Iterator[Link]:
    """Are the stored frames of the sample those that its sources give?"""
    index = next(made for made in run.outputs if made.path.endswith("/index.json"))
    ours, again = context.place(index.path), shadow.root / index.path
    before, after = read_json(ours), read_json(again)
    if any(before.get(tool) != after.get(tool) for tool in ("ffmpeg", "opencv")):
        detail = "made by another ffmpeg or OpenCV than this machine's: they cannot be compared"
        yield _link(run, index.path, Status.UNAVAILABLE, detail)
        return
    new = _stored(again)
    old = _stored(ours, set(new))
    wrong = sorted(name for name, digest in new.items() if old.get(name) != digest)
    for name in wrong:
        detail = f"{name}: its source gives other frames than the store's index has"
        yield _link(run, index.path, Status.REPLAY_MISMATCH, detail, old.get(name), new[name])
    if not wrong:
        yield _link(run, index.path, Status.OK, f"frames of {len(new)} videos byte for byte")


def _stored(index: Path, names: set[str] | None = None) -> dict[str, str | None]:
    found = {}
    rows = pq.ParquetFile(index.with_name("index.parquet"))
    for batch in rows.iter_batches(1024, columns=["video_id", "frames_sha256"]):
        columns = batch.to_pydict()
        pairs = zip(columns["video_id"], columns["frames_sha256"], strict=True)
        found.update({n: d for n, d in pairs if names is None or n in names})
    return found


def _logits(context: Context, shadow: Workspace, run: Run) -> Iterator[Link]:
    """Does the network say of the sample what its predictions have?"""
    for path in _files(context, run):
        place = context.work.relative(path)
        old, new = predictions.read(path), predictions.read(shadow.root / place)
        rows = {key: row for row, key in enumerate(_views(old))}
        relative, absolute = _tolerances(run, float(np.abs(new.logits).max(initial=0.0)))
        wrong, largest = [], 0.0
        for row, key in enumerate(_views(new)):
            before = old.logits[rows[key]] if key in rows else None
            after = new.logits[row]
            if before is None or not np.allclose(before, after, rtol=relative, atol=absolute):
                wrong.append(key[0])
            else:
                largest = max(largest, float(np.abs(before - after).max(initial=0.0)))
        views, exact = (
            len(new.video_ids),
            "bit for bit" if largest == 0 else f"within {largest:.1e}",
        )
        if wrong:
            names = some(list(dict.fromkeys(wrong)), 4, ", ")
            detail = f"predicting again gives other logits for {names}"
            yield _link(run, place, Status.REPLAY_MISMATCH, detail)
        else:
            yield _link(run, place, Status.OK, f"{views} views predicted again, {exact}")


def _tolerances(run: Run, largest: float) -> tuple[float, float]:
    """How far a logit may move relative to itself and absolutely, at the recorded precision.

    `largest` is of the logits made here: what is stored cannot widen its own tolerance.
    """
    if run.params["compute"]["precision"] == "bfloat16":
        return 0.0, BFLOAT16_TOLERANCE * largest
    return TOLERANCE, TOLERANCE


def _views(found: predictions.Predictions) -> Iterable[tuple[str, int, int]]:
    return zip(found.video_ids, found.clips.tolist(), found.crops.tolist(), strict=True)


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
