"""What a row's result came from, its seeds and its profile's name aside.

Two results of one identity are two draws from one distribution: the same data, code, parameters
and protocols. Read from run records, so that it is what was run and not what is planned.
"""

from __future__ import annotations

from typing import Any

from pipeline.core.files import sha256_json
from pipeline.lineage.evidence import Evidence, Run

SEEDS = ("seed", "seeds")


def training_identity(evidence: Evidence, row: str) -> str | None:
    """A digest of all that decides a row's result but its seeds; None when records are missing."""
    parts = _parts(evidence, row)
    predict = evidence.runs.get(f"predict/{row}")
    if parts is None or predict is None:
        return None
    return sha256_json([_part(predict), parts])


def _parts(evidence: Evidence, row: str) -> list[Any] | None:
    """A row's training, the frames it saw, and the same of what it started from."""
    train = evidence.runs.get(f"train/{row}")
    if train is None or train.problem:
        return None
    frames = sorted(read.sha256 for read in train.inputs if read.role in ("frames", "flow"))
    start, backbone = train.params["start"], train.params["network"]["backbone"]
    parts: list[Any] = [_part(train), frames]
    if start["kind"] == "row":
        first = _parts(evidence, start["source"])
        if first is None:
            return None
        parts.append(first)
    images = evidence.runs.get("pretrain/images")
    if start["kind"] == "images" or start["two_stream"]:
        if images is None:
            return None
        parts.append(_images(images, backbone))
    return parts


def _part(run: Run) -> list[Any]:
    return [_without_seeds(run.params), run.plan["code"]["digest"]]


def _images(run: Run, backbone: str) -> list[Any]:
    """Image pre-training of one backbone: a profile may train others beside it."""
    params = _without_seeds(run.params)
    stills = params["stills"] and _without_seeds(params["stills"])
    chosen = {"stills": stills, "backbone": params["backbones"].get(backbone)}
    return [{**params, "backbones": None, **chosen}, run.plan["code"]["digest"]]


def _without_seeds(params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in SEEDS}
