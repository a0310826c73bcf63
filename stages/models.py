"""The list behind `tdn models`: each network's cost at the paper's input beside the printed one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pipeline.errors import UsageError
from pipeline.manifest_base import nearest
from pipeline.manifest_models import Models, Network, load_models
from pipeline.manifest_tables import load_claims
from pipeline.workspace import Workspace
from tdn_model.build import build
from tdn_model.cost import Cost, measure


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


def cost_of(network: Network) -> Cost:
    """Parameters and multiply-adds of one clip."""
    options: dict[str, Any] = dict(network.options)
    with torch.device("meta"), _NoDraws():
        model = build(
            network.architecture,
            backbone=network.backbone,
            num_classes=network.classes,
            num_segments=network.segments,
            **options,
        )
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.forward = _same  # type: ignore[assignment, method-assign]  # costs no MACs
    window, channels = (int(getattr(model, name)) for name in ("window", "in_channels"))
    return measure(model, (1, network.segments, window, channels, *[network.side_px] * 2))


def _same(x: Tensor) -> Tensor:
    return x


class _NoDraws(TorchFunctionMode):
    """Leaves initial values undrawn: on the meta device they do not exist, yet take time."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


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


def input_of(network: Network) -> str:
    """Clips, frames and side as the list prints them: "2 × 32 × 224²"."""
    clips = f"{network.clips} × " if network.clips > 1 else ""
    return f"{clips}{network.segments} × {network.side_px}²"
