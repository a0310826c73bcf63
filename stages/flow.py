"""Stage `flow`: optical flow between the frames of a data set's store, in a store of its own."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.core.files import read_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import FlowPlan
from pipeline.store.build_flow import make_absent, make_flow
from pipeline.store.index import read_index


def run(
    work: Workspace,
    key: str,
    plan: FlowPlan,
    *,
    record_absent: bool = False,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fill `data/P/flow/DS/` from `data/P/frames/DS/`.

    `retry_failed` tries failed videos of finished shards again. Raises AbsentData when the data set
    has no frames; with `record_absent`, the recorded absence of its frames is recorded for its flow
    as well.
    """
    path = work.frames(key) / "index.json"
    if record_absent and path.is_file() and read_json(path)["status"] == "absent":
        make_absent(work.flow(key), key, read_json(path)["reason"])
        return
    frames = read_index(work.frames(key))
    make_flow(
        frames,
        work.flow(key),
        plan.policy,
        workers=workers,
        retry_failed=retry_failed,
        progress=progress,
    )
