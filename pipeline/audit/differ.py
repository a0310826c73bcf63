"""What differs between two plans, or between two values, in words a reader can act on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 60


def changes(before: Any, after: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted place, before, after) of every leaf that differs; None stands for nothing there."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted({*before, *after}):
            inner = f"{place}.{key}" if place else str(key)
            yield from changes(before.get(key), after.get(key), inner)
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, pair in enumerate(zip(before, after, strict=True)):
            yield from changes(*pair, f"{place}[{index}]")
    elif not _same(before, after):
        yield place, before, after


def plan_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Parameters as 'recipe.lr 0.02 → 0.01', modules as 'code tdn_model/tdm.py changed'."""
    words = [
        f"{place} {show(old)} → {show(new)}"
        for place, old, new in changes(before.get("params", {}), after.get("params", {}))
    ]
    old_files = before.get("code", {}).get("files", {})
    new_files = after.get("code", {}).get("files", {})
    for name in sorted({*old_files, *new_files}):
        if old_files.get(name) != new_files.get(name):
            gone, new = name not in new_files, name not in old_files
            words.append(f"code {name} {'removed' if gone else 'added' if new else 'changed'}")
    return words


def show(value: Any) -> str:
    """A value on one line, cut where it is long."""
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def close(before: Any, after: Any, tolerance: float) -> bool:
    """Whether two JSON values are equal but for floats within a relative or absolute tolerance."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(
            close(before[key], after[key], tolerance) for key in before
        )
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(
            close(a, b, tolerance) for a, b in zip(before, after, strict=True)
        )
    if isinstance(before, float) and isinstance(after, float):
        return math.isclose(before, after, rel_tol=tolerance, abs_tol=tolerance)
    return _same(before, after)


def _same(before: Any, after: Any) -> bool:
    return type(before) is type(after) and bool(before == after)
