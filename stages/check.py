"""Stage `check`: lists against files, the ledger of sources."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.manifest_dataset import Dataset
from pipeline.sources import check
from pipeline.workspace import Workspace


def run(
    work: Workspace,
    key: str,
    *,
    params: dict[str, Any],
    record_absent: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the ledger of a data set; `params["dataset"]` is its resolved manifest."""
    check(
        Dataset.model_validate(params["dataset"]),
        work.raw(key),
        work.sources(key),
        cache=work.root / ".tdn" / "hashes" / f"{work.profile}.{key}.parquet",
        record_absent=record_absent,
        progress=progress,
    )
