"""Small miniatures for tests: the shipped manifests with fewer clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.schema.base import read_yaml, validate
from pipeline.schema.miniature import Groups, Miniature

SHIPPED = Path(__file__).parents[3] / "manifests" / "miniatures"
MINIATURES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def shipped(dataset: str) -> Miniature:
    return validate(Miniature, read_yaml(SHIPPED / f"{dataset}.yaml"), where=dataset)


def small(dataset: str, **changes: Any) -> Miniature:
    """The shipped miniature with two pairs and few clips; `changes` replace top-level keys."""
    value = read_yaml(SHIPPED / f"{dataset}.yaml")
    chosen = [p for p in value["pairs"] if p["kind"] in ("approach", "whirl")]
    value["pairs"] = chosen if len(chosen) == 2 else value["pairs"][:2]
    names = [[p["forward"], p["backward"]] for p in value["pairs"] if p["mirrored"]]
    value["flip_pairs"] = [[n.replace("[", "").replace("]", "") for n in pair] for pair in names]
    for split in value["splits"].values():
        split |= {"clips_per_class": 2, "pool": 4}
    groups = value["groups"]
    if groups and "names" not in groups:
        unused = [[4], [4], [4]] if "unused_groups" in groups else []
        groups = {"count": 3 + bool(unused), "clips_per_group": 1, "test_groups": [[1], [2], [3]]}
        value["groups"] = groups | {"unused_groups": unused}
    pairs, stills = len(value["pairs"]), len(value["stills"])
    if "doubles_every" not in value:
        value["order_blind_bound_pct"] = 100 * (pairs + stills) / (2 * pairs + stills)
    value["missing_rows"] = dict.fromkeys(value.get("missing_rows", {}), 1)
    value["expected"] = _counts(value, 2 * pairs + stills)
    return validate(Miniature, value | changes, where=dataset)


def _counts(value: dict[str, Any], classes: int) -> dict[str, int]:
    if not value["groups"]:
        return {name: 2 * classes + (name in value["missing_rows"]) for name in value["splits"]}
    groups, found = Groups.model_validate(value["groups"]), {}
    for split, tested in enumerate(groups.test_groups):
        train, test = groups.subsets(split)
        found |= {train: len(groups.train_groups(split)) * classes, test: len(tested) * classes}
    return found
