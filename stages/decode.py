"""Stage `decode`: a checked data set's videos into its frame store."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.core.errors import AbsentData
from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import DecodePlan
from pipeline.store.build_frames import decode


def run(
    work: Workspace,
    key: str,
    plan: DecodePlan,
    *,
    record_absent: bool = False,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Fill the frame store of a data set.

    `retry_failed` tries failed videos of finished shards again. Raises AbsentData when the data
    set was not checked.
    """
    if not work.sources(key).is_file():
        raise AbsentData(
            f"{key} was not checked",
            where=work.relative(work.sources(key)),
            do=f"run `tdn check {key} --profile {work.profile}` first",
        )
    about = decode(
        plan.dataset,
        work.raw(key, generated=plan.generated),
        work.sources(key),
        work.frames(key),
        workers=workers,
        retry_failed=retry_failed,
        record_absent=record_absent,
        progress=progress,
    )
    kept = ("dataset", "status", "reason", "listed", "counts", "splits", "frames", "content")
    write_json(work.decoded(key), {name: about[name] for name in kept if name in about})
