"""Level 1: ids, labels, splits and files of every data set, derived again from its annotation.

The lists are read by the readers that `check` uses and every listed file is digested again; the
ledger must say the same of every video. A miniature's lists must be those that its manifest gives:
they are written again in memory, so that they are known even where its raw data are not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status, some
from pipeline.core.errors import TdnError, stage_command
from pipeline.core.files import read_strict_json, sha256_bytes, sha256_file
from pipeline.lineage.evidence import Run
from pipeline.mini.layouts import LAYOUTS
from pipeline.mini.motion_plan import plan_scenes
from pipeline.schema.dataset import Dataset, declared_subset
from pipeline.schema.miniature import Miniature
from pipeline.schema.plan_models import parse_plan
from pipeline.sources.ledger import measure, read_ledger, summarise
from pipeline.sources.readers import read
from pipeline.sources.remarks import refuse_shared
from pipeline.sources.source import Source

_SUMMED = ("dataset", "status", "digest", "classes", "label_order", "listed", "splits")
"""What of a summary follows from lists and files alone; stray files change the rest."""


@dataclass(frozen=True)
class _Listed:
    """A data set's check: the run, and what it is about as the manifests say it now."""

    context: Context
    run: Run
    dataset: Dataset
    raw: Path
    ledger: Path
    summary: Path
    miniature: Miniature | None

    def link(self, path: Path | str, status: Status, detail: str, **digests: str | None) -> Link:
        """A link from the check's record to a file."""
        command = stage_command(self.run.stage, self.run.key)
        do = f"restore it, or run {command} again" if status is not Status.OK else ""
        place = path if isinstance(path, str) else self.context.work.relative(path)
        source = f"record:{self.run.name}"
        return Link(Level.HASH, source, "lists", place, status, detail=detail, do=do, **digests)


def check(context: Context) -> Iterator[Link]:
    """The links of every data set whose ledger is here."""
    for run in context.runs():
        made = {item.role: context.place(item.path) for item in run.outputs}
        ledger = made.get("ledger")
        if ledger is None or "summary" not in made or not ledger.is_file():
            continue
        try:
            about = _about(context, run, ledger, made["summary"])
            yield from _dataset(about)
        except (TdnError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            detail = f"its lists or its ledger cannot be read: {str(error).splitlines()[0]}"
            yield Link(
                Level.HASH, f"record:{run.name}", "lists", context.work.relative(ledger),
                Status.UNREADABLE, detail=detail, do=f"run {stage_command(run.stage, run.key)}",
            )  # fmt: skip


def _about(context: Context, run: Run, ledger: Path, summary: Path) -> _Listed:
    plan: Any = parse_plan("check", context.params(run), where=run.path)
    mini: Any = context.evidence.runs.get(f"mini/{run.key}")
    mini = plan.generated and mini and parse_plan("mini", context.params(mini), where=mini.path)
    raw = context.work.raw(run.key, generated=plan.generated)
    miniature = mini.miniature if mini else None
    return _Listed(context, run, plan.dataset, raw, ledger, summary, miniature)


def _dataset(about: _Listed) -> Iterator[Link]:
    rows = read_ledger(about.ledger)
    summary = read_strict_json(about.summary)
    place = about.context.work.relative(about.raw)
    if summary["status"] == "absent":
        wrong = len(rows) and "its data are said to be absent, and it lists videos"
        if wrong:
            yield about.link(about.ledger, Status.RECOMPUTE_MISMATCH, wrong)
        return
    if about.raw.is_dir():
        yield from _annotations(about, summary)
        yield from _against(about, rows, summary, about.raw)
    elif about.miniature is not None:
        with tempfile.TemporaryDirectory(prefix="tdn-lists-") as folder:
            _sketch(about.dataset.name, about.miniature, Path(folder))
            yield from _against(about, rows, summary, Path(folder), measured=False)
        yield about.link(place, Status.UNAVAILABLE, "not on this machine; lists made again")
    else:
        detail = "not on this machine: its lists and files cannot be read again"
        yield about.link(place, Status.UNAVAILABLE, detail)


def _lists(name: str, miniature: Miniature) -> dict[str, bytes]:
    """The annotation files of a miniature, as its generator writes them."""
    clips = [clip for plan in plan_scenes(name, miniature) for clip in plan.clips]
    return LAYOUTS[name].annotate(miniature, clips)


def _sketch(name: str, miniature: Miniature, folder: Path) -> None:
    """A miniature's folder with its lists, and an empty file in place of each video."""
    for plan in plan_scenes(name, miniature):
        for clip in plan.clips:
            place = folder / LAYOUTS[name].place(clip)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.mkdir() if LAYOUTS[name].codec == "jpeg" else place.touch()
    for path, data in _lists(name, miniature).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def _annotations(about: _Listed, summary: dict[str, Any]) -> Iterator[Link]:
    """The lists: a miniature's as its manifest gives them, others as `check` saw them."""
    if about.miniature is None:
        wanted = dict(summary["annotations"])
        origin = "the list that was checked"
    else:
        lists = _lists(about.dataset.name, about.miniature)
        wanted = {name: sha256_bytes(data) for name, data in lists.items()}
        origin = "the list that its manifest gives"
    for name, declared in sorted(wanted.items()):
        path = about.raw / name
        if not path.is_file():
            place = about.context.work.relative(path)
            yield about.context.absent(Level.HASH, f"record:{about.run.name}", place, declared)
            continue
        actual = sha256_file(path)
        status = Status.OK if actual == declared else Status.HASH_MISMATCH
        detail = "" if actual == declared else f"not {origin}"
        yield about.link(path, status, detail, declared=declared, actual=actual)


def _against(
    about: _Listed, rows: list[Source], summary: dict[str, Any], raw: Path, *, measured: bool = True
) -> Iterator[Link]:
    """A ledger and its summary against the lists and files of `raw`, or against lists alone."""
    listing = read(about.dataset, raw)
    expected = {row.video_id: row for row in listing.rows}
    if measured:
        found, remarks = measure(
            listing, raw, about.dataset.options.frame_prefix, about.context.cache(about.run.key)
        )
        expected = {row.video_id: row for row in found if row.video_id is not None}
        own = summarise(about.dataset, listing, raw, found, remarks)
        wrong = [f"{key} is another" for key in _SUMMED if own[key] != summary.get(key)]
        with_check = [*wrong, *_shared(about.dataset, found)]
        if with_check:
            yield about.link(about.summary, Status.RECOMPUTE_MISMATCH, some(with_check))
    elif list(listing.classes) != summary["classes"]:
        yield about.link(about.summary, Status.RECOMPUTE_MISMATCH, "classes is another")
    listed = {row.video_id: row for row in rows if row.video_id is not None}
    wrong = [f"{name} is in no list" for name in sorted(listed.keys() - expected.keys())]
    other = 0
    for name, row in expected.items():
        if name not in listed:
            wrong.append(f"the listed video {name} is not in it")
            continue
        files = list(_file(about, row, listed[name], measured))
        yield from files
        other += len(files)
        wrong += _row_differs(about.dataset, row, listed[name], measured)
    if measured and not other:
        yield about.link(about.raw, Status.OK, f"{len(expected)} listed sources as in the ledger")
    if wrong:
        yield about.link(about.ledger, Status.RECOMPUTE_MISMATCH, some(wrong, 4))
    else:
        words = "labels, splits and files" if measured else "labels and splits"
        detail = f"{words} of {len(expected)} listed videos as its lists give them"
        yield about.link(about.ledger, Status.OK, detail)


def _shared(dataset: Dataset, rows: list[Source]) -> list[str]:
    """Why a fold's validation videos are too many of its training videos."""
    try:
        refuse_shared(dataset, rows)
    except TdnError as error:
        return [error.what.splitlines()[0]]
    return []


def _file(about: _Listed, own: Source, listed: Source, measured: bool) -> Iterator[Link]:
    """A video's file that is gone, damaged or another than the ledger has."""
    if not measured or listed.sha256 is None or own.sha256 == listed.sha256:
        return
    place = about.context.work.relative(about.raw / str(listed.relpath))
    if own.sha256 is not None:
        detail = "not the file that was recorded"
        declared, actual = listed.sha256, own.sha256
        yield about.link(
            place, Status.HASH_MISMATCH, detail, declared=declared, actual=actual
        )  # fmt: skip
    elif own.status == "unreadable":
        yield about.link(place, Status.UNREADABLE, own.reason, declared=listed.sha256)
    else:
        source = f"record:{about.run.name}"
        yield about.context.absent(Level.HASH, source, place, listed.sha256)


def _row_differs(dataset: Dataset, own: Source, listed: Source, measured: bool) -> list[str]:
    """In what the ledger's row of a video differs from lists and file.

    Lists alone do not tell what a subset of the files that were there leaves out.
    """
    subset = declared_subset(dataset)
    by_files = subset is not None and subset.videos is None
    names = ["labels", "splits", "frames_listed"]
    if measured and (listed.sha256 is None or own.sha256 is not None):
        names += ["relpath", "status", "reason"]
    elif (not by_files and "skipped" in (listed.status, own.status)) or own.status == "refused":
        names += ["status"]
    return [
        f"{own.video_id} has {name} {getattr(listed, name)!r}, its list and file give "
        f"{getattr(own, name)!r}"
        for name in names
        if getattr(own, name) != getattr(listed, name)
    ]
