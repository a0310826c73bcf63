"""Stage `figures`: every figure of `manifests/figures.yaml`, drawn or saying why it is not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.errors import AbsentData, TdnError
from pipeline.core.files import read_json, write_atomic, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.loaded_code import check_loaded
from pipeline.reporting.figures.canvas import Figure, save
from pipeline.reporting.figures.cost_chart import Point, draw_cost
from pipeline.reporting.figures.curves import draw_curves
from pipeline.reporting.figures.gains import accuracy_gains, draw_gains, precision_gains
from pipeline.reporting.figures.ranks import draw_ranks
from pipeline.reporting.figures.reversal import draw_reversal
from pipeline.schema.figure_list import (
    AnyFigure,
    Cost,
    Curves,
    Gains,
    Ordering,
    Reversal,
    StoredFrames,
)
from pipeline.schema.plan_models import FiguresPlan
from pipeline.scores import predictions
from pipeline.scores import video_scores as scores
from pipeline.scores.scoring import score_videos
from pipeline.scores.video_scores import Outcomes
from stages.figure_data.earlier import Earlier, made_from
from stages.figure_data.figure_inputs import Context, each, make_figure, reasons
from stages.figure_data.stored_frames import stored_frames, stored_frames_from
from stages.figure_data.truth import Truth

SCHEMA = "tdn.figures/1"
Maker = Callable[[Context, str, Any], Figure]
FEWEST_RANKED = 3
"""An order of two rows is one comparison: the table's own words say it."""
_CITATION = re.compile(r" \([^)]*\d{4}\)")


class Task(NamedTuple):
    """A figure that may have to be drawn: a JSON value of all that it is made from, and how."""

    key: str
    made_from: Any
    draw: Callable[[], Figure]


def run(
    work: Workspace, key: str, plan: FiguresPlan, *, code: str = "", progress: Any = None
) -> None:
    """Write `reports/P/figures/`: one PNG and one SVG per figure, figures.json, and the training
    curves as tables.

    Works with no result at all: every figure then says what is missing. A figure that an earlier
    run of the same `code` (its digest) drew from the same is left as it is. Files of figures that
    are no longer drawn are removed. Raises AbsentData when the tables were not made.
    """
    if not (work.reports / "tables" / "cells.json").is_file():
        raise AbsentData(
            "there are no tables to draw orders and printed numbers from",
            where=work.relative(work.reports / "tables"),
            do=f"run `tdn tables --profile {work.profile}`",
        )
    context = Context(work, plan)
    folder = work.reports / "figures"
    earlier = Earlier(folder, code)
    entries: list[dict[str, Any]] = []
    checked = False
    for number, (name, spec) in enumerate(plan.figures.items(), start=1):
        for task in _tasks(context, name, spec):
            address = earlier.address(task.made_from)
            entry = earlier.find(task.key, address)
            if entry is None:
                if not checked:
                    _check_code(work, code)
                    checked = True
                try:
                    figure = task.draw()
                except TdnError as error:
                    caption = context.caption(spec, [])
                    figure = Figure(task.key, spec.kind, spec.title, caption, reason=error.what)
                save(figure, folder)
                entry = earlier.describe(figure.as_json(), address)
            entries.append(entry)
        if progress is not None:
            progress(number, len(plan.figures))
    _write_curves(work, folder / "curves", list(plan.rows))
    kept = {name for entry in entries for name in entry["files"].values()} | {"figures.json"}
    heading = {"schema": SCHEMA, "profile": plan.profile, "smoke": plan.smoke}
    write_json(folder / "figures.json", {**heading, "figures": entries})
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in kept:
            path.unlink()


def _check_code(work: Workspace, code: str) -> None:
    """Have all modules of figures imported and compared with the plan, before one is drawn."""
    if code and (parts := work.planned_code(code)).is_file():
        check_loaded(read_json(parts))


def _history(work: Workspace, row: str) -> list[dict[str, Any]]:
    """Loss and accuracy of a row's epochs; none when it was not trained."""
    path = work.run(row) / "train" / "history.json"
    epochs: list[dict[str, Any]] = read_json(path) if path.is_file() else []
    return epochs


def _write_curves(work: Workspace, folder: Path, rows: list[str]) -> None:
    """Loss and accuracy per epoch of every trained row as `<row>.csv`, for `dvc plots`."""
    shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        if epochs := _history(work, row):
            lines = ["epoch,loss,top1_pct"]
            lines += [f"{e['epoch']},{e['loss']},{e['top1_pct']}" for e in epochs]
            write_atomic(folder / f"{row}.csv", ("\n".join(lines) + "\n").encode("utf-8"))


def _tasks(context: Context, name: str, spec: AnyFigure) -> Iterator[Task]:
    if isinstance(spec, Ordering):
        yield from _orderings(context, name, spec)
    elif isinstance(spec, StoredFrames):
        for dataset in context.plan.datasets:
            key = f"{name}_{dataset}"
            draw = partial(stored_frames, context, key, dataset, spec)
            yield Task(key, stored_frames_from(context, dataset, spec), draw)
    else:
        draw = partial(_MAKERS.get(spec.kind, _of_networks), context, name, spec)
        yield Task(name, made_from(context, name, spec), draw)


def _curves(context: Context, key: str, spec: Curves) -> Figure:
    def history(row: str) -> list[dict[str, Any]]:
        context.row(row)
        if epochs := _history(context.work, row):
            return epochs
        raise AbsentData("no training history")

    histories, absent = each(spec.rows, history)
    caption = context.caption(spec, histories, split="training videos")
    return make_figure(key, spec, draw_curves(spec.rows, histories), caption, histories, absent)


def _cost(context: Context, key: str, spec: Cost) -> Figure:
    def measure(row: str) -> list[Point]:
        metrics = context.metrics(row, spec.protocol)
        if row not in context.costs:
            raise AbsentData("its cost was not counted")
        if metrics.get("top1_pct") is None:
            return []
        ours = context.plan.rows[row].network.architecture == "tdn"
        low, high = metrics["top1_ci95_pct"]
        numbers = context.costs[row]["gmacs"], metrics["top1_pct"], low, high
        return [Point(spec.rows[row], *numbers, ours)]

    points, absent = each(spec.rows, measure, least=0)
    measured = [point for of_row in points.values() for point in of_row]
    printed, cells = _printed(context, spec)
    if not measured and not printed:
        raise AbsentData(reasons(absent))
    caption = context.caption(spec, points, spec.protocol)
    drawing = draw_cost(printed, measured)
    return make_figure(key, spec, drawing, caption, points, absent, cells=cells)


def _printed(context: Context, spec: Cost) -> tuple[list[Point], list[str]]:
    """The points of the table that the figure stands beside, and the cells that they are in; none
    when the profile does not show that table."""
    points: list[Point] = []
    read: list[str] = []
    table = context.tables.get(spec.printed.table, {"rows": []})
    labels = [row["label"] for row in table["rows"]]
    for row in table["rows"]:
        columns = (spec.printed.cost, spec.printed.accuracy)
        addresses = [f"{spec.printed.table}/{row['row']}/{column}" for column in columns]
        claims = [context.cells.get(address, {}).get("claimed") for address in addresses]
        if all(claims):
            read += addresses
            label = _CITATION.sub("", row["label"])
            if labels.count(row["label"]) > 1 and row["settings"]:
                label += f" {list(row['settings'].values())[-1]}"
            gmacs, accuracy = map(float, claims)
            points.append(Point(label, gmacs, accuracy, ours=label.startswith("TDN")))
    return points, read


def _orderings(context: Context, key: str, spec: Ordering) -> Iterator[Task]:
    """One figure per table column with an order to compare."""
    orders = [
        (table_id, table, ordering)
        for table_id, table in context.tables.items()
        for ordering in table["orderings"]
        if ordering["tau"] is not None and len(ordering["rows"]) >= FEWEST_RANKED
    ]
    for table_id, table, one_training in orders:
        by_means = [order for order in table["means"] if order["column"] == one_training["column"]]
        means = {mean["row"]: mean for order in by_means for mean in order["rows"]}
        ordering = {**one_training, **(by_means[0] if by_means else {})}
        ordering["rows"] = one_training["rows"]
        column = next(c for c in table["columns"] if c["key"] == ordering["column"])
        addresses, rows = [], []
        for row in table["rows"]:
            if row["row"] in ordering["rows"]:
                addresses.append(f"{table_id}/{row['row']}/{ordering['column']}")
                cell = context.cells[addresses[-1]]
                label = _CITATION.sub("", _label(row, table))
                values = {name: cell[name] for name in ("claimed", "measured")}
                values |= {"low": cell["ci_low"], "high": cell["ci_high"]}
                if mean := means.get(row["row"]):
                    values |= {"measured": mean["mean"]}
                    values |= {"low": mean["ci_low"], "high": mean["ci_high"]}
                rows.append({"row": row["row"], "label": label, **values})
        name = f"{key}_{table_id}_{ordering['column']}".replace("/", "_").replace("-", "_")
        smoke = " Measured on generated miniatures (smoke)." if ordering["smoke"] else ""
        caption = (
            f"{table['caption'].rstrip('.')}: column {column['label']} under protocol "
            f"{column['protocol']}, rows as in the table. {ordering['in_words']} {spec.remark}"
            f"{smoke}"
        ).strip()
        title = f"{spec.title}: {table['document']}, table {table['table']}"
        titled = spec.model_copy(update={"title": title})
        yield Task(
            name,
            [name, title, caption, rows, ordering, addresses],
            partial(_ranks, name, titled, caption, rows, ordering, addresses),
        )
    if not orders:
        why = f"no table has {FEWEST_RANKED} measured rows"
        caption = context.caption(spec, [])
        yield Task(key, why, lambda: Figure(key, spec.kind, spec.title, caption, reason=why))


def _ranks(
    name: str,
    spec: Ordering,
    caption: str,
    rows: list[dict[str, Any]],
    ordering: dict[str, Any],
    cells: list[str],
) -> Figure:
    words = ordering["in_words"]
    return make_figure(name, spec, draw_ranks(rows, ordering), caption, cells=cells, found=words)


def _label(row: dict[str, Any], table: dict[str, Any]) -> str:
    """A row's label, with its ticked or written settings where several rows share it."""
    if [other["label"] for other in table["rows"]].count(row["label"]) == 1:
        return str(row["label"])
    parts = []
    for setting in table["settings"]:
        value = row["settings"].get(setting["key"], "")
        parts.append(setting["label"] if value == "✓" else value)
    return f"{row['label']} ({', '.join(filter(None, parts))})"


def _outcomes(context: Context, protocol: str, row: str) -> Outcomes:
    """Which videos a row answered right; AbsentData says why that is not known."""
    context.row(row)
    outcomes = scores.read(context.work.run(row) / "scores" / f"{protocol}.parquet")
    if outcomes is None:
        raise AbsentData(f"not scored under protocol {protocol}")
    return outcomes


def _reversal(context: Context, key: str, spec: Reversal) -> Figure:
    outcomes, absent = each(spec.rows, partial(_outcomes, context, spec.protocol))
    first = next(iter(outcomes))
    classes = context.classes(first)
    dataset = context.plan.rows[first].data.name
    miniature = context.plan.datasets[dataset].miniature
    pairs = [(a, b) for a, b in spec.pairs]
    if miniature is not None:
        pairs = Truth(dataset, miniature).reversed_pairs
    pairs = [pair for pair in pairs if set(pair) <= set(classes)]
    if not pairs:
        raise AbsentData("the data set has none of these classes")
    caption = context.caption(spec, outcomes, spec.protocol)
    drawing = draw_reversal(spec.rows, pairs, outcomes, classes)
    return make_figure(key, spec, drawing, caption, outcomes, absent)


def _gains(context: Context, key: str, spec: Gains) -> Figure:
    rows = list(spec.rows)
    plans, _ = each(rows, context.row, least=2)
    classes = context.classes(rows[0])
    if plans[rows[0]].data.multi_label:
        paths = [context.work.run(row) / "predict" / f"{spec.protocol}.parquet" for row in rows]
        rules = [plan.protocols[spec.protocol].aggregate for plan in plans.values()]
        both = [
            score_videos(predictions.read(path), rule)
            for path, rule in zip(paths, rules, strict=True)
        ]
        gains = precision_gains(both[0], both[1], classes)
    else:
        outcomes, _ = each(rows, partial(_outcomes, context, spec.protocol), least=2)
        gains = accuracy_gains(outcomes[rows[0]], outcomes[rows[1]], classes)
    labels = list(spec.rows.values())
    drawing = draw_gains(labels, gains, most=spec.most, printed=spec.printed)
    return make_figure(key, spec, drawing, context.caption(spec, rows, spec.protocol), rows)


def _of_networks(context: Context, key: str, spec: Any) -> Figure:
    """A figure for which a network is built or looks at frames."""
    from stages.figure_data.architecture import architecture  # these load torch
    from stages.figure_data.attention import cam, gradcam
    from stages.figure_data.kernel_figures import kernels

    makers: dict[str, Maker] = {
        "architecture": architecture, "cam": cam, "gradcam": gradcam, "kernels": kernels
    }  # fmt: skip
    return makers[spec.kind](context, key, spec)


_MAKERS: dict[str, Maker] = {
    "curves": _curves,
    "cost": _cost,
    "reversal": _reversal,
    "gains": _gains,
}
