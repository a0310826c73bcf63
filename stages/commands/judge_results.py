"""`tdn verdict` and `tdn reference`: results held against trainings that differ in seeds alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
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
    """Results judged, at most one per row: its first protocol."""

    judged: tuple[Judged, ...]
    allowed: int
    """Results outside that honest runs of so many rows have by chance."""

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
    def holds(self) -> bool:
        """Whether these are results that the reference lets one expect."""
        return len(self.outside) <= self.allowed

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        outside = [one.result.row for one in self.outside]
        total = len(self.within) + len(outside)
        line = f"verdict: {len(self.within)} of {total} rows within the reference distribution"
        if not outside:
            return line
        chance = f"chance explains {self.allowed}"
        return f"{line}; outside: {', '.join(outside)} ({chance})"


def results_here(work: Workspace) -> list[Result]:
    """Every training's results in this profile's metrics, and the machine of its record."""
    evidence = Evidence(work)
    found = []
    for row, metrics in read_metrics(work.reports).items():
        machine = evidence.observed(f"train/{row}") if f"train/{row}" in evidence.runs else None
        if machine is None or "identity" not in metrics:
            continue
        name = "map_pct" if metrics["metric"] == "map" else "top1_pct"
        about = {
            "row": row,
            "metric": name,
            "cpu": ", ".join(machine.get("accelerators") or []) or str(machine["cpu"]),
            "torch": str(machine["packages"]["torch"]),
            "identity": metrics["identity"],
        }
        for protocol, scored in metrics["protocols"].items():
            for seed, value in enumerate(scored["trainings"], start=int(metrics["seed"])):
                if value is not None:
                    found.append(Result(**about, protocol=protocol, seed=seed, value_pct=value))
    return found


def add_to_reference(work: Workspace, source: Workspace) -> tuple[int, int]:
    """Add the results of `source`'s profile to the reference of `work`'s.

    Returns how many were added, and how many are now in it. Raises AbsentData when `source` has
    no results with records.
    """
    path = reference_path(work.root, work.profile)
    before, new = read_results(path), results_here(source)
    if not new:
        raise AbsentData(
            f"profile {source.profile} has no results with run records",
            do=f"run `make repro PROFILE={source.profile}`",
        )
    known = {result.drawn_as for result in before}
    write_results(path, [*before, *new])
    return sum(result.drawn_as not in known for result in new), len(read_results(path))


def judge(work: Workspace, rows: Iterable[str] = (), reference: Path | None = None) -> Verdict:
    """Hold the profile's results against its reference, or those of `rows` alone.

    A result that is itself in the reference is judged by the others. Raises UsageError for an
    unknown row, AbsentData when there are no results or no reference.
    """
    path = reference or reference_path(work.root, work.profile)
    known = read_results(path)
    if not known:
        raise AbsentData(
            "there is no reference distribution to judge by",
            where=str(path),
            do=f"make one of at least {LEAST_TRAININGS} seeds: `make repro SEED=1`, "
            f"`tdn reference`, and so on",
        )
    here: dict[str, Result] = {}
    for result in results_here(work):
        here.setdefault(result.row, result)
    for row in rows:
        if row not in here:
            raise UsageError(f"no row '{row}' has results here", do=nearest(row, list(here)))
    chosen = [result for row, result in here.items() if row in set(rows) or not rows]
    found = bounds({r.row: [x.value_pct for x in _others(r, known)] for r in here.values()})
    judged = [Judged(r, found.get(r.row), _why_not(r, known)) for r in chosen]
    return Verdict(tuple(judged), allowed_outside(sum(one.bounds is not None for one in judged)))


def closing(work: Workspace) -> str:
    """The verdict on a whole profile in one line; '' where there is no reference to judge by."""
    if not reference_path(work.root, work.profile).is_file():
        return ""
    return judge(work).summary


def _others(result: Result, known: list[Result]) -> list[Result]:
    """Results of the reference with the same identity, this very one left out."""
    return [
        one
        for one in known
        if (one.identity, one.protocol) == (result.identity, result.protocol)
        and one.drawn_as != result.drawn_as
    ]


def _why_not(result: Result, known: list[Result]) -> str:
    """Why nothing can be said of a result; '' when something can."""
    count = len(_others(result, known))
    if count >= LEAST_TRAININGS:
        return ""
    if count == 0 and any(one.row == result.row for one in known):
        return "the reference is of other data or parameters"
    return f"{count} trainings in the reference, {LEAST_TRAININGS} are needed"
