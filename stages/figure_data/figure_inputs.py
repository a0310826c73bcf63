"""What every figure of a profile draws from: rows, metrics, tables, and how captions name them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.core.errors import AbsentData
from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.reporting.figures.canvas import Drawing, Figure
from pipeline.schema.figure_list import Figure as Spec
from pipeline.schema.plan_models import FiguresPlan, PredictPlan
from stages.figure_data.truth import Truth

if TYPE_CHECKING:
    from stages.figure_data.clip_maps import Opened, Viewer

Params = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Context:
    """One profile's results, read on demand."""

    work: Workspace
    plan: FiguresPlan

    def row(self, row: str) -> PredictPlan:
        """The plan of a row that has a trained network here; AbsentData says why it has none."""
        from stages.figure_data.clip_maps import missing  # loads torch

        if row not in self.plan.rows:
            raise AbsentData("not a row of this profile")
        if reason := missing(self.work, row, self.plan.rows[row]):
            raise AbsentData(reason)
        return self.plan.rows[row]

    @cached_property
    def open(self) -> Callable[[str], Opened]:
        """From a row to its network; the last two stay open."""
        from stages.figure_data.clip_maps import open_row  # loads torch

        return lru_cache(2)(lambda row: open_row(self.work, row, self.plan.rows[row]))

    def viewer(self, row: str, protocol: str | None = None) -> Viewer:
        """The row's test videos under a protocol, by default its first.

        UsageError when the row is not tested under it.
        """
        from stages.figure_data.clip_maps import Viewer  # loads torch

        opened = self.open(row)
        return Viewer(opened, protocol or next(iter(opened.plan.protocols)))

    @cached_property
    def truth(self) -> Callable[[str], Truth | None]:
        """From a data set to the true objects in its videos, if it is generated."""

        def truth(dataset: str) -> Truth | None:
            miniature = self.plan.datasets[dataset].miniature
            return None if miniature is None else Truth(dataset, miniature)

        return lru_cache(None)(truth)

    def metrics(self, row: str, protocol: str) -> Params:
        """A row's metrics under a protocol; AbsentData says why there are none."""
        path = self.work.metrics(row)
        if row not in self.plan.rows:
            raise AbsentData("not a row of this profile")
        if not path.is_file():
            raise AbsentData("not scored")
        metrics = read_json(path)
        if protocol not in metrics["protocols"]:
            raise AbsentData(metrics["reason"] or f"not evaluated under protocol {protocol}")
        under: Params = metrics["protocols"][protocol]
        return under

    @cached_property
    def costs(self) -> Params:
        """Parameters and multiply-adds of every network at the paper's size."""
        path = self.work.reports / "costs.json"
        return read_json(path) if path.is_file() else {}

    @cached_property
    def tables(self) -> dict[str, Params]:
        """The tables of cells.json by id."""
        return {f"{t['document']}/{t['table']}": t for t in self._cells_file["tables"]}

    @property
    def cells(self) -> Params:
        """The cells of cells.json by address."""
        cells: Params = self._cells_file["cells"]
        return cells

    @cached_property
    def _cells_file(self) -> Params:
        content: Params = read_json(self.work.reports / "tables" / "cells.json")
        return content

    def classes(self, row: str) -> list[str]:
        """The class names of a row's data set, by index."""
        dataset = self.plan.rows[row].data.name
        names: list[str] = read_json(self.work.frames(dataset) / "index.json")["classes"]
        return names

    def caption(
        self,
        spec: Spec,
        rows: Iterable[str],
        protocol: str = "",
        *,
        split: str = "test videos",
        found: str = "",
    ) -> str:
        """What the figure says, then where it comes from: data, protocol, rows."""
        parts = [spec.remark.strip(), found]
        if rows := list(rows):
            about = [self.plan.datasets[self.plan.rows[row].data.name] for row in rows]
            titles = [f"{d.title}{', generated miniature' if d.miniature else ''}" for d in about]
            smoke = " (smoke)" if self.plan.smoke else ""
            tested = f"; protocol {protocol}" if protocol else ""
            parts.append(
                f"Data: {'; '.join(dict.fromkeys(titles))}{smoke}, {split}{tested}; "
                f"row{'s' if len(rows) > 1 else ''} {', '.join(rows)}."
            )
        if spec.stands_for:
            parts.append(f"Stands for {spec.stands_for}.")
        return " ".join(part for part in parts if part)


def make_figure(
    key: str,
    spec: Any,
    drawing: Drawing,
    caption: str,
    rows: Iterable[str] = (),
    absent: Mapping[str, str] | None = None,
    *,
    cells: Sequence[str] = (),
    found: str = "",
) -> Figure:
    """The figure of an entry of the manifest, with what it rests on and what is missing in it."""
    missing = reasons(absent or {})
    what = spec.kind, spec.title, caption
    return Figure(key, *what, drawing, missing, found, tuple(rows), tuple(cells))


def each(
    rows: Iterable[str], read: Callable[[str], T], *, least: int = 1
) -> tuple[dict[str, T], dict[str, str]]:
    """What `read` gives for each row, and the reasons of those for which it raises AbsentData.

    Raises AbsentData with all reasons when `read` succeeds for fewer than `least`.
    """
    values: dict[str, T] = {}
    absent: dict[str, str] = {}
    for row in rows:
        try:
            values[row] = read(row)
        except AbsentData as error:
            absent[row] = error.what
    if len(values) < least:
        raise AbsentData(reasons(absent))
    return values, absent


def reasons(absent: Mapping[str, str]) -> str:
    """'a, b: not trained; c: …'."""
    by_reason: dict[str, list[str]] = {}
    for row, reason in absent.items():
        by_reason.setdefault(reason, []).append(row)
    return "; ".join(f"{', '.join(rows)}: {reason}" for reason, rows in by_reason.items())
