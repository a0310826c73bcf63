"""A cell of a regenerated table: what was claimed, what was measured, and what that means.

| status | when |
| --- | --- |
| claim-conflict | another text prints a different number for the same model (decided first) |
| cited | the number is someone else's: no row of ours stands behind it |
| not-run | a row of ours stands behind it and has no result; the reason says why |
| smoke | measured on synthetic or reduced data: shown, never compared with the claim |
| partial | of a declared subset, or fewer than 99 % of the official test videos were scored |
| measured | there is no claim to compare with, or it is a time (which belongs to a machine) |
| verified | it rounds to the printed number, or is within the points that the column allows |
| within-tolerance | it does not round to it, but is within the column's relative tolerance |
| differs | outside both |

The rules are tried in this order. Columns that depend on no data (operations, parameters, views,
which are counted in the predictions of a run) are compared with the claim on every profile.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pipeline.schema.claims import Claim
from pipeline.schema.table_layouts import Column


class Status(StrEnum):
    VERIFIED = "verified"
    WITHIN = "within-tolerance"
    DIFFERS = "differs"
    MEASURED = "measured"
    SMOKE = "smoke"
    CITED = "cited"
    NOT_RUN = "not-run"
    PARTIAL = "partial"
    CLAIM_CONFLICT = "claim-conflict"


MEANING = {
    Status.VERIFIED: "measured here; agrees with the printed number",
    Status.WITHIN: "measured here; not the printed number, but within the stated tolerance of it",
    Status.DIFFERS: "measured here, outside the stated tolerance of the printed number",
    Status.MEASURED: "measured here; no printed number, or only a time on another machine",
    Status.SMOKE: "measured on synthetic or reduced data; never compared with the printed number",
    Status.CITED: "printed by the authors; this profile runs no such row",
    Status.NOT_RUN: "a row of this project that has no result yet",
    Status.PARTIAL: "measured here on a part of the test videos; not held against the claim",
    Status.CLAIM_CONFLICT: "two texts print different numbers for the same model",
}


COVERAGE = 0.99
"""The least share of a split's official videos for a number to be compared: links of Kinetics rot,
and one video less is no other experiment; what is missing moves a percentage by a point at most."""

IntervalOver = Literal["", "videos", "videos and trainings"]


@dataclass(frozen=True)
class Source:
    """A file behind a number: its path from the project's top and its sha256."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Lineage:
    """Where a measured number comes from; `sources` are the files read, nearest first."""

    run: str | None = None
    runs: tuple[str, ...] = ()
    rule: str | None = None
    protocol: str | None = None
    metric: str | None = None
    dataset: str | None = None
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """What was measured, and on how many videos; numbers are in the column's unit."""

    measured: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    interval_over: IntervalOver = ""
    """What the interval covers; '' where there is none."""
    n_expected: int | None = None
    n_scored: int | None = None
    n_failed: int | None = None
    n_partial: int | None = None
    """Of those scored: of which only a part of the frames could be decoded."""
    smoke: bool = False
    lineage: Lineage = field(default_factory=Lineage)


@dataclass(frozen=True, kw_only=True)
class Measurement(Numbers):
    """A number of ours, or why there is none (`missing`).

    `known` is False when the profile has no such row at all.
    """

    known: bool = True
    missing: str = ""
    machine: str = ""
    note: str = ""
    """Why it differs from the printed number, where it does and that is known."""
    subset: str = ""
    """Why only a part of the videos is here, where that is declared."""
    trainings_note: str = ""
    """In words: mean and spread over several trainings of the row, or that there was none."""


@dataclass(frozen=True, kw_only=True)
class Cell(Numbers):
    """One typed number of a table. `claimed` is the text as printed."""

    cell_id: str
    row: str
    column: str
    unit: str
    claim_id: str | None
    claimed: str | None
    note: str
    status: Status
    reason: str

    def as_json(self) -> dict[str, Any]:
        """The cell as plain JSON values, lineage included."""
        return {**asdict(self), "status": self.status.value}


def judge(claim: Claim | None, measurement: Measurement, column: Column) -> tuple[Status, str]:
    """The status of a cell and, in words, why; the module's table gives the rules."""
    if claim is not None and claim.conflicts_with is not None:
        return Status.CLAIM_CONFLICT, claim.note.partition(": ")[2]
    if not measurement.known:
        return Status.CITED, "no row of this profile stands behind it"
    if measurement.measured is None:
        return Status.NOT_RUN, measurement.missing or "no result"
    depends_on_data = column.measure.depends_on_data
    if depends_on_data and measurement.smoke:
        return Status.SMOKE, "synthetic or reduced data"
    scored, expected = measurement.n_scored or 0, measurement.n_expected or 0
    if depends_on_data and (measurement.subset or scored < COVERAGE * expected):
        words = f"{scored:,} of {expected:,} videos scored"
        declared = measurement.subset and f"a declared subset: {measurement.subset}"
        return Status.PARTIAL, "; ".join(filter(None, (words, declared, measurement.note)))
    if claim is None:
        return Status.MEASURED, "the texts print no number here"
    if column.measure.kind == "timing":
        return Status.MEASURED, f"a time belongs to its machine, here: {measurement.machine}"
    distance = abs(measurement.measured - claim.number)
    allowed = column.tolerance.allowed(claim)
    words = f"{distance:.{column.decimals}f} away, {allowed:.{column.decimals}f} allowed"
    if depends_on_data and scored < expected:
        words += f"; {scored:,} of {expected:,} videos scored"
    # What the missing videos could move it by at most, right or wrong as they may be.
    farthest = distance + (100.0 * (expected - scored) / expected if depends_on_data else 0.0)
    # A printed number is rounded, so a measurement on the very edge of the rounding agrees with it.
    if farthest <= max(0.5 * claim.last_digit, column.tolerance.points) + 1e-9:
        return Status.VERIFIED, words
    if distance <= allowed + 1e-9:
        relative = 100 * distance / abs(claim.number)
        return Status.WITHIN, f"within {relative:.1f} % of the printed number: {words}"
    return Status.DIFFERS, f"{words}; {measurement.note}" if measurement.note else words


def make_cell(
    address: tuple[str, str, str], claim: Claim | None, measurement: Measurement, column: Column
) -> Cell:
    """The cell at (table id, row, column)."""
    table_id, row, name = address
    status, reason = judge(claim, measurement, column)
    notes = ("" if claim is None else claim.note, measurement.trainings_note)
    shared = {name: getattr(measurement, name) for name in Numbers.__dataclass_fields__}
    return Cell(
        **{**shared, "smoke": measurement.smoke and column.measure.depends_on_data},
        cell_id=f"{table_id}/{row}/{name}",
        row=row,
        column=name,
        unit=column.unit,
        claim_id=None if claim is None else claim.claim_id,
        claimed=None if claim is None else claim.value,
        note="; ".join(filter(None, notes)),
        status=status,
        reason=reason,
    )
