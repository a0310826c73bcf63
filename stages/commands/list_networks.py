"""The list behind `tdn models`: each network's cost at the paper's input beside the printed one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline.core.workspace import Workspace
from pipeline.schema.base import one_of
from pipeline.schema.claims import load_claims
from pipeline.schema.network_list import Ensemble, Models, Network, load_models
from pipeline.schema.plan_models import CostPlan
from stages.cost import Counts, listed


@dataclass(frozen=True)
class Line:
    """One network, or ensemble, beside one printed cost (or none).

    `gmacs` counts as many clips as the printed number does. `difference_pct` is measured against
    printed; `within` says whether the list tolerates it (None without a printed number). `place` is
    "document/table/row" of the print.
    """

    key: str
    title: str
    architecture: str
    backbone: str
    input: str
    params: int
    gmacs: float
    place: str | None = None
    printed: float | None = None
    difference_pct: float | None = None
    within: bool | None = None
    views: int | None = None
    note: str = ""


def run(work: Workspace, only: Collection[str] = ()) -> list[Line]:
    """The lines of all networks and ensembles, or of those named, in the manifest's order."""
    claims = load_claims(work.manifests / "claims.csv")
    models = load_models(work.manifests, list(claims))
    known = [*models.networks, *models.ensembles]
    for key in only:
        one_of(key, known, f"unknown network '{key}'", where="manifests/models.yaml")
    printed = {key: claim.number for key, claim in claims.items()}
    shown = [key for key in known if not only or key in only]
    wanted = {
        *shown,
        *(m for key in shown if key in models.ensembles for m in members(models, key)),
    }
    plan = CostPlan(
        rows={},
        networks={key: network for key, network in models.networks.items() if key in wanted},
        ensembles={key: models.ensembles[key] for key in shown if key in models.ensembles},
    )
    counts = Counts(work)
    costs = listed(plan, counts)
    counts.save(others=True)
    return lines(models, costs, printed, shown)


def members(models: Models, key: str) -> list[str]:
    """The networks of an ensemble, or the network itself."""
    return models.ensembles[key].members if key in models.ensembles else [key]


def lines(
    models: Models,
    costs: Mapping[str, Mapping[str, Any]],
    printed: Mapping[str, float],
    keys: Collection[str],
) -> list[Line]:
    """The lines of `keys`; `costs` are as stage `cost` lists them."""
    listing: list[Line] = []
    for key in keys:
        entry: Network | Ensemble = models.networks.get(key) or models.ensembles[key]
        networks = [models.networks[member] for member in members(models, key)]
        line = Line(
            key,
            entry.title,
            " + ".join(dict.fromkeys(network.architecture for network in networks)),
            " + ".join(dict.fromkeys(network.backbone for network in networks)),
            costs[key]["input"],
            costs[key]["params"],
            costs[key]["gmacs"],
            views=entry.views,
            note=entry.note,
        )
        listing += _beside(line, entry.claims, printed, models.tolerance_pct)
    return listing


def _beside(
    line: Line, claims: Collection[str], printed: Mapping[str, float], tolerance_pct: float
) -> list[Line]:
    """The line once per printed number, or once without."""
    if not claims:
        return [line]
    beside = []
    for claim in claims:
        difference = 100 * (line.gmacs / printed[claim] - 1)
        beside.append(
            replace(
                line,
                place=claim.rpartition("/")[0],
                printed=printed[claim],
                difference_pct=difference,
                within=abs(difference) <= tolerance_pct,
            )
        )
    return beside
