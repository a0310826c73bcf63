"""What differs between two plans, or between two values, in words a reader can act on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.lineage.code_digest import Parts

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


def plan_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], code: Parts | None = None
) -> list[str]:
    """Parameters as 'recipe.lr 0.02 → 0.01', code as 'code ShortTermTDM changed (file)'.

    `code` are the definitions behind the code digest of `before`, where they are known.
    """
    words = [
        f"{place} {show(old)} → {show(new)}"
        for place, old, new in changes(before.get("params", {}), after.get("params", {}))
    ]
    if before.get("code") != after.get("code"):
        words += _code_changes(code or {}, after.get("parts", {}))
    return words


def _code_changes(before: Parts, after: Parts) -> list[str]:
    """Definitions that changed, wherever they stand now; 'code changed' where none can be named."""
    old, new = _by_name(before), _by_name(after)
    homes = {name: path for parts in (before, after) for path in parts for name in parts[path]}
    words = []
    for name in sorted(old.keys() | new.keys()) if old else []:
        if old.get(name) != new.get(name):
            how = "removed" if name not in new else "added" if name not in old else "changed"
            words.append(f"code {name} {how} ({homes[name]})")
    return words or ["code changed"]


def _by_name(parts: Parts) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for names in parts.values():
        for name, digest in names.items():
            if "→" not in name:
                found.setdefault(name, set()).add(digest)
    return found


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
