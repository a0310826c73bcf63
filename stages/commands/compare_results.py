"""`tdn compare`: two rows on the same videos, or the results of two folders or revisions."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.audit.differ import plan_changes
from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import TRIAL, Evidence
from pipeline.reporting.html_pages import render_page, style_sheet
from pipeline.reporting.report_view import Scale
from pipeline.reporting.results import contents, load_spreads
from pipeline.schema.base import nearest
from pipeline.scores import video_scores
from pipeline.scores.reference import reference_path
from pipeline.scores.statistics import PairedTest, Spread, cluster_codes, paired_test
from pipeline.scores.video_scores import Outcomes
from pipeline.store.index import read_index

TOP1 = "top1_pct"
Metrics = dict[str, dict[str, Any]]
"""{row: what its metrics file holds}"""


@dataclass(frozen=True)
class ClassGain:
    """One class: how many of its videos each row gets right."""

    name: str
    videos: int
    first_right: float
    """Of several trainings their mean."""
    second_right: float


@dataclass(frozen=True)
class RowComparison:
    """Two rows under one protocol, on the videos that both scored; `test` is first minus second."""

    protocol: str
    videos: int
    first_pct: float
    second_pct: float
    test: PairedTest
    classes: tuple[ClassGain, ...]
    first_only: tuple[str, ...]
    second_only: tuple[str, ...]


def compare_rows(work: Workspace, first: str, second: str) -> list[RowComparison]:
    """Every protocol that both rows have; top-1.

    Raises UsageError for an unknown row, AbsentData when a row is not scored here or the two share
    no protocol or video.
    """
    metrics = read_metrics(work.reports)
    for row in (first, second):
        if row not in metrics:
            raise UsageError(f"no row '{row}' has metrics", do=nearest(row, list(metrics)))
    shared = [p for p in metrics[first]["protocols"] if p in metrics[second]["protocols"]]
    spreads = load_spreads(metrics, reference_path(work.root, work.profile))
    found = [
        _on_shared_videos(work, metrics[first]["dataset"], protocol, first, second, spreads)
        for protocol in shared
    ]
    if not found:
        raise AbsentData(
            f"{first} and {second} were tested under no common protocol",
            do=f"compare `tdn views --protocol {first} --frames 40` "
            f"with `tdn views --protocol {second} --frames 40`",
        )
    return found


def _on_shared_videos(
    work: Workspace,
    dataset: str,
    protocol: str,
    first: str,
    second: str,
    spreads: Mapping[tuple[str, str, str], Spread],
) -> RowComparison:
    a, b = (_outcomes(work, row, protocol) for row in (first, second))
    places = {video_id: number for number, video_id in enumerate(b.video_ids)}
    mine = [number for number, video_id in enumerate(a.video_ids) if video_id in places]
    theirs = [places[a.video_ids[number]] for number in mine]
    if not mine:
        raise AbsentData(
            f"{first} and {second} have no video in common", do="compare rows of one data set"
        )
    right, other = a.correct1[mine], b.correct1[theirs]
    ids = np.array(a.video_ids, dtype=object)[mine]
    names = _class_names(work, dataset)
    labels = a.labels[mine]
    classes = [
        ClassGain(
            names[label] if 0 <= label < len(names) else str(label),
            int((labels == label).sum()),
            round(float(right[labels == label].sum()), 2),
            round(float(other[labels == label].sum()), 2),
        )
        for label in np.unique(labels).tolist()
    ]
    return RowComparison(
        protocol=protocol,
        videos=len(mine),
        first_pct=100 * float(right.mean()),
        second_pct=100 * float(other.mean()),
        test=paired_test(
            right,
            other,
            cluster_codes([a.clusters[number] for number in mine]),
            (spreads.get((first, protocol, TOP1)), spreads.get((second, protocol, TOP1))),
        ),
        classes=tuple(sorted(classes, key=lambda one: one.second_right - one.first_right)),
        first_only=tuple(ids[right > other].tolist()),
        second_only=tuple(ids[right < other].tolist()),
    )


def _outcomes(work: Workspace, row: str, protocol: str) -> Outcomes:
    found = video_scores.read(work.run(row) / "scores" / f"{protocol}.parquet")
    if found is None:
        raise AbsentData(
            f"the scores of {row} per video are not on this machine", do=f"run `tdn repro {row}`"
        )
    return found


def _class_names(work: Workspace, dataset: str) -> tuple[str, ...]:
    folder = work.frames(dataset)
    return read_index(folder).classes if folder.is_dir() else ()


def row_changes(work: Workspace, first: str, second: str) -> list[str]:
    """Parameters and code in which the two rows' trainings differ, one sentence each."""
    runs = Evidence(work).runs
    plans = [runs.get(f"train/{row}") for row in (first, second)]
    if plans[0] is None or plans[1] is None:
        return []
    after = {**plans[1].plan, "parts": plans[1].code}
    return plan_changes(plans[0].plan, after, plans[0].code)


@dataclass(frozen=True)
class ResultPair:
    """One result of two reports, in percent."""

    row: str
    protocol: str
    metric: str
    here: float
    there: float
    low: float
    high: float
    """This one's interval over videos."""
    same_predictions: bool
    same_experiment: bool
    """Whether data, recipe, network and protocols are the same, whatever seed and code were."""

    @property
    def inside(self) -> bool:
        """Whether the other's value lies within this one's interval."""
        return self.low <= self.there <= self.high


@dataclass(frozen=True)
class ReportComparison:
    """The results that two reports share; what only one of them has is named."""

    pairs: tuple[ResultPair, ...]
    only_here: tuple[str, ...]
    only_there: tuple[str, ...]

    def summary(self) -> dict[str, float]:
        """How far apart the two are, in points."""
        apart = [abs(pair.here - pair.there) for pair in self.pairs]
        return {
            "results": len(apart),
            "equal_predictions": sum(pair.same_predictions for pair in self.pairs),
            "mean_points_apart": float(np.mean(apart)) if apart else 0.0,
            "most_points_apart": max(apart, default=0.0),
            "outside_printed_interval": sum(not pair.inside for pair in self.pairs),
        }


def compare_reports(work: Workspace, other: str) -> ReportComparison:
    """This profile's metrics with those of `other`: a reports folder, a checkout or a revision."""
    here, there = read_metrics(work.reports), _metrics_of(work, other)
    pairs = []
    for row in sorted(here.keys() & there.keys()):
        name = "map_pct" if here[row]["metric"] == "map" else "top1_pct"
        for protocol, mine in here[row]["protocols"].items():
            theirs = there[row]["protocols"].get(protocol)
            if theirs is None or None in (mine.get(name), theirs.get(name)):
                continue
            low, high = mine.get(name.replace("_pct", "_ci95_pct")) or (0.0, 100.0)
            digests = contents(mine), contents(theirs)
            pairs.append(
                ResultPair(
                    row,
                    protocol,
                    name,
                    mine[name],
                    theirs[name],
                    low,
                    high,
                    digests[0] == digests[1] != [],
                    here[row].get("identity") == there[row].get("identity") is not None,
                )
            )
    return ReportComparison(
        tuple(pairs),
        tuple(sorted(here.keys() - there.keys())),
        tuple(sorted(there.keys() - here.keys())),
    )


def as_page(reports: ReportComparison, here: str, there: str) -> str:
    """The comparison as one page of HTML that needs no other file."""
    pairs = sorted(reports.pairs, key=lambda pair: -abs(pair.here - pair.there))
    titles = {True: "The same experiment", False: "Rows whose data or parameters differ"}
    return render_page(
        "compare",
        style=style_sheet(),
        here=here,
        there=there,
        summary=reports.summary(),
        scale=Scale(0.0, 100.0),
        groups={
            title: [pair for pair in pairs if pair.same_experiment is same]
            for same, title in titles.items()
        },
        only={here: reports.only_here, there: reports.only_there},
    )


def read_metrics(reports: Path, *, trials: bool = False) -> Metrics:
    """The metrics files of a reports folder; those of rows run with other values with `trials`."""
    paths = [p for p in (reports / "metrics").glob("*.json") if (TRIAL in p.name) is trials]
    return _parsed({path.stem: path.read_text("utf-8") for path in paths}, reports.name)


def _metrics_of(work: Workspace, other: str) -> Metrics:
    for folder in (Path(other), Path(other) / "reports" / work.profile):
        if (folder / "metrics").is_dir():
            return read_metrics(folder)
    return _parsed(_texts_of_revision(work, other), other)


def _texts_of_revision(work: Workspace, revision: str) -> dict[str, str]:
    below = f"{work.relative(work.reports)}/metrics"
    command = ["git", "-C", str(work.root), "archive", "--format=tar", revision, below]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise UsageError(
            f"'{revision}' is neither a folder with metrics nor a revision that has them",
            where=below,
            do="name a reports folder (reports/mini), another checkout, or a revision (HEAD~1)",
        ) from None
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        files = {m.name: archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
    return {Path(name).stem: f.read().decode("utf-8") for name, f in files.items() if f}


def _parsed(texts: Mapping[str, str], where: str) -> Metrics:
    found: Metrics = {}
    for row, text in texts.items():
        try:
            value = json.loads(text)
            if not isinstance(value["protocols"], dict):
                raise ValueError("protocols")
        except (ValueError, KeyError, TypeError):
            raise UsageError(
                f"the metrics of {row} are not readable",
                where=where,
                do="make them again there: `tdn score ROW`",
            ) from None
        found[row] = value
    return found
