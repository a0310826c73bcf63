"""Stage `cost`: parameters and multiply-adds, at the paper's size, of every row's network and of
every network whose cost a table prints."""

from __future__ import annotations

from typing import Any

from pipeline.core.files import sha256_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import CostPlan, CountedNetwork
from stages.network_cost import clip_cost, cost_of, input_of


def run(work: Workspace, key: str, plan: CostPlan) -> None:
    """Write `reports/P/costs.json`: {row or network: {params, gmacs, input}}; needs no data.

    The networks of manifests/models.yaml also have `claims`, the printed numbers that are theirs,
    and `note`, why they differ where they do; their `gmacs` count as many clips as the print does.
    """
    seen: dict[str, dict[str, Any]] = {}
    costs = {}
    for row, network in plan.rows.items():
        address = sha256_json(network.model_dump())
        if address not in seen:
            seen[address] = _measure(network)
        costs[row] = seen[address]
    write_json(work.reports / "costs.json", listed(plan) | costs)


def listed(plan: CostPlan) -> dict[str, dict[str, Any]]:
    """The costs of the networks and ensembles of manifests/models.yaml, as `run` writes them."""
    found: dict[str, dict[str, Any]] = {}
    for key, network in plan.networks.items():
        cost = cost_of(network)
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


def _measure(network: CountedNetwork) -> dict[str, Any]:
    keywords = {
        "backbone": network.backbone,
        "num_classes": network.num_classes,
        "num_segments": network.segments,
        **network.options,
    }
    clip = clip_cost(network.architecture, keywords, network.side_px)
    cost, shape = clip.cost, clip.input_shape
    return {"params": cost.params, "gmacs": round(cost.gmacs, 3), "input": list(shape)}
