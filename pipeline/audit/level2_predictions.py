"""Level 2: do predictions hold what the split and the protocol ask for, and nothing else?

Every test video of the store once in every view of the protocol, with its labels; one that has no
frames without logits, under the word that the store has for it; logits finite, one per class; the
row and protocol inside a file those of its name; and not the logits of another row.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status, some
from pipeline.core.errors import AbsentData, TdnError, stage_command
from pipeline.core.files import read_strict_json, sha256_bytes
from pipeline.core.workspace import seed_suffix
from pipeline.lineage.evidence import Run
from pipeline.schema.plan_models import PredictPlan, parse_plan
from pipeline.schema.protocols import CROP_COUNTS, EvalViews
from pipeline.scores import predictions
from pipeline.store.index import FrameIndex, Video, read_index

_SHOWN = 4
_COPIED = 0.01
"""Two rows' logits this near to each other, relative to the largest, are one row's: trainings that
differ in anything, a seed too, are far apart."""

_LARGE = 1024

Kept = dict[str, predictions.Predictions]
_UNREADABLE = (TdnError, pa.ArrowException, OSError, ValueError, KeyError, TypeError)


def check(context: Context) -> Iterator[Link]:
    """The links of every row's predictions."""
    indices: dict[str, FrameIndex | None] = {}
    seen: dict[str, tuple[Run, Kept]] = {}
    for run in context.runs():
        made = next((item for item in run.outputs if item.role == "predictions"), None)
        if made is None or not context.place(made.path).is_dir():
            continue
        try:
            plan = parse_plan("predict", context.params(run), where=run.path)
            assert isinstance(plan, PredictPlan)
            outcome = read_strict_json(context.place(made.path) / "outcome.json")
            if outcome["status"] != "ok":
                wrong = [] if outcome["protocols"] == [] else ["not run, and it names protocols"]
                yield _link(context, run, made.path, wrong, "was not run")
                continue
            store = context.work.relative(context.work.store(plan.data.name, plan.data.input))
            if store not in indices:
                indices[store] = _index(context, store)
            kept: Kept = {}
            yield from _row(context, run, plan, indices[store], kept)
            seen[run.name] = (run, kept)
        except _UNREADABLE as error:
            yield _unreadable(context, run, made.path, error)
    yield from _of_another_row(context, seen)


def _index(context: Context, store: str) -> FrameIndex | None:
    """A store's index; None where it is not here or does not parse, which level 1 reports."""
    try:
        return read_index(context.place(store))
    except (AbsentData, *_UNREADABLE):
        return None


def _row(
    context: Context, run: Run, plan: PredictPlan, index: FrameIndex | None, kept: Kept
) -> Iterator[Link]:
    """One link per file; `kept` takes what was read."""
    folder = context.work.run(plan.row) / "predict"
    place = context.work.relative(folder)
    wanted = {
        f"{name}{seed_suffix(number)}.parquet": name
        for name in plan.protocols
        for number in range(plan.seeds)
    }
    odd = {path.name for path in folder.iterdir()} - {"outcome.json", *wanted}
    outcome = {"status": "ok", "reason": "", "protocols": list(plan.protocols), "seeds": plan.seeds}
    wrong = [f"{name} is of no protocol of the row" for name in sorted(odd)]
    if read_strict_json(folder / "outcome.json") != outcome:
        wrong.append("outcome.json does not name the row's protocols and seeds")
    yield _link(context, run, place, wrong, f"{len(wanted)} files, as the row's plan asks for")
    listed = None
    if index is not None:
        listed = {video.video_id: video for video in index.videos if plan.split in video.splits}
    for name, protocol in wanted.items():
        try:
            found = predictions.read(folder / name, row=plan.row, protocol=protocol, verify=True)
        except _UNREADABLE as error:
            yield _unreadable(context, run, f"{place}/{name}", error)
            continue
        kept[name] = found
        wrong = list(_views_differ(found, plan.protocols[protocol]))
        if listed is not None and index is not None:
            wrong += _videos_differ(found, listed, len(index.classes))
        detail = f"{len(set(found.video_ids))} test videos, each in every view of {protocol}"
        if listed is None:
            detail += "; the store that lists them is not here"
        yield _link(context, run, f"{place}/{name}", wrong, detail, absent=listed is None)


def _views_differ(found: predictions.Predictions, rule: EvalViews) -> Iterator[str]:
    """Videos that are not there exactly once per view of the protocol (once, where they failed)."""
    views = set(product(range(rule.clips), range(CROP_COUNTS[rule.crops])))
    seen: dict[str, list[tuple[int, int]]] = {}
    usable = dict(zip(found.video_ids, found.ok.tolist(), strict=True))
    for video, *view in zip(
        found.video_ids, found.clips.tolist(), found.crops.tolist(), strict=True
    ):
        seen.setdefault(video, []).append((view[0], view[1]))
    for video, have in seen.items():
        want = views if usable[video] else {(0, 0)}
        if Counter(have) != Counter(want):
            yield f"{video} has views {some([str(v) for v in have], 3)}, its protocol {len(want)}"


def _videos_differ(
    found: predictions.Predictions, listed: dict[str, Video], classes: int
) -> Iterator[str]:
    """In what predictions differ from the videos that a store lists in the split."""
    for video in sorted(listed.keys() - set(found.video_ids)):
        yield f"the test video {video} is not in it"
    if found.ok.any() and found.n_classes != classes:
        yield f"{found.n_classes} logits per view, {classes} classes"
    rows = dict.fromkeys(zip(found.video_ids, found.labels, found.statuses, strict=True))
    for video, labels, status in sorted(rows):
        if video not in listed:
            yield f"{video} is no test video"
        elif labels != tuple(listed[video].labels):
            yield f"{video} has labels {labels}, in the store {tuple(listed[video].labels)}"
        elif status != listed[video].status:
            yield f"{video} is '{status}', and '{listed[video].status}' in the store"


def _of_another_row(context: Context, seen: dict[str, tuple[Run, Kept]]) -> Iterator[Link]:
    """Rows whose logits, or whose weights, are another row's."""
    weights: dict[str, dict[str, int]] = {}
    for run in context.runs():
        if run.stage == "train":
            weights[run.key] = {}
            for made in run.outputs:
                for name in made.files:
                    if ".pt" in name:
                        path = context.place(made.path) / name
                        weights[run.key] |= stored_tensors(path) or {made.files[name]: 1}
    for (run, one), (other, two) in combinations(seen.values(), 2):
        same = any(_alike(a, b) for a in one.values() for b in two.values())
        shared = _shared(weights.get(run.key, {}), weights.get(other.key, {}))
        if (same or shared) and not one_experiment(context, run, other):
            what = "logits" if same else "weights"
            wrong = [f"{run.name} and {other.name} have the same {what}: one has not its own"]
            for either in (run, other):
                yield _link(context, either, either.outputs[0].path, wrong, "")


def stored_tensors(path: Path) -> dict[str, int]:
    """{sha256: bytes} of the tensors in a file of weights, of 1 KiB and more each.

    They are the same in whatever order and by whatever program they are saved again. Nothing is
    loaded: torch's file is a zip of plain numbers (its checksums, which torch does not look at, are
    not believed). Empty where there is no such file.
    """
    found = {}
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            for item in archive.infolist():
                if item.file_size >= _LARGE and "/data/" in item.filename:
                    file.seek(item.header_offset + 26)  # the lengths of a name and of its extra
                    file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
                    found[sha256_bytes(file.read(item.file_size))] = item.file_size
    except (OSError, zipfile.BadZipFile, struct.error):
        return {}
    return found


def _shared(one: dict[str, int], two: dict[str, int]) -> bool:
    """Whether half of one row's weights, or more, are another's to the bit."""
    common = sum(one[digest] for digest in one.keys() & two.keys())
    return 0 < min(sum(one.values()), sum(two.values())) <= 2 * common


def one_experiment(context: Context, run: Run, other: Run) -> bool:
    """Whether two rows are trained by one plan: where a profile has one recipe for several of the
    papers', rows that differ in the recipe alone are one experiment."""
    found = []
    for row in (run, other):
        train = context.evidence.runs.get(f"train/{row.key}")
        params = {} if train is None else {**context.params(train), "row": ""}
        found.append(params)
    return bool(found[0].get("recipe")) and found[0] == found[1]


def _alike(one: predictions.Predictions, two: predictions.Predictions) -> bool:
    """Whether two files have the same logits, or nearly."""
    if one.logits.shape != two.logits.shape or one.video_ids != two.video_ids:
        return False
    largest = float(np.abs(one.logits).max(initial=0.0))
    return largest > 0 and bool(np.abs(one.logits - two.logits).max() < _COPIED * largest)


def _link(
    context: Context,
    run: Run,
    path: str,
    wrong: list[str],
    detail: str,
    *,
    absent: bool = False,
) -> Link:
    status = Status.UNAVAILABLE if absent else Status.OK
    do = ""
    if wrong:
        status, detail = Status.RECOMPUTE_MISMATCH, some(wrong, _SHOWN)
        do = f"run {stage_command(run.stage, run.key)} again"
    source = f"record:{run.name}"
    return Link(Level.RECOMPUTE, source, "tested on", path, status, detail=detail, do=do)


def _unreadable(context: Context, run: Run, path: str, error: Exception) -> Link:
    what = getattr(error, "what", "") or f"{type(error).__name__}: {error}"
    return Link(
        Level.RECOMPUTE, f"record:{run.name}", "tested on", path, Status.UNREADABLE,
        detail=str(what).splitlines()[0], do=f"run {stage_command(run.stage, run.key)} again",
    )  # fmt: skip
