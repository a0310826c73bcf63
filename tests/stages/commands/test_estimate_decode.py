"""`tdn decode DATASET --dry-run` tells the cost and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import AbsentData
from pipeline.core.workspace import Workspace
from pipeline.schema.dataset import Dataset
from pipeline.schema.plan_models import CheckPlan, DecodePlan
from stages import check, decode
from stages.commands import estimate_decode
from tests.pipeline import samples


def own(root: Path, count: int) -> tuple[Workspace, Dataset]:
    """A workspace whose `own` has so many videos; not checked."""
    work = Workspace(root)
    made = samples.own_videos(root / "made", samples.numbered(count))
    work.raw("own", generated=False).parent.mkdir(parents=True)
    made.raw.rename(work.raw("own", generated=False))
    return work, made.dataset


def check_plan(dataset: Dataset) -> CheckPlan:
    return CheckPlan(dataset=dataset, generated=False, raw=None)


def decode_plan(dataset: Dataset) -> DecodePlan:
    return DecodePlan(dataset=dataset, generated=False)


def files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def test_a_dry_run_before_and_after_check_and_after_decode(tmp_path: Path) -> None:
    work, dataset = own(tmp_path, 7)
    before = files(tmp_path)
    first = estimate_decode.run(work, "own", decode_plan(dataset), workers=2, sample=7)
    assert files(tmp_path) == before
    assert (first["videos"], first["shards"], first["checked"]) == (7, 3, False)
    check.run(work, "own", check_plan(dataset))
    second = estimate_decode.run(work, "own", decode_plan(dataset), workers=2, sample=7)
    assert second["checked"]
    assert second["shards_finished"] == 0
    moving = ("checked", "cpu_s", "wall_s", "free_bytes")
    assert {k: v for k, v in second.items() if k not in moving} == {
        k: v for k, v in first.items() if k not in moving
    }
    assert set(second["wall_s"]) == {"1", "2", "4", "16", "64", "256"}
    assert second["wall_s"]["256"] < second["wall_s"]["2"] < second["wall_s"]["1"]
    decode.run(work, "own", decode_plan(dataset), workers=0)
    assert (
        estimate_decode.run(work, "own", decode_plan(dataset), workers=2, sample=2)[
            "shards_finished"
        ]
        == 3
    )


def test_the_table_names_size_time_and_shards(tmp_path: Path) -> None:
    work, dataset = own(tmp_path, 4)
    found = estimate_decode.run(work, "own", decode_plan(dataset), workers=2, sample=2)
    found |= {"store_bytes": 15_900_000_000, "store_bytes_error": 795_000_000, "cpu_s": 15_460.0}
    found |= {"wall_s": {"2": 7730.0, "16": 966.2}, "free_bytes": 3_000_000, "workers": 2}
    rows = {name: (value, remark) for name, value, remark in estimate_decode.table(found)}
    assert rows["store"] == ("15.9 GB", "± 5 %")
    assert rows["processor"][0] == "4.3 h"
    assert rows["time on 2 cores"] == ("2.1 h", "as asked")
    assert rows["time on 16 cores"] == ("16.1 min", "")
    unchecked, small = estimate_decode.remarks(found)
    assert "not checked yet" in unchecked and "15.9 GB wanted" in small
    assert estimate_decode.remarks(found | {"checked": True, "store_bytes": 1}) == []


def test_absent_data_are_told(tmp_path: Path) -> None:
    work, dataset = own(tmp_path, 2)
    work.raw("own", generated=False).rename(tmp_path / "elsewhere")
    with pytest.raises(AbsentData, match="not on this machine"):
        estimate_decode.run(work, "own", decode_plan(dataset), workers=1, sample=2)
