"""Stage `mini`: one miniature data set in its official layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.core.files import write_json
from pipeline.core.machine import cores
from pipeline.core.workspace import Workspace
from pipeline.mini import generate
from pipeline.schema.base import validate
from pipeline.schema.miniature import Miniature


def run(
    work: Workspace,
    key: str,
    *,
    params: dict[str, Any],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `data/P/raw/DS/` and, when it is complete, `DS.generated.json`: what it holds."""
    miniature = validate(Miniature, params["miniature"], where=f"manifests/miniatures/{key}.yaml")
    if workers is None:
        workers = cores()
    summary = work.generated(key)
    summary.unlink(missing_ok=True)
    write_json(summary, generate(key, miniature, work.raw(key), workers, progress))
