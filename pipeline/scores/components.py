"""Where the spread between trainings comes from: the seed of the start, that of the row, or both.

A row is trained from every one of S image pre-trainings with every one of N seeds of its own. The
variance of its S × N results has three parts (two-way analysis of variance with random effects and
one observation a cell; Searle, Casella and McCulloch 1992, doi 10.1002/9780470316856, chapter 4).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from pipeline.core.errors import RecordError
from pipeline.core.files import write_atomic


@dataclass(frozen=True, order=True)
class Cell:
    """One training, a line of `reports/reference/PROFILE-grid.csv`."""

    row: str
    protocol: str
    start_seed: int
    """Of the image pre-training that it starts from."""
    seed: int
    """Of the row: first weights of new layers, order of clips, crops."""
    cpu: str
    torch: str
    identity: str
    """Of all that decides the result besides seeds, code and machine."""
    videos_sd_pct: float
    """Standard error of the result over the clusters of test videos, in points."""
    value_pct: float

    @property
    def kind(self) -> tuple[str, str, str]:
        """What cells of one grid have in common: data and parameters, and the machine."""
        return self.identity, self.cpu, self.torch


@dataclass(frozen=True)
class Components:
    """Standard deviations, in points; `total` is that of one training from a start of its own."""

    trainings: int
    mean_pct: float
    start: float
    row: float
    both: float
    """What neither explains alone: a start and a seed of the row that fit each other."""
    total: float


COLUMNS = [field.name for field in fields(Cell)]


def grid_path(root: Path, profile: str) -> Path:
    """The grids of a profile of the project at `root`."""
    return root / "reports" / "reference" / f"{profile}-grid.csv"


def read_cells(path: Path) -> list[Cell]:
    """The cells in a file; none where there is no file. RecordError for what is no such file."""
    if not path.is_file():
        return []
    try:
        lines = list(csv.reader(io.StringIO(path.read_text("utf-8"), newline="")))
        if not lines or lines[0] != COLUMNS:
            raise ValueError(f"the header is not {','.join(COLUMNS)}")
        return sorted(
            Cell(
                row, protocol, int(start), int(seed), cpu, torch, identity, float(sd), float(value)
            )
            for row, protocol, start, seed, cpu, torch, identity, sd, value in lines[1:]
        )
    except (ValueError, UnicodeError, csv.Error) as error:
        raise RecordError(
            f"this is no grid of trainings: {error}",
            where="/".join(path.parts[-3:]),
            do="restore the file with git",
        ) from None


def write_cells(path: Path, cells: Iterable[Cell]) -> None:
    """Write cells in order, one line each; of two of one training the later one stays."""
    kept = {(c.row, c.protocol, c.start_seed, c.seed, c.kind): c for c in cells}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(astuple(cell) for cell in sorted(kept.values()))
    write_atomic(path, text.getvalue().encode())


def components(results: Mapping[tuple[int, int], float]) -> Components | None:
    """The parts of the variance of results in percent, by (seed of the start, seed of the row).

    None unless every start of at least two has met every one of at least two seeds. A part that
    comes out below nought is nought.
    """
    starts, seeds = ({pair[axis] for pair in results} for axis in (0, 1))
    if min(len(starts), len(seeds)) < 2 or len(results) < len(starts) * len(seeds):
        return None
    table = np.array([[results[start, seed] for seed in sorted(seeds)] for start in sorted(starts)])
    by_start, by_seed = table.mean(axis=1, keepdims=True), table.mean(axis=0, keepdims=True)
    rest = table - by_start - by_seed + table.mean()
    error = float((rest**2).sum()) / ((len(starts) - 1) * (len(seeds) - 1))
    start = max(0.0, float(by_start.var(ddof=1)) - error / len(seeds))
    row = max(0.0, float(by_seed.var(ddof=1)) - error / len(starts))
    return Components(
        trainings=table.size,
        mean_pct=float(table.mean()),
        start=math.sqrt(start),
        row=math.sqrt(row),
        both=math.sqrt(error),
        total=math.sqrt(start + row + error),
    )
