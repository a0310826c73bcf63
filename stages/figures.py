"""Stage `figures`: every figure of `manifests/figures.yaml`, drawn or saying why it is not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.core.errors import AbsentData, TdnError
from pipeline.core.files import read_json, write_atomic, write_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.figures.canvas import Figure, empty, save
from pipeline.reporting.figures.cost_chart import Point, draw_cost
from pipeline.reporting.figures.curves import draw_curves
from pipeline.reporting.figures.gains import accuracy_gains, draw_gains, precision_gains
from pipeline.reporting.figures.ranks import draw_ranks
from pipeline.reporting.figures.reversal import draw_reversal
from pipeline.schema.figure_list import AnyFigure, Cost, Curves, Gains, Ordering, Reversal
from pipeline.schema.plan_models import FiguresPlan
from pipeline.scores import predictions
from pipeline.scores import video_scores as scores
from pipeline.scores.scoring import score_videos
from pipeline.scores.video_scores import Outcomes
from stages.figure_data.attention import cam, gradcam
from stages.figure_data.earlier import Earlier, made_from
from stages.figure_data.figure_inputs import Context
from stages.figure_data.kernel_figures import kernels
from stages.figure_data.truth import Truth

SCHEMA = "tdn.figures/1"
FEWEST_RANKED = 3
"""An order of two rows is one comparison: the table's own words say it."""
_CITATION = re.compile(r" \([^)]*\d{4}\)")


@dataclass(frozen=True)
class Drawing:
    """Figures that may have to be drawn: the key of the first, a JSON value of all that they are
    made from, and how."""

    key: str
    made_from: Any
    draw: Callable[[], list[Figure]]


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
    for number, (name, figure) in enumerate(plan.figures.items(), start=1):
        for drawing in _drawings(context, name, figure):
            address = earlier.address(drawing.made_from)
            if (as_before := earlier.find(drawing.key, address)) is not None:
                entries.append(as_before)
                continue
            try:
                made = drawing.draw()
            except TdnError as error:
                made = [empty(name, figure.kind, figure.title, figure.remark, error.what)]
            for one in made:
                save(one, folder)
                entries.append(earlier.describe(one.as_json(), address))
        if progress is not None:
            progress(number, len(plan.figures))
    _write_curves(work, folder / "curves", list(plan.rows))
    kept = {name for entry in entries for name in entry["files"].values()} | {"figures.json"}
    heading = {"schema": SCHEMA, "profile": plan.profile, "smoke": plan.smoke}
    write_json(folder / "figures.json", {**heading, "figures": entries})
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in kept:
            path.unlink()


def _write_curves(work: Workspace, folder: Path, rows: list[str]) -> None:
    """Loss and accuracy per epoch of every trained row as `<row>.csv`, for `dvc plots`."""
    shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        path = work.run(row) / "train" / "history.json"
        epochs = read_json(path) if path.is_file() else []
        if epochs:
            lines = ["epoch,loss,top1_pct"]
            lines += [f"{e['epoch']},{e['loss']},{e['top1_pct']}" for e in epochs]
            write_atomic(folder / f"{row}.csv", ("\n".join(lines) + "\n").encode("utf-8"))


def _drawings(context: Context, name: str, figure: AnyFigure) -> list[Drawing]:
    if isinstance(figure, Ordering):
        return _orderings(context, name, figure)
    maker = _MAKERS[figure.kind]
    return [Drawing(name, made_from(context, name, figure), lambda: maker(context, name, figure))]


def _curves(context: Context, key: str, spec: Curves) -> list[Figure]:
    histories = {}
    absent = {}
    for row in spec.rows:
        path = context.work.run(row) / "train" / "history.json"
        if reason := context.missing(row):
            absent[row] = reason
        elif not path.is_file() or not read_json(path):
            absent[row] = "no training history"
        else:
            histories[row] = read_json(path)
    caption = context.caption(spec, list(histories), split="training videos")
    if not histories:
        return [context.nothing(key, spec, absent)]
    figure = draw_curves(key, spec.title, caption, spec.rows, histories)
    return [context.note(figure, list(histories), absent)]


def _cost(context: Context, key: str, spec: Cost) -> list[Figure]:
    costs, absent, measured = context.costs(), {}, []
    for row, label in spec.rows.items():
        found = context.metrics(row, spec.protocol)
        if isinstance(found, str):
            absent[row] = found
        elif row not in costs:
            absent[row] = "its cost was not counted"
        elif (value := found.get("top1_pct")) is not None:
            low, high = found["top1_ci95_pct"]
            ours = context.plan.rows[row].network.architecture == "tdn"
            measured.append(Point(label, costs[row]["gmacs"], value, low, high, ours))
    printed, cells = _printed(context, spec)
    if not measured and not printed:
        return [context.nothing(key, spec, absent)]
    rows = [row for row in spec.rows if row not in absent]
    caption = context.caption(spec, rows, spec.protocol)
    figure = draw_cost(key, spec.title, caption, printed, measured)
    return [context.note(figure, rows, absent, cells=cells)]


def _printed(context: Context, spec: Cost) -> tuple[list[Point], list[str]]:
    """The points of the table that the figure stands beside, and the cells that they are in; none
    when there are no tables."""
    for table in context.cells()["tables"]:
        if f"{table['document']}/{table['table']}" == spec.printed.table:
            break
    else:
        return [], []
    cells, points, read = context.cells()["cells"], [], list[str]()
    labels = [row["label"] for row in table["rows"]]
    for row in table["rows"]:
        columns = (spec.printed.cost, spec.printed.accuracy)
        addresses = [f"{spec.printed.table}/{row['row']}/{column}" for column in columns]
        pair = [cells.get(address, {}).get("claimed") for address in addresses]
        if not all(pair):
            continue
        read += addresses
        label = _CITATION.sub("", row["label"])
        if labels.count(row["label"]) > 1 and row["settings"]:
            label += f" {list(row['settings'].values())[-1]}"
        gmacs, accuracy = (float(value) for value in pair)
        points.append(Point(label, gmacs, accuracy, ours=label.startswith("TDN")))
    return points, read


def _orderings(context: Context, key: str, spec: Ordering) -> list[Drawing]:
    """One figure per table column with an order to compare."""
    found = []
    cells = context.cells()
    for table in cells["tables"]:
        table_id = f"{table['document']}/{table['table']}"
        for ordering in table["orderings"]:
            if ordering["tau"] is None or len(ordering["rows"]) < FEWEST_RANKED:
                continue
            column = next(c for c in table["columns"] if c["key"] == ordering["column"])
            rows = []
            for row in table["rows"]:
                if row["row"] in ordering["rows"]:
                    cell = cells["cells"][f"{table_id}/{row['row']}/{ordering['column']}"]
                    label = _CITATION.sub("", _label(row, table))
                    ends = {"low": cell["ci_low"], "high": cell["ci_high"]}
                    values = {name: cell[name] for name in ("claimed", "measured")}
                    rows.append({"row": row["row"], "label": label, **values, **ends})
            name = f"{key}_{table_id}_{ordering['column']}".replace("/", "_").replace("-", "_")
            smoke = " Measured on generated miniatures (smoke)." if ordering["smoke"] else ""
            caption = (
                f"{table['caption'].rstrip('.')}: column {column['label']} under protocol "
                f"{column['protocol']}, rows as in the table. {ordering['in_words']} {spec.remark}"
                f"{smoke}"
            )
            title = f"{spec.title}: {table['document']}, table {table['table']}"
            read = [f"{table_id}/{row['row']}/{ordering['column']}" for row in rows]
            drawn = (name, title, caption.strip(), rows, ordering)
            draw = partial(_ranks, context, drawn, read)
            found.append(Drawing(name, [*drawn, read], draw))
    if found:
        return found
    why = f"no table has {FEWEST_RANKED} measured rows"
    return [Drawing(key, why, lambda: [context.nothing(key, spec, {}, why)])]


def _ranks(context: Context, drawn: tuple[Any, ...], cells: list[str]) -> list[Figure]:
    """The figure of one order: what `draw_ranks` takes, and the cells that it shows."""
    figure = draw_ranks(*drawn)
    return [context.note(figure, [], {}, cells=cells, found=drawn[-1]["in_words"])]


def _label(row: dict[str, Any], table: dict[str, Any]) -> str:
    """A row's label, with its ticked or written settings where several rows share it."""
    if [other["label"] for other in table["rows"]].count(row["label"]) == 1:
        return str(row["label"])
    parts = []
    for setting in table["settings"]:
        value = row["settings"].get(setting["key"], "")
        parts.append(setting["label"] if value == "✓" else value)
    return f"{row['label']} ({', '.join(filter(None, parts))})"


def _outcomes(context: Context, row: str, protocol: str) -> Outcomes | str:
    """Who was right on which video, or why that is not known."""
    if reason := context.missing(row):
        return reason
    found = scores.read(context.work.run(row) / "scores" / f"{protocol}.parquet")
    return found if found is not None else f"not scored under protocol {protocol}"


def _reversal(context: Context, key: str, spec: Reversal) -> list[Figure]:
    found, absent = {}, {}
    for row in spec.rows:
        one = _outcomes(context, row, spec.protocol)
        if isinstance(one, str):
            absent[row] = one
        else:
            found[row] = one
    if not found:
        return [context.nothing(key, spec, absent)]
    first = next(iter(found))
    classes = context.classes(first)
    dataset = context.plan.rows[first].data.name
    miniature = context.plan.datasets[dataset].miniature
    pairs = [(a, b) for a, b in spec.pairs]
    if miniature is not None:
        pairs = Truth(dataset, miniature).reversed_pairs
    pairs = [pair for pair in pairs if set(pair) <= set(classes)]
    if not pairs:
        return [context.nothing(key, spec, absent, "the data set has none of these classes")]
    caption = context.caption(spec, list(found), spec.protocol)
    figure = draw_reversal(key, spec.title, caption, spec.rows, pairs, found, classes)
    return [context.note(figure, list(found), absent)]


def _gains(context: Context, key: str, spec: Gains) -> list[Figure]:
    rows = list(spec.rows)
    absent = {row: reason for row in rows if (reason := context.missing(row))}
    if absent:
        return [context.nothing(key, spec, absent)]
    classes = context.classes(rows[0])
    if context.plan.rows[rows[0]].data.multi_label:
        paths = [context.work.run(row) / "predict" / f"{spec.protocol}.parquet" for row in rows]
        read = [predictions.read(path) for path in paths]
        rules = [context.plan.rows[row].protocols[spec.protocol] for row in rows]
        both = [score_videos(p, rule.aggregate) for p, rule in zip(read, rules, strict=True)]
        gains = precision_gains(both[0], both[1], classes)
    else:
        one, other = (_outcomes(context, row, spec.protocol) for row in rows)
        if isinstance(one, str) or isinstance(other, str):
            reasons = {r: o for r, o in zip(rows, (one, other), strict=True) if isinstance(o, str)}
            return [context.nothing(key, spec, reasons)]
        gains = accuracy_gains(one, other, classes)
    caption = context.caption(spec, rows, spec.protocol)
    first, second = spec.rows.values()
    figure = draw_gains(
        key, spec.title, caption, (first, second), gains, most=spec.most, printed=spec.printed
    )
    return [context.note(figure, rows, {})]


_MAKERS: dict[str, Callable[[Context, str, Any], list[Figure]]] = {
    "curves": _curves,
    "cost": _cost,
    "reversal": _reversal,
    "gains": _gains,
    "cam": cam,
    "gradcam": gradcam,
    "kernels": kernels,
}
