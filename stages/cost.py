"""Stage `cost`: parameters and multiply-adds, at the paper's size, of every row's network and of
every network whose cost a table prints."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.files import read_json, sha256_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import CostPlan, CountedNetwork
from stages.network_cost import clip_cost, input_of, keywords_of


def run(work: Workspace, key: str, plan: CostPlan, *, code: str = "") -> None:
    """Write `reports/P/costs.json`: {row or network: {params, gmacs, input}}; needs no data.

    The networks of manifests/models.yaml also have `claims`, the printed numbers that are theirs,
    and `note`, why they differ where they do; their `gmacs` count as many clips as the print does.
    A network that the same `code` (its digest) has counted on this machine is not counted again.
    """
    counts = Counts(work.root / ".tdn" / f"costs.{work.profile}.json", code)
    costs = {row: _measure(network, counts) for row, network in plan.rows.items()}
    write_json(work.reports / "costs.json", listed(plan, counts) | costs)
    counts.save()


class Counts:
    """Counts of networks, kept in a file beside the results; nothing is kept without `code`."""

    def __init__(self, path: Path, code: str) -> None:
        self._path, self._code = path, code
        self._earlier: dict[str, list[Any]] = {}
        self._kept: dict[str, list[Any]] = {}
        self._counted_with = [code, metadata.version("torch")]
        if code and path.is_file():
            with suppress(ValueError):  # damaged: everything is counted again
                kept = read_json(path)
                self._earlier = kept if isinstance(kept, dict) else {}

    def of(self, architecture: str, keywords: Mapping[str, Any], side_px: int) -> Count:
        """A network's count, as of `clip_cost`."""
        address = sha256_json([*self._counted_with, architecture, dict(keywords), side_px])
        if address in self._earlier:
            self._kept[address] = self._earlier[address]
        elif address not in self._kept:
            clip = clip_cost(architecture, keywords, side_px)
            self._kept[address] = [clip.cost.params, clip.cost.gmacs, list(clip.input_shape)]
        return Count(*self._kept[address])

    def save(self) -> None:
        if self._code:
            write_json(self._path, self._kept)


class Count(NamedTuple):
    """Parameters, multiply-adds of one clip in billions, and the clip's shape."""

    params: int
    gmacs: float
    shape: list[int]


def listed(plan: CostPlan, counts: Counts) -> dict[str, dict[str, Any]]:
    """The costs of the networks and ensembles of manifests/models.yaml, as `run` writes them."""
    found: dict[str, dict[str, Any]] = {}
    for key, network in plan.networks.items():
        cost = counts.of(network.architecture, keywords_of(network), network.side_px)
        found[key] = {
            "params": cost.params,
            "gmacs": round(cost.gmacs * network.clips, 3),
            "input": input_of(network),
            "claims": network.claims,
            "note": network.note,
        }
    for key, ensemble in plan.ensembles.items():
        members = [found[member] for member in ensemble.members]
        found[key] = {
            "params": sum(member["params"] for member in members),
            "gmacs": round(sum(member["gmacs"] for member in members), 3),
            "input": " + ".join(member["input"] for member in members),
            "claims": ensemble.claims,
            "note": ensemble.note,
        }
    return found


def _measure(network: CountedNetwork, counts: Counts) -> dict[str, Any]:
    keywords = {
        "backbone": network.backbone,
        "num_classes": network.num_classes,
        "num_segments": network.segments,
        **network.options,
    }
    cost = counts.of(network.architecture, keywords, network.side_px)
    return {"params": cost.params, "gmacs": round(cost.gmacs, 3), "input": cost.shape}
