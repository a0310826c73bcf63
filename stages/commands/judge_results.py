"""`tdn verdict` and `tdn reference`: results held against trainings that differ in seeds alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.core.errors import AbsentData, TdnError, UsageError
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import TRIAL, Evidence, environment
from pipeline.reporting.results import contents, headline
from pipeline.schema.base import nearest
from pipeline.scores.reference import (
    LEAST_TRAININGS,
    Bounds,
    Result,
    allowed_outside,
    bounds,
    read_results,
    reference_path,
    write_results,
)
from stages.commands.compare_results import read_metrics


@dataclass(frozen=True)
class Judged:
    """One result; without `bounds` nothing can be said of it."""

    result: Result
    bounds: Bounds | None
    why_not: str = ""

    @property
    def outside(self) -> bool:
        """Whether a training of this row should rarely give such a result."""
        return self.bounds is not None and not self.bounds.holds(self.result.value_pct)


@dataclass(frozen=True)
class Verdict:
    """Results judged, one for each training and protocol of a row.

    It sees single results: a small shift of all rows together stays unseen.
    """

    judged: tuple[Judged, ...]
    allowed: int
    """Results outside that honest runs of so many have by chance."""

    @property
    def within(self) -> list[Judged]:
        return [one for one in self.judged if one.bounds is not None and not one.outside]

    @property
    def outside(self) -> list[Judged]:
        return [one for one in self.judged if one.outside]

    @property
    def unknown(self) -> list[Judged]:
        return [one for one in self.judged if one.bounds is None]

    @property
    def holds(self) -> bool | None:
        """Whether these are results that the reference lets one expect; None: nothing judged."""
        if not self.within and not self.outside:
            return None
        return len(self.outside) <= self.allowed

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        if self.holds is None:
            why = f": {self.unknown[0].why_not}" if self.unknown else ""
            return f"verdict: nothing could be judged{why}"
        rows = dict.fromkeys(one.result.row for one in self.outside)
        total = len(self.within) + len(self.outside)
        line = f"verdict: {len(self.within)} of {total} results within the reference distribution"
        return f"{line}; outside: {', '.join(rows)} ({self.allowed} allowed)" if rows else line


def results_here(work: Workspace) -> list[Result]:
    """Every training's results in this profile's metrics, and the machine of its record."""
    evidence = Evidence(work)
    found = []
    for row, metrics in read_metrics(work.reports).items():
        known = f"train/{row}" in evidence.runs
        machine = environment(evidence.observed(f"train/{row}") or {}) if known else {}
        if "identity" not in metrics or "processor" not in machine:
            continue
        name = headline(metrics)
        for protocol, scored in metrics["protocols"].items():
            trainings = zip(scored.get("trainings", []), contents(scored), strict=False)
            for seed, (value, predictions) in enumerate(trainings, start=int(metrics["seed"])):
                if value is not None:
                    found.append(
                        Result(
                            row=row,
                            protocol=protocol,
                            metric=name,
                            seed=seed,
                            cpu=machine["processor"],
                            torch=machine.get("torch", "unknown"),
                            identity=metrics["identity"],
                            videos=int(scored["n_scored"]),
                            predictions=predictions,
                            value_pct=float(value),
                        )
                    )
    return found


def add_to_reference(work: Workspace, source: Workspace) -> tuple[int, int, int]:
    """Add the results of `source`'s profile to the reference of `work`'s.

    Returns how many were added, how many replaced an earlier one of the same training, and how
    many are now in it. Raises AbsentData when `source` has no results with records.
    """
    path = reference_path(work.root, work.profile)
    before, new = read_results(path), _results(source)
    known = {result.training: result for result in before}
    replaced = [one for one in new if known.get(one.training, one) != one]
    write_results(path, [*before, *new])
    added = sum(one.training not in known for one in new)
    return added, len(replaced), len(read_results(path))


def judge(work: Workspace, rows: Sequence[str] = (), reference: Path | None = None) -> Verdict:
    """Hold the profile's results against its reference, or those of `rows` alone.

    A result that is itself in the reference is judged by the others. Raises UsageError for an
    unknown row or file, AbsentData when there are no results or no reference.
    """
    known = _reference(work, reference)
    here = _results(work)
    for row in rows:
        if row not in {one.row for one in here}:
            names = list(dict.fromkeys(one.row for one in here))
            raise UsageError(f"no row '{row}' has results here", do=nearest(row, names))
    return _verdict(
        [one for one in held_against(here, known) if one.result.row in rows or not rows]
    )


def held_against(here: Sequence[Result], known: Sequence[Result]) -> list[Judged]:
    """Each of the results of a run judged by the other trainings of its kind in `known`."""
    others = {one: _others(one, known) for one in here}
    found = bounds(
        {one: ([x.value_pct for x in theirs], one.videos) for one, theirs in others.items()}
    )
    return [Judged(one, found.get(one), _why_not(one, others[one], known)) for one in here]


def _verdict(judged: Sequence[Judged]) -> Verdict:
    return Verdict(tuple(judged), allowed_outside(sum(one.bounds is not None for one in judged)))


def honest_runs(work: Workspace, reference: Path | None = None) -> dict[int, Verdict]:
    """The reference held against itself: by seed, the verdict on the trainings of that seed.

    Each is judged by the other seeds. Only seeds of which something can be judged are in it.
    """
    known = _reference(work, reference)
    seeds = sorted({one.seed for one in known})
    runs = {seed: [one for one in known if one.seed == seed] for seed in seeds}
    verdicts = {seed: _verdict(held_against(run, known)) for seed, run in runs.items()}
    return {seed: found for seed, found in verdicts.items() if found.holds is not None}


def trial_runs(work: Workspace, reference: Path | None = None) -> dict[str, list[Judged]]:
    """Rows run with other values (`tdn repro ROW --set …`), judged as if they were the row itself.

    By what was set, seeds left out. Says what the verdict sees of a row that is spoiled.
    """
    known = _reference(work, reference)
    rows = read_metrics(work.reports)
    found: dict[str, list[Judged]] = {}
    for key, metrics in read_metrics(work.reports, trials=True).items():
        row, _, settings = key.partition(TRIAL)
        setting = re.sub(r"(^|_)(start-)?seeds?-\d+", "", settings).strip("_")
        identity, name = rows.get(row, {}).get("identity"), headline(metrics)
        for protocol, scored in metrics["protocols"].items():
            theirs = [one for one in known if one.kind == (identity, protocol, name)]
            # Of the same seeds one is the same training, under another row's name.
            others = [one for one in theirs if setting or one.value_pct != scored.get(name)]
            limits = bounds({row: ([one.value_pct for one in others], scored["n_scored"])})
            if row in limits and scored.get(name) is not None:
                result = replace(theirs[0], predictions=key, value_pct=float(scored[name]))
                found.setdefault(setting, []).append(Judged(result, limits[row]))
    return found


def _reference(work: Workspace, reference: Path | None) -> list[Result]:
    """The results of a reference; UsageError for a file that is not there, AbsentData for none."""
    if reference is not None and not reference.is_file():
        raise UsageError(f"no file {reference}", do="name a file that `tdn reference` wrote")
    path = reference or reference_path(work.root, work.profile)
    if known := read_results(path):
        return known
    raise AbsentData(
        "there is no reference distribution to judge by",
        where="/".join(path.parts[-3:]),
        do=f"make one of at least {LEAST_TRAININGS} seeds: `make repro SEED=1`, "
        "`tdn reference`, and so on",
    )


def _results(work: Workspace) -> list[Result]:
    """The profile's results; AbsentData when there are none."""
    if here := results_here(work):
        return here
    raise AbsentData(
        f"profile {work.profile} has no results with run records",
        do=f"run `make repro PROFILE={work.profile}`",
    )


def closing(work: Workspace) -> str:
    """The verdict on a whole profile in one line; '' where there is no reference to judge by."""
    if not reference_path(work.root, work.profile).is_file():
        return ""
    try:
        return judge(work).summary
    except TdnError as error:
        return f"verdict: nothing could be judged: {error.what}"


def _others(result: Result, known: Iterable[Result]) -> list[Result]:
    """Other trainings of the same kind in the reference; equal predictions are one training."""
    found = {one.predictions: one for one in known if one.kind == result.kind}
    return [
        one
        for one in found.values()
        if one.predictions != result.predictions and one.training != result.training
    ]


def _why_not(result: Result, others: Sequence[Result], known: Iterable[Result]) -> str:
    """Why nothing can be said of a result; '' when something can."""
    if len(others) >= LEAST_TRAININGS:
        return ""
    same_row = [one for one in known if one.row == result.row]
    if same_row and all(one.kind != result.kind for one in same_row):
        return "the reference is of other data or parameters"
    return f"trainings in the reference: {len(others)} of {LEAST_TRAININGS} that are needed"
