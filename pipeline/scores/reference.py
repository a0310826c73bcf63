"""The reference distribution: what trainings of one row give that differ in their seeds alone.

A result on another machine, or from another seed, is judged by it. No two machines train the same
weights, so that equal numbers cannot be asked for; a number from the same distribution can
(Henderson et al. 2018, arXiv 1709.06560, sections on seeds; Bouthillier et al. 2021, arXiv
2103.03098, for the sources of variance).

    N   trainings of a row in the reference      R   rows
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import scipy  # loads `stats`, which takes a second, when it is used

from pipeline.core.errors import RecordError
from pipeline.core.files import write_atomic

Floats = npt.NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)

LEAST_TRAININGS = 3
"""Of a row with fewer nothing is said."""
LEAST_VARIANCE = 1e-6
"""Of asin √share, about a tenth of a point: rows that always get everything right have none."""
MOST_PRIOR_DF = 1000.0
LEVEL_PCT = 98.0
"""An honest result lies within its row's bounds so often."""
WHOLE_LEVEL_PCT = 99.0
"""An honest run of many rows has no more results outside than allowed, so often."""


@dataclass(frozen=True, order=True)
class Result:
    """One training's result, a line of `reports/reference/PROFILE.csv`."""

    row: str
    protocol: str
    metric: str
    seed: int
    cpu: str
    """The processor, or the accelerator, that trained it."""
    torch: str
    identity: str
    """Of all that decides the result besides seed, code and machine (`training_identity`)."""
    value_pct: float

    @property
    def drawn_as(self) -> tuple[str, str, int, str, str, str]:
        """What tells one training's result from another's."""
        return self.row, self.protocol, self.seed, self.cpu, self.torch, self.identity


WORDS = ("row", "protocol", "metric", "cpu", "torch", "identity")
"""Columns of the file that are no numbers."""


def reference_path(root: Path, profile: str) -> Path:
    """The reference of a profile of the project at `root`."""
    return root / "reports" / "reference" / f"{profile}.csv"


def read_results(path: Path) -> list[Result]:
    """The results in a file; none where there is no file. RecordError names a line that is none."""
    if not path.is_file():
        return []
    lines = csv.DictReader(io.StringIO(path.read_text("utf-8"), newline=""))
    found = []
    for line in lines:
        try:
            words = {name: line[name] for name in WORDS}
            result = Result(**words, seed=int(line["seed"]), value_pct=float(line["value_pct"]))
            if not 0 <= result.value_pct <= 100:
                raise ValueError(f"{result.value_pct} is no percentage")
        except (TypeError, ValueError, KeyError) as error:
            raise RecordError(
                f"line {lines.line_num} is no result: {error}",
                where="/".join(path.parts[-3:]),
                do=f"restore the file: `git checkout {'/'.join(path.parts[-3:])}`",
            ) from None
        found.append(result)
    return found


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write results in order, one line each; of two of the same training the later one stays."""
    kept = {result.drawn_as: result for result in results}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(Result)])
    writer.writerows(astuple(result) for result in sorted(kept.values()))
    write_atomic(path, text.getvalue().encode())


@dataclass(frozen=True)
class Bounds:
    """Where a further training of a row is expected, in percent."""

    trainings: int
    mean_pct: float
    sd_pct: float
    """Of the reference itself."""
    spread_pct: float
    """The standard deviation of one training, as all rows together let one estimate it."""
    df: float
    """Degrees of freedom of that estimate."""
    low_pct: float
    high_pct: float

    def holds(self, value_pct: float) -> bool:
        """Whether a result lies within, ends included."""
        return self.low_pct <= value_pct <= self.high_pct


def bounds(values_pct: Mapping[Key, Sequence[float]]) -> dict[Key, Bounds]:
    """The bounds of each row with at least LEAST_TRAININGS results (N,) in 0 to 100.

    A prediction interval (Student's t) on the scale of asin √share, on which the variance of a
    share does not depend on the share. As N is small, each row's variance is drawn towards that of
    all rows, the more the less they differ (Smyth 2004, doi 10.2202/1544-6115.1027, section 6.2).
    """
    enough = {
        row: np.arcsin(np.sqrt(np.asarray(values, float) / 100))
        for row, values in values_pct.items()
        if len(values) >= LEAST_TRAININGS
    }
    if not enough:
        return {}
    own = {row: max(LEAST_VARIANCE, float(a.var(ddof=1))) for row, a in enough.items()}
    freedom = {row: len(values) - 1 for row, values in enough.items()}
    common, lent = _prior(np.array([*own.values()]), np.array([*freedom.values()], float))
    found = {}
    for row, values in enough.items():
        df = lent + freedom[row]
        variance = (lent * common + freedom[row] * own[row]) / df
        t = float(scipy.stats.t.ppf(0.5 + LEVEL_PCT / 200, df))
        middle, sd = float(values.mean()), math.sqrt(variance)
        half = t * sd * math.sqrt(1 + 1 / len(values))
        shares = np.asarray(values_pct[row], float)
        found[row] = Bounds(
            trainings=len(values),
            mean_pct=float(shares.mean()),
            sd_pct=float(shares.std(ddof=1)),
            spread_pct=(_pct(middle + sd) - _pct(middle - sd)) / 2,
            df=df,
            low_pct=_pct(middle - half),
            high_pct=_pct(middle + half),
        )
    return found


def _prior(variances: Floats, freedom: Floats) -> tuple[float, float]:
    """The rows' common variance, and how many degrees of freedom it has, by moments of logs."""
    shifts = scipy.special.digamma(freedom / 2) - np.log(freedom / 2)
    logs = np.log(variances) - shifts
    if logs.size < 2:
        return float(variances[0]), 0.0
    excess = float(logs.var(ddof=1) - scipy.special.polygamma(1, freedom / 2).mean())

    def missed(df: float) -> float:
        return float(scipy.special.polygamma(1, df / 2)) - excess

    lent = MOST_PRIOR_DF
    if missed(MOST_PRIOR_DF) < 0:
        lent = float(scipy.optimize.brentq(missed, 1e-3, MOST_PRIOR_DF))
    common = logs.mean() + scipy.special.digamma(lent / 2) - np.log(lent / 2)
    return math.exp(float(common)), lent


def _pct(angle: float) -> float:
    """Percent of an asin √share, kept within 0 to 100."""
    return 100 * math.sin(min(math.pi / 2, max(0.0, angle))) ** 2


def allowed_outside(rows: int) -> int:
    """The most results outside their bounds that WHOLE_LEVEL_PCT of honest runs of `rows` stay at.

    Rows are taken as independent. One row alone allows none.
    """
    if rows < 2:
        return 0
    return int(scipy.stats.binom.ppf(WHOLE_LEVEL_PCT / 100, rows, 1 - LEVEL_PCT / 100))
