"""The reference distribution: what trainings of one row give that differ in their seeds alone.

A result on another machine, or from another seed, is judged by it. No two machines train the same
weights, so that equal numbers cannot be asked for; a number from the same distribution can
(Henderson et al. 2018, arXiv 1709.06560, sections on seeds; Bouthillier et al. 2021, arXiv
2103.03098, for the sources of variance).

    N   trainings of a row in the reference      R   rows      V   videos of its test set
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
import scipy  # loads `stats`, which takes a second, when it is used

from pipeline.core.errors import RecordError
from pipeline.core.files import write_atomic
from pipeline.scores.statistics import Floats

Key = TypeVar("Key", bound=Hashable)

LEAST_TRAININGS = 3
"""Of a row with fewer nothing is said."""
MOST_PRIOR_DF = 1000.0
PREDICTION_PCT = 98.0
"""An honest result lies within its row's bounds so often."""
WHOLE_RUN_PCT = 99.0
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
    videos: int
    """Scored."""
    predictions: str
    """Digest of the predictions: two results of one digest are one."""
    value_pct: float

    @property
    def training(self) -> tuple[str, str, int, str, str, str]:
        """What tells one training's result from another's."""
        return self.row, self.protocol, self.seed, self.cpu, self.torch, self.identity

    @property
    def kind(self) -> tuple[str, str, str]:
        """What results have in common that are drawn from one distribution."""
        return self.identity, self.protocol, self.metric


COLUMNS = [field.name for field in fields(Result)]


def reference_path(root: Path, profile: str) -> Path:
    """The reference of a profile of the project at `root`."""
    return root / "reports" / "reference" / f"{profile}.csv"


def read_results(path: Path) -> list[Result]:
    """The results in a file; none where there is no file. RecordError naming what is wrong."""
    if not path.is_file():
        return []
    where = "/".join(path.parts[-3:])
    do = "restore the file, or name another one"
    lines = None
    try:
        lines = csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline=""))
        if next(lines, None) != COLUMNS:
            raise ValueError(f"the header is not {','.join(COLUMNS)}")
        found = []
        for line in lines:
            value = dict(zip(COLUMNS, line, strict=True))
            result = Result(
                row=value["row"],
                protocol=value["protocol"],
                metric=value["metric"],
                seed=int(value["seed"]),
                cpu=value["cpu"],
                torch=value["torch"],
                identity=value["identity"],
                videos=int(value["videos"]),
                predictions=value["predictions"],
                value_pct=float(value["value_pct"]),
            )
            if not 0 <= result.value_pct <= 100 or result.videos < 1:
                raise ValueError(f"{result.value_pct} of {result.videos} videos is no percentage")
            found.append(result)
    except (ValueError, UnicodeError, csv.Error) as error:
        number = lines.line_num if lines is not None else 1
        raise RecordError(f"line {number} is no result: {error}", where=where, do=do) from None
    if len({one.training for one in found}) < len(found):
        raise RecordError("a training stands in it twice", where=where, do=do)
    return sorted(found)


def write_results(path: Path, results: Iterable[Result]) -> None:
    """Write results in order, one line each; of two of the same training the later one stays."""
    kept = {result.training: result for result in results}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
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
    """The standard deviation of one training, as rows of one test size let one estimate it."""
    df: float
    """Degrees of freedom of that estimate."""
    low_pct: float
    high_pct: float

    def holds(self, value_pct: float) -> bool:
        """Whether a result lies within, ends included."""
        return self.low_pct <= value_pct <= self.high_pct


@dataclass(frozen=True)
class _Row:
    """A row's trainings on the scale of asin √share."""

    angles: Floats
    shares_pct: Floats
    variance: float

    @property
    def df(self) -> int:
        return self.angles.size - 1


def bounds(trainings: Mapping[Key, tuple[Sequence[float], int]]) -> dict[Key, Bounds]:
    """The bounds of each row with at least LEAST_TRAININGS results.

    `trainings`: by row its results (N,) in 0 to 100, and V. A prediction interval (Student's t) on
    the scale of asin √share, on which the variance of a share does not depend on the share. As N
    is small, each row's variance is drawn towards that of all rows with as many videos, the more
    the less they differ (Smyth 2004, doi 10.2202/1544-6115.1027, section 6.2). It is at least that
    of half a video, as results that tie show no less.
    """
    groups: dict[int, dict[Key, _Row]] = {}
    for key, (values, videos) in trainings.items():
        if len(values) >= LEAST_TRAININGS:
            groups.setdefault(videos, {})[key] = _row(values, videos)
    return {key: one for rows in groups.values() for key, one in _of_one_size(rows).items()}


def _row(values: Sequence[float], videos: int) -> _Row:
    shares = np.asarray(values, float)
    angles = np.arcsin(np.sqrt(shares / 100))
    middle = min(1 - 1 / (2 * videos), max(1 / (2 * videos), float(shares.mean()) / 100))
    half_a_video = 0.5 / videos / (2 * math.sqrt(middle * (1 - middle)))
    return _Row(angles, shares, max(half_a_video**2, float(angles.var(ddof=1))))


def _of_one_size(rows: Mapping[Key, _Row]) -> dict[Key, Bounds]:
    """The bounds of rows that were tested on equally many videos."""
    freedom = np.array([row.df for row in rows.values()], float)
    common, lent = _prior(np.array([row.variance for row in rows.values()]), freedom)
    found = {}
    for key, row in rows.items():
        df = lent + row.df
        sd = math.sqrt((lent * common + row.df * row.variance) / df)
        middle, n = float(row.angles.mean()), row.angles.size
        t = float(scipy.stats.t.ppf(0.5 + PREDICTION_PCT / 200, df))
        half = t * sd * math.sqrt(1 + 1 / n)
        found[key] = Bounds(
            trainings=n,
            mean_pct=float(row.shares_pct.mean()),
            sd_pct=float(row.shares_pct.std(ddof=1)),
            spread_pct=(_pct(middle + sd) - _pct(middle - sd)) / 2,
            df=df,
            low_pct=_pct(middle - half),
            high_pct=_pct(middle + half),
        )
    return found


def _prior(variances: Floats, freedom: Floats) -> tuple[float, float]:
    """The rows' common variance, and how many degrees of freedom it has, by moments of logs."""
    if variances.size < 2:
        return float(variances[0]), 0.0
    logs = np.log(variances) - scipy.special.digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - scipy.special.polygamma(1, freedom / 2).mean())

    def difference(df: float) -> float:
        return float(scipy.special.polygamma(1, df / 2)) - excess

    lent = MOST_PRIOR_DF
    if difference(MOST_PRIOR_DF) < 0:
        lent = float(scipy.optimize.brentq(difference, 1e-3, MOST_PRIOR_DF))
    common = logs.mean() + scipy.special.digamma(lent / 2) - np.log(lent / 2)
    return math.exp(float(common)), lent


def _pct(angle: float) -> float:
    """Percent of an asin √share, kept within 0 to 100."""
    return 100 * math.sin(min(math.pi / 2, max(0.0, angle))) ** 2


def allowed_outside(results: int) -> int:
    """The most results outside their bounds that WHOLE_RUN_PCT of honest runs stay at.

    Results are taken as independent. One alone allows none.
    """
    if results < 2:
        return 0
    return int(scipy.stats.binom.ppf(WHOLE_RUN_PCT / 100, results, 1 - PREDICTION_PCT / 100))
