"""Stage `decode`: a checked data set's videos into its frame store."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.core.errors import AbsentData
from pipeline.core.files import read_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import DecodePlan
from pipeline.schema.status import FAILED
from pipeline.store.build_frames import decode
from pipeline.store.index import read_index


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


_MOST_SHOWN = 10


def lines(work: Workspace, key: str) -> list[str]:
    """What became of the videos: counts by status, then those that are partial or failed."""
    about = read_json(work.decoded(key))
    if about["status"] == "absent":
        return [f"{key} is absent: {about['reason']}"]
    counts = ", ".join(f"{count} {status}" for status, count in about["counts"].items())
    found = [f"{key}: {about['listed']} listed videos: {counts}; {about['frames']} frames"]
    odd = [v for v in read_index(work.frames(key)).videos if v.status in ("partial", *FAILED)]
    found += [f"  {v.video_id}: {v.status}: {v.reason}" for v in odd[:_MOST_SHOWN]]
    if len(odd) > _MOST_SHOWN:
        found.append(f"  … and {len(odd) - _MOST_SHOWN} more")
    return found
