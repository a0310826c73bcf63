"""Small twins for tests: the shipped manifests with fewer clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.manifest_base import read_yaml, validate
from pipeline.manifest_twin import Twin

SHIPPED = Path(__file__).parents[3] / "manifests" / "twins"


def shipped(dataset: str) -> Twin:
    return validate(Twin, read_yaml(SHIPPED / f"{dataset}.yaml"), where=dataset)


def small(dataset: str, **changes: Any) -> Twin:
    """The shipped twin with two pairs and a handful of clips; `changes` replace top-level keys."""
    value = read_yaml(SHIPPED / f"{dataset}.yaml")
    value["pairs"] = [p for p in value["pairs"] if p["kind"] in ("approach", "whirl")]
    names = [[p["forward"], p["backward"]] for p in value["pairs"] if p["mirrored"]]
    value["flip_pairs"] = [[n.replace("[", "").replace("]", "") for n in pair] for pair in names]
    for split in value["splits"].values():
        split |= {"clips_per_class": 2, "pool": 4}
    if value["groups"]:
        value["groups"] = {"count": 3, "clips_per_group": 1, "test_groups": [[1], [2], [3]]}
    entries, classes = 2 + len(value["stills"]), 4 + len(value["stills"])
    value["order_blind_bound_pct"] = 100 * entries / classes
    value["expected"] = (
        {f"{kind}{n:02d}": size * classes for n in (1, 2, 3) for kind, size in SIZES.items()}
        if value["groups"]
        else {name: 2 * classes for name in value["splits"]}
    )
    return validate(Twin, value | changes, where=dataset)


SIZES = {"train": 2, "test": 1}
