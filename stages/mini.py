"""Stage `mini`: one miniature data set in its official layout."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.core.files import write_json
from pipeline.core.machine import cores
from pipeline.core.workspace import Workspace
from pipeline.mini import generate
from pipeline.schema.plan_models import MiniPlan


def run(
    work: Workspace,
    key: str,
    plan: MiniPlan,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write `data/P/raw/DS/` and, when it is complete, `DS.generated.json`: what it holds."""
    if workers is None:
        workers = cores()
    raw, summary = work.raw(key, generated=True), work.generated(key)
    summary.unlink(missing_ok=True)
    write_json(summary, generate(key, plan.miniature, raw, workers, progress))
