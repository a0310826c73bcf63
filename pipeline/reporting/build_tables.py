"""Layout + claims + results → a table of cells → a data frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from typing import Any

import pandas as pd

from pipeline.reporting.cells import Cell, Measurement, Status, make_cell
from pipeline.reporting.ordering import Ordering, find_ordering
from pipeline.reporting.results import Results
from pipeline.reporting.training_order import TrainingOrder, Trainings, order_of_means
from pipeline.schema.claims import Claim
from pipeline.schema.table_layouts import Column, Layout

SUFFIXES = ("claimed", "measured", "status", "ci_low", "ci_high", "interval_over")
COUNTS = ("n_failed", "n_partial")
"""At a table's end: videos that could not be scored, and those scored on a part of their frames."""


@dataclass(frozen=True)
class Table:
    """A regenerated table: its layout, its cells by (row, column), its orderings."""

    layout: Layout
    cells: Mapping[tuple[str, str], Cell]
    orderings: tuple[Ordering, ...]
    means: tuple[TrainingOrder, ...] = ()
    """The orderings by means over known trainings, of columns where there are any."""

    @property
    def orders(self) -> tuple[Ordering | TrainingOrder, ...]:
        """By this run's numbers, and by means."""
        return self.orderings + self.means

    @property
    def notes(self) -> tuple[str, ...]:
        """Why a cost or another number that needs no data differs from the printed one, by cell."""
        notes = []
        for (row, name), cell in self.cells.items():
            column = self.layout.columns[name]
            if (
                cell.status in (Status.DIFFERS, Status.WITHIN)
                and not column.measure.depends_on_data
            ):
                what = f"{self.layout.rows[row].label}, {column.label}"
                printed = (
                    f"{cell.claimed} printed, {number(cell.measured, column.decimals)} measured"
                )
                notes.append(f"{what}: {printed}; {cell.reason}.")
        return tuple(notes)

    def counts(self, row: str) -> dict[str, int | str]:
        """COUNTS of the runs behind a row of the table, each run once; '' without a run.

        A run evaluated under several protocols counts with the largest number.
        """
        cells = [self.cells[row, c] for c in self.layout.columns if (row, c) in self.cells]
        counted = [cell for cell in cells if cell.n_failed is not None]
        sums: dict[str, int | str] = dict.fromkeys(COUNTS, "")
        for name in COUNTS if counted else ():
            ascending = sorted(counted, key=attrgetter(name))
            sums[name] = sum({c.lineage.run: getattr(c, name) for c in ascending}.values())
        return sums

    def as_json(self) -> dict[str, Any]:
        """The table's frame and orderings; a row's `cells` are columns, found by their address."""
        layout = self.layout
        heading = ("document", "table", "caption", "place", "note", "label_title")
        return {
            **{name: getattr(layout, name) for name in heading},
            "headline": list(layout.headline),
            "settings": [{"key": key, "label": label} for key, label in layout.settings.items()],
            "columns": [
                {
                    "key": key,
                    **column.model_dump(include={"label", "unit", "decimals", "tolerance"}),
                    **column.measure.model_dump(include={"kind", "name", "protocol"}),
                }
                for key, column in layout.columns.items()
            ],
            "rows": [
                {
                    "row": key,
                    "label": row.label,
                    "settings": dict(row.settings),
                    **self.counts(key),
                    "cells": [c for c in layout.columns if (key, c) in self.cells],
                }
                for key, row in layout.rows.items()
            ],
            "orderings": [asdict(ordering) for ordering in self.orderings],
            "means": [asdict(order) for order in self.means],
            "cell_notes": list(self.notes),
        }


def build_table(layout: Layout, claims: Mapping[str, Claim], results: Results) -> Table:
    """Fill a layout. A place with neither a claim nor a row of ours is no cell."""
    cells: dict[tuple[str, str], Cell] = {}
    for row_key in layout.rows:
        for name, column in layout.columns.items():
            claim = claims.get(f"{layout.table_id}/{row_key}/{name}")
            claim_id = None if claim is None else claim.claim_id
            measurement = _measurement(layout, row_key, name, column, results, claim_id)
            if claim is not None or measurement.known:
                address = (layout.table_id, row_key, name)
                cells[row_key, name] = make_cell(address, claim, measurement, column)
    orderings, means = [], []
    for name in layout.ordering:
        column_cells = [cell for (_, of), cell in cells.items() if of == name]
        ordering = find_ordering(name, column_cells, results.outcomes, results.spread)
        if ordering is not None:
            orderings.append(ordering)
            order = order_of_means(ordering, column_cells, _known_trainings(column_cells, results))
            means += [order] * (order is not None)
    return Table(layout, cells, tuple(orderings), tuple(filter(None, means)))


def _known_trainings(cells: Sequence[Cell], results: Results) -> dict[str, Trainings]:
    """What is known of the trainings behind the cells, by row of the table."""
    known = {}
    for cell in cells:
        about = cell.lineage
        key = (about.run or "", about.protocol or "", about.metric or "")
        if key in results.trainings:
            known[cell.row] = results.trainings[key]
    return known


def _measurement(
    layout: Layout,
    row_key: str,
    name: str,
    column: Column,
    results: Results,
    claim_id: str | None,
) -> Measurement:
    row = layout.rows[row_key]
    own = row.cells.get(name)
    protocol = row.protocol or column.measure.protocol
    if own is not None and own.protocol is not None:
        protocol = own.protocol
    if own is not None and own.name is not None:
        measure = column.measure.model_copy(update={"name": own.name})
        column = column.model_copy(update={"measure": measure})
    found = results.measure(row.run_for(name, column.source), column, protocol, claim_id)
    if found.measured is not None or row.checkpoint not in results.runs:
        return found
    theirs = results.measure(row.checkpoint, column, protocol, claim_id)
    if theirs.measured is None:
        missing = "; ".join(filter(None, (found.missing, theirs.missing)))
        return replace(theirs, missing=missing)
    return replace(
        theirs, trainings_note="not trained here: the weights that its authors published"
    )


def build_tables(
    layouts: Sequence[Layout], claims: Mapping[str, Claim], results: Results
) -> tuple[Table, ...]:
    """The layouts that concern this profile, filled: printed tables in the order of their claims.

    A profile that runs any row of the papers' tables shows all of them, so that every claim has its
    cell; one that runs none (someone's own videos) shows only the tables that name its runs. Tables
    of published checkpoints are shown where there are such rows.
    """
    printed = {claim.document for claim in claims.values()}
    named = [layout for layout in layouts if _names_any(layout, results)]
    all_printed = any(layout.document in printed for layout in named)
    shown = [
        layout
        for layout in layouts
        if layout in named
        or (all_printed and layout.document in printed and not layout.only_with_rows)
    ]
    places = list(dict.fromkeys(f"{c.document}/{c.table}" for c in claims.values()))
    shown.sort(key=lambda x: places.index(x.table_id) if x.table_id in places else len(places))
    return tuple(build_table(layout, claims, results) for layout in shown)


def _names_any(layout: Layout, results: Results) -> bool:
    return any(run in results.runs for row in layout.rows.values() for run in row.named_runs)


def frame(table: Table) -> pd.DataFrame:
    """The table as text cells: row, label, settings, then `<column>_<suffix>` for SUFFIXES, COUNTS.

    Claims are printed as the paper prints them, measurements with the column's decimals, and an
    empty string stands for nothing, so that every writer prints the same characters.
    """
    layout = table.layout
    records: list[dict[str, int | str]] = []
    for row_key, row in layout.rows.items():
        record: dict[str, int | str] = {"row": row_key, "label": row.label}
        record |= {key: row.settings.get(key, "") for key in layout.settings}
        for name, column in layout.columns.items():
            cell = table.cells.get((row_key, name))
            for suffix in SUFFIXES:
                value = None if cell is None else getattr(cell, suffix)
                text = number(value, column.decimals) if isinstance(value, float) else value or ""
                record[f"{name}_{suffix}"] = str(text)
        records.append(record | table.counts(row_key))
    return pd.DataFrame.from_records(records)


def number(value: float | None, decimals: int) -> str:
    """A number with fixed decimals, '' for none."""
    return "" if value is None else f"{value:.{decimals}f}"
