"""The machines that a profile's rows were trained on, in the fields of MLPerf's description.

The fields are those that MLPerf Inference's submission checker asks of `systems/*.json`
(https://github.com/mlcommons/inference, tools/submission).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import TRIAL
from pipeline.lineage.records import OBSERVED

SYSTEM_FIELDS = (
    "division",
    "submitter",
    "status",
    "system_name",
    "system_type",
    "system_type_detail",
    "number_of_nodes",
    "host_processor_model_name",
    "host_processors_per_node",
    "host_processor_core_count",
    "host_processor_frequency",
    "host_processor_caches",
    "host_processor_interconnect",
    "host_memory_capacity",
    "host_memory_configuration",
    "host_storage_capacity",
    "host_storage_type",
    "host_networking",
    "host_networking_topology",
    "host_network_card_count",
    "accelerator_model_name",
    "accelerators_per_node",
    "accelerator_host_interconnect",
    "accelerator_frequency",
    "accelerator_on-chip_memories",
    "accelerator_memory_configuration",
    "accelerator_memory_capacity",
    "accelerator_interconnect",
    "accelerator_interconnect_topology",
    "cooling",
    "framework",
    "operating_system",
    "other_software_stack",
    "hw_notes",
    "sw_notes",
)
_NOT_RECORDED = "n/a: not recorded"
_NO_ACCELERATOR = "n/a: trained on the processor"


def describe_system(work: Workspace, rows: Iterable[str]) -> dict[str, str]:
    """SYSTEM_FIELDS from what was observed while `rows` were trained.

    Several machines stand in one field, joined by "; ". What no record holds is `n/a` with the
    reason.
    """
    observed = [_observed(work, row) for row in rows]
    accelerators = _each(", ".join(a["name"] for a in o.get("accelerators", [])) for o in observed)
    counts = _each(str(len(o["accelerators"])) for o in observed if o.get("accelerators"))
    known = {
        "division": "n/a: no MLPerf submission",
        "submitter": "n/a: no MLPerf submission",
        "status": "n/a: no MLPerf submission",
        "system_name": _each(o.get("host", "") for o in observed),
        "number_of_nodes": str(len({o.get("host") for o in observed})) if observed else "",
        "host_processor_model_name": _each(o.get("cpu", "") for o in observed),
        "host_processor_core_count": _each(str(o.get("cores", "")) for o in observed),
        "accelerator_model_name": accelerators,
        "accelerators_per_node": counts,
        "framework": _each(_packages(o, ("torch",)) for o in observed),
        "operating_system": _each(o.get("os", "") for o in observed),
        "other_software_stack": _each(_stack(o) for o in observed),
        "hw_notes": "cores are those that the process might use",
        "sw_notes": "one line of a field for each machine or version that rows were trained with",
    }
    absent = {
        name: _NO_ACCELERATOR if name.startswith("accelerator") and not accelerators else ""
        for name in SYSTEM_FIELDS
    }
    return {name: known.get(name) or absent[name] or _NOT_RECORDED for name in SYSTEM_FIELDS}


def trained_rows(work: Workspace) -> list[str]:
    """The rows with results whose networks were trained here: not those of imported weights."""
    found = []
    for path in sorted(work.metrics("x").parent.glob("*.json")):
        record = work.record("train", path.stem)
        if TRIAL in path.stem or not record.is_file() or read_json(path)["status"] == "not-run":
            continue
        if "recipe" in read_json(record)["identity"]["params"]:
            found.append(path.stem)
    return found


def _observed(work: Workspace, row: str) -> Mapping[str, Any]:
    path = work.record("train", row).with_suffix(OBSERVED)
    found: Mapping[str, Any] = read_json(path) if path.is_file() else {}
    return found


def _each(values: Iterable[str]) -> str:
    return "; ".join(value for value in dict.fromkeys(values) if value)


def _packages(observed: Mapping[str, Any], names: Iterable[str]) -> str:
    packages = observed.get("packages") or {}
    return ", ".join(f"{name} {packages[name]}" for name in names if packages.get(name))


def _stack(observed: Mapping[str, Any]) -> str:
    others = sorted(set(observed.get("packages") or {}) - {"torch"})
    return f"Python {observed.get('python', '')}, {_packages(observed, others)}"
