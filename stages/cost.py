"""Stage `cost`: parameters and multiply-adds, at the paper's size, of every row's network and of
every network whose cost a table prints."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.files import read_json, sha256_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.code_digest import Code, code_digest
from pipeline.schema.network_list import Network
from pipeline.schema.plan_models import CostPlan, CountedNetwork
from stages.network_cost import clip_cost, input_of, keywords_of
from tdn_model.build import MODELS

SOURCE = Path(__file__).resolve().parents[1]


def run(work: Workspace, key: str, plan: CostPlan) -> None:
    """Write `reports/P/costs.json`: {row or network: {params, gmacs, input}}; needs no data.

    The networks of manifests/models.yaml also have `claims`, the printed numbers that are theirs,
    and `note`, why they differ where they do; their `gmacs` count as many clips as the print does.
    A network that the same code has counted on this machine is not counted again.
    """
    counts = Counts(work)
    costs: dict[str, dict[str, Any]] = {}
    for row, network in plan.rows.items():
        cost = counts.of(network)
        costs[row] = {"params": cost.params, "gmacs": round(cost.gmacs, 3), "input": cost.shape}
    write_json(work.reports / "costs.json", listed(plan, counts) | costs)
    counts.save()


class Counts:
    """Counts of networks, kept in `.tdn/KIND.P.json` by network and the code that it runs."""

    def __init__(self, work: Workspace, kind: str = "costs") -> None:
        self._path = work.root / ".tdn" / f"{kind}.{work.profile}.json"
        self._code = Code(SOURCE)
        self._earlier: dict[str, list[Any]] = {}
        self._kept: dict[str, list[Any]] = {}
        with suppress(ValueError, FileNotFoundError):  # damaged: everything is counted again
            kept = read_json(self._path)
            self._earlier = kept if isinstance(kept, dict) else {}

    def of(self, network: Network | CountedNetwork) -> Count:
        """A network's count, as of `clip_cost`."""
        name, keywords, side_px = network.architecture, keywords_of(network), network.side_px

        def count() -> list[Any]:
            clip = clip_cost(name, keywords, side_px)
            return [clip.cost.params, clip.cost.gmacs, list(clip.input_shape)]

        return Count(*self.look_up("clip_cost", name, [keywords, side_px], count))

    def look_up(
        self, counted_by: str, architecture: str, given: Any, count: Callable[[], list[Any]]
    ) -> list[Any]:
        """The numbers that `count` gives, or gave, of a network; `counted_by`: its function in
        `network_cost`, `given`: what else decides them."""
        roots = [f"stages.network_cost:{counted_by}", MODELS[architecture]]
        code = code_digest(self._code.reached(roots))
        address = sha256_json([code, metadata.version("torch"), architecture, *given])
        if address in self._earlier:
            self._kept[address] = self._earlier[address]
        elif address not in self._kept:
            self._kept[address] = count()
        return self._kept[address]

    def save(self, *, others: bool = False) -> None:
        """Keep what was asked for, and with `others` what was there besides."""
        write_json(self._path, {**(self._earlier if others else {}), **self._kept})


class Count(NamedTuple):
    """Parameters, multiply-adds of one clip in billions, and the clip's shape."""

    params: int
    gmacs: float
    shape: list[int]


def listed(plan: CostPlan, counts: Counts) -> dict[str, dict[str, Any]]:
    """The costs of the networks and ensembles of manifests/models.yaml, as `run` writes them."""
    costs: dict[str, dict[str, Any]] = {}
    for key, network in plan.networks.items():
        cost = counts.of(network)
        costs[key] = {
            "params": cost.params,
            "gmacs": round(cost.gmacs * network.clips, 3),
            "input": input_of(network),
            "claims": network.claims,
            "note": network.note,
        }
    for key, ensemble in plan.ensembles.items():
        members = [costs[member] for member in ensemble.members]
        costs[key] = {
            "params": sum(member["params"] for member in members),
            "gmacs": round(sum(member["gmacs"] for member in members), 3),
            "input": " + ".join(member["input"] for member in members),
            "claims": ensemble.claims,
            "note": ensemble.note,
        }
    return costs
