"""What every figure of a profile draws from: rows, metrics, tables, and how captions name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.figures.canvas import Figure, empty
from pipeline.schema.figure_list import Figure as Spec
from pipeline.schema.plan_models import FiguresPlan
from stages.figure_data.clip_maps import Opened, Viewer, missing, open_row
from stages.figure_data.truth import Truth

Params = dict[str, Any]


@dataclass
class Context:
    """One profile's results, read on demand."""

    work: Workspace
    plan: FiguresPlan
    _opened: dict[str, Opened] = field(default_factory=dict, repr=False)
    _truths: dict[str, Truth] = field(default_factory=dict, repr=False)

    def missing(self, row: str) -> str:
        """Why a row has no trained network here; empty when it has."""
        if row not in self.plan.rows:
            return "not a row of this profile"
        return missing(self.work, row, self.plan.rows[row])

    def open(self, row: str) -> Opened:
        """The row's network; the last few stay open."""
        if row not in self._opened:
            if len(self._opened) >= 2:
                self._opened.pop(next(iter(self._opened)))
            self._opened[row] = open_row(self.work, row, self.plan.rows[row])
        return self._opened[row]

    def viewer(self, row: str, protocol: str | None = None) -> Viewer:
        """The row's test videos under a protocol, by default its first.

        UsageError when the row is not tested under it.
        """
        opened = self.open(row)
        return Viewer(opened, protocol or next(iter(opened.plan.protocols)))

    def truth(self, dataset: str) -> Truth | None:
        """The true objects of a generated data set."""
        miniature = self.plan.datasets[dataset].miniature
        if miniature is None:
            return None
        if dataset not in self._truths:
            self._truths[dataset] = Truth(dataset, miniature)
        return self._truths[dataset]

    def metrics(self, row: str, protocol: str) -> Params | str:
        """A row's metrics under a protocol, or why there are none."""
        path = self.work.metrics(row)
        if row not in self.plan.rows:
            return "not a row of this profile"
        if not path.is_file():
            return "not scored"
        found = read_json(path)
        if protocol not in found["protocols"]:
            return str(found["reason"]) or f"not evaluated under protocol {protocol}"
        one: Params = found["protocols"][protocol]
        return one

    def costs(self) -> Params:
        """Parameters and multiply-adds of every network at the paper's size."""
        path = self.work.reports / "costs.json"
        return read_json(path) if path.is_file() else {}

    def cells(self) -> Params:
        """The tables with their cells."""
        return self._cells

    @cached_property
    def _cells(self) -> Params:
        found: Params = read_json(self.work.reports / "tables" / "cells.json")
        return found

    def classes(self, row: str) -> list[str]:
        """The class names of a row's data set, by index."""
        dataset = self.plan.rows[row].data.name
        names: list[str] = read_json(self.work.frames(dataset) / "index.json")["classes"]
        return names

    def dataset_title(self, row: str) -> str:
        """A row's data set as captions name it."""
        name = self.plan.rows[row].data.name
        about = self.plan.datasets[name]
        return f"{about.title}{', generated miniature' if about.miniature is not None else ''}"

    def caption(
        self,
        spec: Spec,
        rows: Sequence[str],
        protocol: str = "",
        *,
        split: str = "test videos",
        found: str = "",
    ) -> str:
        """What the figure says, then where it comes from: data, protocol, rows."""
        parts = [spec.remark.strip(), found]
        if rows:
            titles = list(dict.fromkeys(self.dataset_title(row) for row in rows))
            smoke = " (smoke)" if self.plan.smoke else ""
            tested = f"; protocol {protocol}" if protocol else ""
            parts.append(
                f"Data: {'; '.join(titles)}{smoke}, {split}{tested}; "
                f"row{'s' if len(rows) > 1 else ''} {', '.join(rows)}."
            )
        if spec.stands_for:
            parts.append(f"Stands for {spec.stands_for}.")
        return " ".join(part for part in parts if part)

    def nothing(self, key: str, spec: Any, absent: Mapping[str, str], reason: str = "") -> Figure:
        """An entry for a figure that has nothing to show."""
        why = reason or reasons(absent)
        return empty(key, spec.kind, spec.title, self.caption(spec, []), why)

    def note(
        self,
        figure: Figure,
        rows: Sequence[str],
        absent: Mapping[str, str],
        *,
        cells: Sequence[str] = (),
        found: str = "",
    ) -> Figure:
        """The figure with what it rests on, marked partial where rows are missing."""
        rests = replace(figure, rows=tuple(rows), cells=tuple(cells), found=found or figure.found)
        if not absent:
            return rests
        return replace(rests, state="partial", reason=reasons(absent))


def reasons(absent: Mapping[str, str]) -> str:
    """'a, b: not trained; c: …'."""
    by_reason: dict[str, list[str]] = {}
    for row, reason in absent.items():
        by_reason.setdefault(reason, []).append(row)
    return "; ".join(f"{', '.join(rows)}: {reason}" for reason, rows in by_reason.items())
