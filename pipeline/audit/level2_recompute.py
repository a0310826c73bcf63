"""Level 2: what can be made again in seconds is made again, and compared.

The pure stages run once more in a shadow of the project: what they read is linked in, what they
write stays there. A shadow's metrics come from its own scoring, so a metric that was forged
together with its record shows in the metric, in every table and in the page.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.audit.context import Context
from pipeline.audit.differ import changes, close, show
from pipeline.audit.links import Level, Link, Status, some
from pipeline.core.errors import TdnError, stage_command
from pipeline.core.files import files_below, read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Run
from pipeline.schema.status import USABLE
from pipeline.scores import predictions

TOLERANCE = 1e-6
"""How far a float may move between processors; everything else is the same byte for byte."""
_SHOWN = 4


def check(context: Context) -> Iterator[Link]:
    """Every link of level 2."""
    yield from _frames(context)
    yield from _tested_videos(context)
    again = context.tools.again
    if again is None:
        return
    runs = context.evidence.runs
    wanted = {run.name for run in context.runs() if run.stage in context.tools.pure}
    order = [name for name in context.evidence.in_order(wanted) if runs[name].plan]
    with tempfile.TemporaryDirectory(prefix="tdn-audit-") as folder:
        shadow = Workspace(Path(folder), context.work.profile)
        link_in(context.work.root / "manifests", shadow.root / "manifests")
        link_in(context.work.reports / "records", shadow.reports / "records")
        done: set[str] = set()
        for name in order:
            yield from _again(context, shadow, runs[name], done)


def _again(context: Context, shadow: Workspace, run: Run, done: set[str]) -> Iterator[Link]:
    """Run one pure stage in the shadow and compare what it makes."""
    source = f"record:{run.name}"
    reads = {read.path for read in run.inputs}
    for path in _needed(context, reads):
        if (shadow.root / path).exists():
            continue  # the shadow's own
        if not context.place(path).exists():
            yield _unavailable(context, run, path)
            return
        link_in(context.place(path), shadow.root / path)
    plan = context.plans.get(run.name) if isinstance(context.plans, dict) else None
    params = dict((plan or run.plan)["params"])
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            assert context.tools.again is not None
            context.tools.again(shadow, run.stage, run.key, params)
    except Exception as error:  # a stage may stumble in any way over what was forged
        where = getattr(error, "where", "") or run.path
        what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
        do = f"run {stage_command(run.stage, run.key)} again"
        yield Link(
            Level.RECOMPUTE, source, "recomputed", where, Status.UNREADABLE, detail=what, do=do
        )
        return
    done.add(run.name)
    for made in run.outputs:
        yield from _compare(context, shadow, source, made.path)


def _needed(context: Context, reads: Iterable[str]) -> list[str]:
    """What a run lists, and what the makers of that read in turn: a combination of rows goes back
    to their predictions."""
    found = dict.fromkeys(sorted(reads))
    for path in sorted(reads):
        maker = context.evidence.maker(path)
        if maker is not None and context.evidence.runs[maker].stage in context.tools.pure:
            found |= dict.fromkeys(read.path for read in context.evidence.runs[maker].inputs)
    return list(found)


def _unavailable(context: Context, run: Run, path: str) -> Link:
    absent = context.absent(Level.RECOMPUTE, f"record:{run.name}", path, None)
    return Link(
        Level.RECOMPUTE,
        f"record:{run.name}",
        "recomputed",
        run.path,
        absent.status,
        detail=f"cannot be made again: {path} is not here",
        do=absent.do,
    )


def _compare(context: Context, shadow: Workspace, source: str, path: str) -> Iterator[Link]:
    """One link when all files are the same, else one per file that is not."""
    ours, again = context.place(path), shadow.root / path
    names = [""]
    if again.is_dir():
        below = {p.relative_to(b).as_posix() for b in (ours, again) for p in files_below(b)}
        names = sorted(below)
    bad, moved = 0, 0
    for name in names:
        status, detail = _same(ours / name, again / name)
        if status is Status.OK and detail:
            moved += 1
            # What follows starts from what was recorded, not from a last digit elsewhere.
            shutil.copyfile(ours / name, again / name)
        if status is not Status.OK:
            bad += 1
            place = f"{path}/{name}" if name else path
            do = "do not believe it: make it again, and find out who changed it"
            yield Link(Level.RECOMPUTE, source, "recomputed", place, status, detail=detail, do=do)
    if not bad:
        words = f"equal within {TOLERANCE:g}" if moved else "equal byte for byte"
        yield Link(Level.RECOMPUTE, source, "recomputed", path, Status.OK, detail=words)


def _same(ours: Path, again: Path) -> tuple[Status, str]:
    """Whether two files are equal, and what differs."""
    wrong = Status.RECOMPUTE_MISMATCH
    if not ours.is_file():
        return Status.MISSING, "recomputing makes it and it is not there"
    if not again.is_file():
        return wrong, "recomputing does not make it"
    before, after = ours.read_bytes(), again.read_bytes()
    if before == after:
        return Status.OK, ""
    try:
        if ours.suffix == ".json":
            return _json_differs(read_json(ours), read_json(again))
        if ours.suffix == ".parquet":
            old, new = pq.read_table(ours).to_pylist(), pq.read_table(again).to_pylist()
            return _json_differs(old, new)
        old_lines, new_lines = before.decode().splitlines(), after.decode().splitlines()
    except (ValueError, pa.ArrowException, OSError) as error:
        return Status.UNREADABLE, f"does not parse: {str(error).splitlines()[0]}"
    return wrong, _first_line(old_lines, new_lines)


def _json_differs(before: Any, after: Any) -> tuple[Status, str]:
    if close(before, after, TOLERANCE):
        return Status.OK, "within the tolerance"
    found = list(changes(before, after))
    words = [f"{place} {show(old)}, recomputed {show(new)}" for place, old, new in found]
    return Status.RECOMPUTE_MISMATCH, some(words, _SHOWN)


def _first_line(before: list[str], after: list[str]) -> str:
    for number, (old, new) in enumerate(zip(before, after, strict=False), start=1):
        if old != new:
            at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
            start = max(0, at - 20)
            return f"line {number}: '{show(old[start:])}', recomputed '{show(new[start:])}'"
    return f"{len(before)} lines, recomputed {len(after)}"


def _frames(context: Context) -> Iterator[Link]:
    """Do the videos of every index come from the sources of its ledger?"""
    for run in context.runs():
        index = next((o for o in run.outputs if o.path.endswith("/index.json")), None)
        if index is None:
            continue
        rows = context.place(index.path).with_name("index.parquet")
        ledgers = [
            context.place(out.path)
            for maker in context.evidence.behind(read.path for read in run.inputs)
            for out in context.evidence.runs[maker].outputs
            if out.role == "ledger"
        ]
        path = context.work.relative(rows)
        if len(ledgers) == 1 and rows.is_file() and ledgers[0].is_file():
            yield _bound(f"record:{run.name}", path, rows, ledgers[0])


def _bound(source: str, path: str, rows: Path, ledger: Path) -> Link:
    """Index and ledger side by side; both are sorted by video."""
    try:
        known = _videos(ledger, "sha256")
        total = 0
        for video, digest in _videos(rows, "source_sha256"):
            listed_digest = next((sha for name, sha in known if name == video), None)
            if listed_digest != digest:
                detail = f"{video}: made from {digest}, the ledger has {listed_digest}"
                status = Status.STALE_INPUT
                do = "decode the data set again"
                return Link(
                    Level.RECOMPUTE,
                    source,
                    "made from",
                    path,
                    status,
                    listed_digest,
                    digest,
                    detail,
                    do,
                )
            total += 1
    except (pa.ArrowException, OSError, KeyError) as error:
        detail = f"does not parse: {str(error).splitlines()[0]}"
        return Link(Level.RECOMPUTE, source, "made from", path, Status.UNREADABLE, detail=detail)
    detail = f"{total} videos from the ledger's sources"
    return Link(Level.RECOMPUTE, source, "made from", path, Status.OK, detail=detail)


def _tested_videos(context: Context) -> Iterator[Link]:
    """Do predictions name the test videos of the store that they were made from, and their labels?

    Each video that has frames must have logits, and no other video.
    """
    for run in context.runs():
        made = next((item for item in run.outputs if item.role == "predictions"), None)
        store = next((read for read in run.inputs if read.path.endswith("/index.json")), None)
        if made is None or store is None:
            continue
        rows = context.place(store.path).with_name("index.parquet")
        files = sorted(context.place(made.path).glob("*.parquet")) if rows.is_file() else []
        for file in files:
            path = context.work.relative(file)
            status, detail = Status.OK, ""
            try:
                listed = _listed(rows, str(run.params["split"]))
                if wrong := _differ(predictions.read(file), listed):
                    status, detail = Status.RECOMPUTE_MISMATCH, some(wrong, _SHOWN)
            except (TdnError, pa.ArrowException, OSError, KeyError) as error:
                status, detail = Status.UNREADABLE, f"does not parse: {str(error).splitlines()[0]}"
            do = f"run {stage_command(run.stage, run.key)} again" if detail else ""
            yield Link(
                Level.RECOMPUTE, f"record:{run.name}", "tested on", path, status,
                detail=detail or f"{len(listed)} videos as {store.path} lists them", do=do,
            )  # fmt: skip


def _listed(rows: Path, split: str) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Labels of a split's videos, and whether each has frames."""
    columns = ["video_id", "labels", "splits", "status"]
    return {
        video["video_id"]: (tuple(video["labels"]), video["status"] in USABLE)
        for batch in pq.ParquetFile(rows).iter_batches(1024, columns=columns)
        for video in batch.to_pylist()
        if split in video["splits"]
    }


def _differ(
    found: predictions.Predictions, listed: dict[str, tuple[tuple[int, ...], bool]]
) -> list[str]:
    """In what predictions differ from the videos that a store lists."""
    words = dict.fromkeys(
        f"the test video {video} is not in it" for video in listed.keys() - set(found.video_ids)
    )
    for video, labels, ok in zip(found.video_ids, found.labels, found.ok.tolist(), strict=True):
        if video not in listed:
            words[f"{video} is no test video"] = None
        elif labels != listed[video][0]:
            words[f"{video} has labels {labels}, in the store {listed[video][0]}"] = None
        elif ok != listed[video][1]:
            words[f"{video} has {'' if ok else 'no '}logits, and {'no ' if ok else ''}frames"] = (
                None
            )
    return sorted(words)


def _videos(path: Path, column: str) -> Iterator[tuple[str, str | None]]:
    for batch in pq.ParquetFile(path).iter_batches(1024, columns=["video_id", column]):
        names, digests = (batch.column(c).to_pylist() for c in ("video_id", column))
        for name, digest in zip(names, digests, strict=True):
            if name is not None:
                yield name, digest


def link_in(target: Path, place: Path) -> None:
    """Put `target` at `place` of a shadow, where it exists."""
    if target.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target, target_is_directory=target.is_dir())
