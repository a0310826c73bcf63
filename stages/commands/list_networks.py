"""The list behind `tdn models`: each network's cost at the paper's input beside the printed one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.schema.base import nearest
from pipeline.schema.claims import load_claims
from pipeline.schema.network_list import Models, load_models
from stages.network_cost import cost_of, input_of
from tdn_model.count_cost import Cost


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
        if key not in known:
            raise UsageError(
                f"unknown network '{key}'", where="manifests/models.yaml", do=nearest(key, known)
            )
    printed = {key: claim.number for key, claim in claims.items()}
    return lines(models, printed, [key for key in known if not only or key in only])


def lines(models: Models, printed: Mapping[str, float], keys: Collection[str]) -> list[Line]:
    """The lines of `keys`; each network is measured once, on the meta device."""
    costs: dict[str, Cost] = {}

    def cost(key: str) -> Cost:
        if key not in costs:
            costs[key] = cost_of(models.networks[key])
        return costs[key]

    found: list[Line] = []
    for key in keys:
        network, ensemble = models.networks.get(key), models.ensembles.get(key)
        if network is not None:
            own = cost(key)
            line = Line(
                key,
                network.title,
                network.architecture,
                network.backbone,
                input_of(network),
                own.params,
                own.gmacs * network.clips,
                views=network.views,
                note=network.note,
            )
            claims = network.claims
        else:
            assert ensemble is not None
            members = [models.networks[member] for member in ensemble.members]
            line = Line(
                key,
                ensemble.title,
                " + ".join(dict.fromkeys(m.architecture for m in members)),
                " + ".join(dict.fromkeys(m.backbone for m in members)),
                " + ".join(input_of(m) for m in members),
                sum(cost(member).params for member in ensemble.members),
                sum(cost(member).gmacs for member in ensemble.members),
                views=ensemble.views,
                note=ensemble.note,
            )
            claims = ensemble.claims
        found += _beside(line, claims, printed, models.tolerance_pct)
    return found


def _beside(
    line: Line, claims: Collection[str], printed: Mapping[str, float], tolerance_pct: float
) -> list[Line]:
    """The line once per printed number, or once without."""
    if not claims:
        return [line]
    found = []
    for claim in claims:
        difference = 100 * (line.gmacs / printed[claim] - 1)
        values = vars(line) | {
            "place": claim.rpartition("/")[0],
            "printed": printed[claim],
            "difference_pct": difference,
            "within": abs(difference) <= tolerance_pct,
        }
        found.append(Line(**values))
    return found
