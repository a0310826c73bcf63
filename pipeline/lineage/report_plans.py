"""The plans of the stages that exist once per profile: cost, tables, figures, report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.core.benchmark import timing_files
from pipeline.core.files import sha256_file
from pipeline.lineage.row_plans import Plans
from pipeline.schema.base import build_from
from pipeline.schema.claims import load_claims
from pipeline.schema.dataset import Dataset
from pipeline.schema.experiments import Experiment
from pipeline.schema.figure_list import load_figures
from pipeline.schema.miniature import Miniature, strip_brackets
from pipeline.schema.network_list import load_models
from pipeline.schema.plan_models import (
    CostPlan,
    CountedNetwork,
    FigureData,
    FiguresPlan,
    Generated,
    PredictPlan,
    ReportData,
    ReportPlan,
    ReportRow,
    ReversedPair,
    TablesPlan,
)
from pipeline.schema.profiles import Profile
from pipeline.schema.table_layouts import LAID_OUT_BY
from pipeline.scores.reference import reference_path

PAPER_SIDE_PX = 224
"""The crop at which every text states its networks' cost."""


def cost_plan(
    manifests: Path, rows: Mapping[str, Experiment], num_classes: Mapping[str, int | None]
) -> CostPlan:
    """The networks of the rows and of models.yaml; `num_classes` are the data sets' official ones.

    A user's own data may not say how many classes there are; such a network is not counted.
    """
    counted = {
        key: build_from(CountedNetwork, row, num_classes=classes, side_px=PAPER_SIDE_PX)
        for key, row in rows.items()
        if (classes := num_classes[row.dataset]) is not None
    }
    if not (manifests / "models.yaml").is_file():
        return CostPlan(rows=counted)
    models = load_models(manifests, list(load_claims(manifests / "claims.csv")))
    return CostPlan(rows=counted, networks=models.networks, ensembles=models.ensembles)


def tables_plan(manifests: Path, profile: Profile, rows: Mapping[str, Experiment]) -> TablesPlan:
    """The rows in order, and digests of what the tables are made of."""
    reference = reference_path(manifests.parent, profile.profile)
    paths = [manifests / name for name in LAID_OUT_BY]
    paths += sorted((manifests / "tables").glob("*.yaml"))
    return build_from(
        TablesPlan,
        profile,
        rows=list(rows),
        manifests={path.name: sha256_file(path) for path in paths},
        timings={path.name: sha256_file(path) for path in timing_files(manifests.parent)},
        reference=sha256_file(reference) if reference.is_file() else None,
    )


def figures_plan(
    manifests: Path,
    profile: Profile,
    plans: Plans,
    datasets: Mapping[str, Dataset],
    miniatures: Mapping[str, Miniature],
) -> FiguresPlan:
    """The figures of the profile's experiments file and of its data sets; the rows that they name
    come with their predict plans, found in `plans`."""
    figures = {
        key: figure
        for key, figure in load_figures(manifests).items()
        if figure.experiments in ("", profile.experiments_file)
    }
    rows: dict[str, PredictPlan] = {}
    for row in dict.fromkeys(row for figure in figures.values() for row in figure.rows_named):
        plan = plans.get(("predict", row))
        if isinstance(plan, PredictPlan):
            rows[row] = plan
    return build_from(
        FiguresPlan,
        profile,
        figures=figures,
        rows=rows,
        datasets={
            name: FigureData(
                title=dataset.title,
                split=next(iter(dataset.folds.values())).val,
                miniature=miniatures.get(name),
            )
            for name, dataset in sorted(datasets.items())
        },
    )


def report_plan(
    profile: Profile,
    rows: Mapping[str, Experiment],
    datasets: Mapping[str, Dataset],
    miniatures: Mapping[str, Miniature],
) -> ReportPlan:
    """What the report page is about."""
    described = {
        name: ReportData(
            title=dataset.title,
            miniature=_generated(miniatures[name]) if name in miniatures else None,
            subset=profile.why_subset(name),
        )
        for name, dataset in datasets.items()
    }
    lines = {key: build_from(ReportRow, row) for key, row in rows.items()}
    return build_from(ReportPlan, profile, datasets=described, rows=lines)


def _generated(miniature: Miniature) -> Generated:
    names = ((strip_brackets(p.forward), strip_brackets(p.backward), p) for p in miniature.pairs)
    pairs = [
        build_from(ReversedPair, pair, forward=forward, backward=backward)
        for forward, backward, pair in names
    ]
    return build_from(Generated, miniature, pairs=pairs)
