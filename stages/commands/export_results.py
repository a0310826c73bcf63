"""`tdn results`: all numbers of a profile as JSON or CSV, or one row's for a model card."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import json_bytes
from pipeline.core.workspace import Workspace
from pipeline.reporting import results_file
from pipeline.reporting.results_file import Number, ResultsFile
from pipeline.schema.base import nearest

FORMS = ("json", "csv", "model-index", "eval-results")
_METRICS = {"top1_pct": ("accuracy", "Top-1"), "top5_pct": ("accuracy", "Top-5")}
_METRICS["map_pct"] = ("mean_average_precision", "mAP")


def run(
    work: Workspace, *, form: str = "json", row: str = "", hub: str = "", schema: bool = False
) -> str:
    """The results in a form of FORMS, or the JSON Schema of the first.

    `row` is what a model card is about, `hub` the data set's name on the Hub (OWNER/NAME), which
    `eval-results` needs. Raises AbsentData when the tables were not made, UsageError for another
    form, for a row without results, and for a row of miniature data as a result of `hub`.
    """
    if schema:
        return json_bytes(results_file.schema()).decode()
    if form not in FORMS:
        raise UsageError(f"cannot print results as '{form}'", do=nearest(form, list(FORMS)))
    for name, given, forms in (("row", row, FORMS[2:]), ("hub", hub, FORMS[3:])):
        if given and form not in forms:
            do = f"leave it out, or give `--format {forms[0]}`"
            raise UsageError(f"--{name} says nothing about results as {form}", do=do)
    if not (work.reports / "tables" / "cells.json").is_file():
        raise AbsentData(
            "there are no tables to print",
            where=work.relative(work.reports / "tables"),
            do=f"run `tdn tables --profile {work.profile}`",
        )
    found = results_file.collect(work)
    if form == "json":
        return json_bytes(found.model_dump(mode="json")).decode()
    if form == "csv":
        return _csv(found)
    numbers = _of_row(found, row)
    value = _model_index(row, numbers) if form == "model-index" else _eval_results(numbers, hub)
    return json_bytes(value).decode()  # which is YAML as well


def _csv(results: ResultsFile) -> str:
    """One line per number, for a spreadsheet: what is nested in the JSON has two words."""
    lines = []
    for name, number in results.numbers.items():
        document, table, _, _ = name.split("/")
        flat: dict[str, Any] = {"document": document, "table": table}
        for key, value in number.model_dump(exclude={"sources", "trainings", "runs"}).items():
            if key in _NESTED:
                flat |= {f"{key}_{part}": (value or {}).get(part) for part in _NESTED[key]}
            else:
                flat[key] = value
        lines.append(flat)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, lines[0] if lines else ["document"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


_NESTED = {
    name: tuple(kind.model_fields)
    for name, kind in (
        ("interval", results_file.Range),
        ("videos", results_file.Videos),
        ("claim", results_file.Claim),
    )
}


def _of_row(results: ResultsFile, row: str) -> list[Number]:
    """The accuracies of one run, each once: several tables print the same."""
    known: dict[str, dict[tuple[str | None, str | None], Number]] = {}
    for number in results.numbers.values():
        if (
            number.run
            and not number.rule
            and number.value is not None
            and number.metric in _METRICS
        ):
            known.setdefault(number.run, {})[number.protocol, number.metric] = number
    if row not in known:
        raise UsageError(f"no results of a row '{row}'", do=f"--row: {nearest(row, [*known])}")
    return list(known[row].values())


def _model_index(row: str, numbers: Iterable[Number]) -> dict[str, Any]:
    """The `model-index` of a model card on the Hugging Face Hub; values in percent.

    https://github.com/huggingface/hub-docs/blob/main/modelcard.md
    """
    results = []
    for number in numbers:
        kind, name = _METRICS[str(number.metric)]
        made = " (generated miniature)" if number.smoke else ""
        about = {
            "type": f"tdn-bench-miniature-{number.dataset}" if number.smoke else number.dataset,
            "name": f"{number.dataset}{made}",
        }
        metric = {"type": kind, "name": f"{name} (%)", "value": number.value}
        metric["config"] = number.protocol
        task = {"type": "video-classification", "name": "Action recognition"}
        results.append({"task": task, "dataset": about, "metrics": [metric]})
    return {"model-index": [{"name": row, "results": results}]}


def _eval_results(numbers: Iterable[Number], hub: str) -> list[dict[str, Any]]:
    """A `.eval_results/*.yaml` of a model on the Hub, whose tasks are named `protocol_metric`.

    https://huggingface.co/docs/hub/eval-results
    """
    if hub.count("/") != 1:
        raise UsageError("no data set of the Hub is named", do="give `--hub OWNER/NAME`")
    entries = []
    for number in numbers:
        if number.smoke:
            raise UsageError(
                f"numbers on the miniature of {number.dataset} are no results of {hub}",
                do="export `model-index`, or the row of a profile on real data",
            )
        task = {"id": hub, "task_id": f"{number.protocol}_{number.metric}"}
        entries.append({"dataset": task, "value": number.value, "notes": _notes(number)})
    return entries


def _notes(number: Number) -> str:
    counts, interval = number.videos, number.interval
    words = [f"percent, {number.status}"]
    if counts is not None:
        words.append(f"{counts.scored} of {counts.expected} videos")
    if interval is not None:
        words.append(f"95 % interval {interval.low} to {interval.high} over {interval.over}")
    return ", ".join(words)
