"""What the rows of a profile measured, looked up by row, protocol and metric.

Rows come from the manifest, never from a folder. The file of a removed row is reported as an orphan
and not read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np

from pipeline.core.benchmark import timing_files
from pipeline.core.errors import RecordError
from pipeline.core.files import sha256_file
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import TRIAL
from pipeline.reporting.cells import IntervalOver, Lineage, Measurement, Source
from pipeline.reporting.training_order import Trainings
from pipeline.schema.table_layouts import Column
from pipeline.scores import video_scores as scores
from pipeline.scores.reference import bounds, read_results, reference_path
from pipeline.scores.statistics import Interval, Spread, with_trainings
from pipeline.scores.video_scores import Outcomes

Key = tuple[str, str, str]
"""Row, protocol and metric."""


@dataclass(frozen=True)
class RunResult:
    """One row's (or combination's) metrics; `metrics` is None when its file is missing."""

    metrics: Mapping[str, Any] | None
    sources: tuple[Source, ...]
    members: tuple[str, ...]
    rule: str | None = None
    missing: str = ""


@dataclass
class Results:
    """Every result a table may need. `runs` holds exactly the rows and combinations in use.

    `costs`: {params, gmacs} at the paper's size. `timings`: {row: {protocol: {ms_per_video,
    machine}}}, true of one machine.
    """

    runs: dict[str, RunResult]
    costs: Mapping[str, Mapping[str, Any]]
    """By row; and by network of manifests/models.yaml, which names the claims that print it."""
    cost_source: Source | None
    timings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    timing_source: Source | None = None
    outcomes: dict[tuple[str, str], Outcomes] = field(default_factory=dict)
    spreads: dict[Key, Spread] = field(default_factory=dict)
    """How far trainings lie apart, where that is known."""
    trainings: dict[Key, Trainings] = field(default_factory=dict)
    """What the reference distribution knows of a row besides this run."""

    def spread(self, lineage: Lineage | Mapping[str, Any]) -> Spread | None:
        """That of the number behind a cell."""
        about = lineage if isinstance(lineage, Mapping) else vars(lineage)
        return self.spreads.get((about["run"], about["protocol"], about["metric"]))

    def measure(
        self, run: str | None, column: Column, protocol: str | None, claim_id: str | None = None
    ) -> Measurement:
        """The measurement behind a cell of `column`; unknown rows are not `known`.

        A network may be counted without being a row of the profile: its accuracy is then cited and
        its cost is not. A printed cost is that of the network which names the claim, if one does.
        """
        if column.measure.kind == "cost" and claim_id is not None:
            named = (key for key, cost in self.costs.items() if claim_id in cost.get("claims", ()))
            run = next(named, run)
        if run is None or (run not in self.runs and run not in self.costs):
            return Measurement(known=False)
        if column.measure.kind == "cost":
            return self._cost(run, column)
        if run not in self.runs:
            return Measurement(known=False)
        if column.measure.kind == "timing":
            return self._timing(run, column, protocol or "")
        return self._metric(run, column, protocol or "")

    def _cost(self, run: str, column: Column) -> Measurement:
        result = self.runs.get(run, RunResult(None, (), (run,)))
        entries = [self.costs.get(member, {}) for member in result.members]
        if not all(entries) or self.cost_source is None:
            return Measurement(missing="its cost was not counted")
        # Folds of one network cost what one costs; an ensemble costs the sum of its members.
        folds = result.rule in ("mean_of_folds", "pool_folds")
        counts = [entry[column.measure.name] for entry in entries]
        return Measurement(
            measured=round(float(counts[0] if folds else sum(counts)), column.decimals),
            note=str(entries[0].get("note", "")),
            lineage=Lineage(
                run=run,
                runs=result.members,
                rule=result.rule,
                metric=column.measure.name,
                sources=(self.cost_source,),
            ),
        )

    def _timing(self, run: str, column: Column, protocol: str) -> Measurement:
        timing = self.timings.get(run, {}).get(protocol)
        if timing is None or self.timing_source is None:
            return Measurement(missing="not timed: run `tdn bench timings`")
        return Measurement(
            measured=float(timing[column.measure.name]),
            machine=str(timing["machine"]),
            lineage=Lineage(
                run=run,
                runs=(run,),
                protocol=protocol,
                metric=column.measure.name,
                sources=(self.timing_source,),
            ),
        )

    def _metric(self, run: str, column: Column, protocol: str) -> Measurement:
        result, name = self.runs[run], column.measure.name
        if (metrics := result.metrics) is None:
            return Measurement(missing=result.missing)
        scored = metrics["protocols"].get(protocol)
        if scored is None or scored.get(name) is None:
            why = "not evaluated under" if scored is None else f"no {name} under"
            return Measurement(missing=str(metrics["reason"] or f"{why} protocol {protocol}"))
        interval = scored.get(name.removesuffix("_pct") + "_ci95_pct")
        spread = self.spreads.get((run, protocol, name))
        if interval is not None:
            within = with_trainings(scored[name], Interval(*interval), spread)
            interval = round(within.low, 4), round(within.high, 4)
        return Measurement(
            measured=float(scored[name]),
            ci_low=None if interval is None else interval[0],
            ci_high=None if interval is None else interval[1],
            interval_over=_over(interval is not None, spread),
            smoke=bool(metrics["smoke"]),
            note=str(metrics.get("remark", "")),
            trainings_note=_trainings_note(scored.get("trainings", []), name == headline(metrics)),
            lineage=Lineage(
                run=run,
                runs=result.members,
                rule=result.rule,
                protocol=protocol,
                metric=name,
                dataset=str(metrics["dataset"]),
                sources=result.sources,
            ),
            n_expected=expected(metrics, scored),
            subset=metrics.get("official", {}).get("subset", ""),
            n_scored=int(scored["n_scored"]),
            n_failed=int(scored["n_failed"]),
            n_partial=int(scored["n_partial"]),
        )


def expected(metrics: Mapping[str, Any], scored: Mapping[str, Any]) -> int:
    """Videos of a test split: as its publishers count them, or as listed where those are more."""
    return max(int(scored["n_expected"]), metrics.get("official", {}).get("videos") or 0)


def headline(metrics: Mapping[str, Any]) -> str:
    """The number that a row is about."""
    return "map_pct" if metrics["metric"] == "map" else "top1_pct"


def _over(interval: bool, spread: Spread | None) -> IntervalOver:
    if not interval:
        return ""
    return "videos" if spread is None else "videos and trainings"


def _trainings_note(values: Sequence[float], wanted: bool) -> str:
    """In words, where there were several."""
    if len(values) < 2 or not wanted:
        return ""
    return f"{len(values)} trainings, standard deviation {stdev(values):.2f}"


def load_spreads(metrics: Mapping[str, Mapping[str, Any]], reference: Path) -> dict[Key, Spread]:
    """How far trainings of rows lie apart by row, protocol and headline metric.

    From all known trainings of the same data and parameters, this run's and the `reference`'s, if
    they are three. A row's number is the mean over its trainings in this run, and so is its spread.
    """
    found = list(_known_trainings(metrics, reference))
    own = {key: len(trainings) for key, trainings, _, _ in found}
    return {
        key: Spread(one.spread_pct / math.sqrt(own[key]), one.df)
        for key, one in bounds(_together(found)).items()
    }


def load_trainings(
    metrics: Mapping[str, Mapping[str, Any]], reference: Path
) -> dict[Key, Trainings]:
    """All trainings of the rows that the `reference` knows besides this run's own, with it."""
    trainings = {}
    found = [known for known in _known_trainings(metrics, reference) if known[2].keys() - known[1]]
    for (row, protocol, name), known in bounds(_together(found)).items():
        scored = metrics[row]["protocols"][protocol]
        interval = scored.get(name.removesuffix("_pct") + "_ci95_pct")
        if interval is not None:
            own = Trainings(known, float(scored[name]), Interval(*interval))
            trainings[row, protocol, name] = own
    return trainings


def _together(known: Iterable[Known]) -> dict[Key, tuple[list[float], int]]:
    """This run's trainings and the reference's, each once, and how many videos were scored."""
    return {
        key: ([*{**own, **theirs}.values()], videos)
        for key, own, theirs, videos in known
        if own and videos
    }


Known = tuple[Key, dict[str, float], dict[str, float], int]


def _known_trainings(metrics: Mapping[str, Mapping[str, Any]], reference: Path) -> Iterator[Known]:
    """Each row's number, its own trainings and the reference's by digest of the predictions, and
    how many videos were scored."""
    known: dict[tuple[str, str, str], dict[str, float]] = {}
    for result in read_results(reference):
        known.setdefault(result.kind, {})[result.predictions] = result.value_pct
    for row, found in metrics.items():
        name, identity = headline(found), found.get("identity", "")
        for protocol, scored in found["protocols"].items():
            trainings = zip(contents(scored), scored.get("trainings", []), strict=False)
            own = {digest: value for digest, value in trainings if value is not None}
            theirs = known.get((identity, protocol, name), {})
            yield (row, protocol, name), own, theirs, int(scored["n_scored"])


def contents(scored: Mapping[str, Any]) -> list[str]:
    """Digests of the predictions of each training; files of before had one without a list."""
    found = scored.get("predictions_content") or []
    return [found] if isinstance(found, str) else list(found)


def load_results(work: Workspace, rows: Sequence[str]) -> Results:
    """Metrics, per-video outcomes and costs of `rows`; what is missing is stated in words.

    Raises RecordError when a file is there and cannot be read.
    """
    runs: dict[str, RunResult] = {}
    outcomes: dict[tuple[str, str], Outcomes] = {}
    for row in rows:
        path = work.metrics(row)
        if not path.is_file():
            runs[row] = RunResult(None, (), (row,), missing="not scored: no metrics file")
            continue
        metrics = _read(work, path)
        _check_percentages(metrics, work.relative(path))
        runs[row] = RunResult(metrics, (source(work, path),), (row,))
        for protocol in metrics["protocols"]:
            path = work.run(row) / "scores" / f"{protocol}.parquet"
            if (scored := scores.read(path)) is not None:
                outcomes[row, protocol] = scored
    scored_rows = {row: run.metrics for row, run in runs.items() if run.metrics is not None}
    reference = reference_path(work.root, work.profile)
    spreads = load_spreads(scored_rows, reference)
    trainings = load_trainings(scored_rows, reference)
    path = work.reports / "costs.json"
    costs, cost_source = (_read(work, path), source(work, path)) if path.is_file() else ({}, None)
    timings, timing_source = _timings(work)
    return Results(runs, costs, cost_source, timings, timing_source, outcomes, spreads, trainings)


def _check_percentages(metrics: Mapping[str, Any], where: str) -> None:
    """Raise RecordError for a percentage that is none."""
    for protocol, values in metrics["protocols"].items():
        for name, value in values.items():
            if name.endswith("_pct") and value is not None:
                wrong = [v for v in np.atleast_1d(value).tolist() if not 0 <= v <= 100]
                if wrong:
                    raise RecordError(
                        f"{name} under {protocol} is {wrong[0]:g}, which is no percentage",
                        where=where,
                        do=f"score the row again: `tdn score {metrics['row']}`",
                    )


def _timings(work: Workspace) -> tuple[dict[str, Any], Source | None]:
    """{row: {protocol: {ms_per_video, machine}}} of the first file of times that there is."""
    for path in timing_files(work.root):
        report = _read(work, path)
        host = report["machine"]
        machine = ", ".join(host["accelerators"]) or f"{host['cpu']}, {host['cores']} cores"
        timings: dict[str, Any] = {}
        for row in report["rows"]:
            if row["in tables"]:
                times = {"ms_per_video": row["ms per video, loading included"], "machine": machine}
                timings.setdefault(row["row"], {})[row["protocol"]] = times
        if timings:
            return timings, source(work, path)
    return {}, None


def orphans(work: Workspace, rows: Sequence[str]) -> list[str]:
    """Metrics files that belong to no row of the manifest, as relative paths."""
    folder = work.reports / "metrics"
    known = {work.metrics(row) for row in rows}
    found = [path for path in sorted(folder.glob("*.json")) if TRIAL not in path.name]
    return [work.relative(path) for path in found if path not in known]


def source(work: Workspace, path: Path) -> Source:
    """A file as a lineage names it."""
    return Source(work.relative(path), sha256_file(path))


def _read(work: Workspace, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecordError(
            f"not readable as JSON: {error}", where=work.relative(path), do="run its stage again"
        ) from None
    if not isinstance(value, dict):
        raise RecordError("not a JSON object", where=work.relative(path), do="run its stage again")
    return value
