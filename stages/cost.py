"""Stage `cost`: parameters and multiply-adds, at the paper's size, of every row's network and of
every network whose cost a table prints."""

from __future__ import annotations

from typing import Any

from pipeline.core.files import sha256_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.network_list import Network
from stages.network_cost import clip_cost, cost_of, input_of


def run(work: Workspace, key: str, *, params: dict[str, Any]) -> None:
    """Write `reports/P/costs.json`: {row or network: {params, gmacs, input}}; needs no data.

    The networks of manifests/models.yaml also have `claims`, the printed numbers that are theirs,
    and `note`, why they differ where they do; their `gmacs` count as many clips as the print does.
    """
    seen: dict[str, dict[str, Any]] = {}
    costs = {}
    for row, spec in params["rows"].items():
        address = sha256_json(spec)
        if address not in seen:
            seen[address] = _measure(spec)
        costs[row] = seen[address]
    write_json(work.reports / "costs.json", listed(params) | costs)


def listed(params: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The costs of the networks and ensembles of manifests/models.yaml, as `run` writes them."""
    found: dict[str, dict[str, Any]] = {}
    for key, spec in params.get("networks", {}).items():
        network = Network.model_validate(spec)
        cost = cost_of(network)
        found[key] = {
            "params": cost.params,
            "gmacs": round(cost.gmacs * network.clips, 3),
            "input": input_of(network),
            "claims": network.claims,
            "note": network.note,
        }
    for key, spec in params.get("ensembles", {}).items():
        members = [found[member] for member in spec["members"]]
        found[key] = {
            "params": sum(member["params"] for member in members),
            "gmacs": round(sum(member["gmacs"] for member in members), 3),
            "input": " + ".join(member["input"] for member in members),
            "claims": spec["claims"],
            "note": spec["note"],
        }
    return found


def _measure(spec: dict[str, Any]) -> dict[str, Any]:
    keywords = {
        "backbone": spec["backbone"],
        "num_classes": spec["num_classes"],
        "num_segments": spec["segments"],
        **spec["options"],
    }
    clip = clip_cost(spec["architecture"], keywords, spec["side_px"])
    cost, shape = clip.cost, clip.input_shape
    return {"params": cost.params, "gmacs": round(cost.gmacs, 3), "input": list(shape)}
