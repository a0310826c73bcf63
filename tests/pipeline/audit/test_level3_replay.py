"""How far replayed logits may lie from the stored ones, at the precision that a record states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from pipeline.audit import level3_replay as replay
from pipeline.audit.context import Context, Tools
from pipeline.audit.links import Status
from pipeline.core.parquet import write_table
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.lineage.records import read_inputs, write_record
from pipeline.scores.predictions import ViewLogits, write_predictions

LOGITS = np.array([[10.0, 0.5, -3.0], [0.25, 4.0, 1.0]], dtype=np.float32)


def predict(work: Workspace, logits: npt.NDArray[np.float32]) -> Path:
    folder = work.run("row") / "predict"
    folder.mkdir(parents=True)
    views = [ViewLogits(f"video{n}", (0,), logits=row) for n, row in enumerate(logits)]
    write_predictions(folder / "center_1x1.parquet", "row", "center_1x1", views)
    return folder


def status(
    root: Path, stored: npt.NDArray[np.float32], again: npt.NDArray[np.float32], precision: str
) -> Status:
    """What the audit says of a row whose network gives `again` where its file has `stored`."""
    work = Workspace(root)
    work.raw("ssv1", generated=False).mkdir(parents=True)
    ledger = root / "ledger.parquet"
    write_table(ledger, pa.table({"video_id": [f"video{n}" for n in range(len(stored))]}))

    def record(stage: str, key: str, params: dict[str, Any], **files: dict[str, Path]) -> None:
        plan = {"params": params, "code": {"digest": ""}}
        inputs = read_inputs(work, files.get("inputs", {}))
        given = {"inputs": inputs, "outputs": files["outputs"]}
        write_record(work, stage, key, plan=plan, observed={}, **given)

    record("check", "ssv1", {}, outputs={"ledger": ledger})
    record(
        "predict",
        "row",
        {"compute": {"precision": precision}},
        inputs={"ledger": ledger},
        outputs={"predictions": predict(work, stored)},
    )

    def make_again(shadow: Workspace, _stage: str, _key: str, _params: dict[str, Any]) -> None:
        predict(shadow, again)

    sampled = frozenset({"predict"})
    tools = Tools(lambda _: {}, root / "dvc.lock", sampled=sampled, again=make_again)
    (link,) = replay.check(Context(work, tools, Evidence(work)), sample=2, seed=0)
    return link.status


@pytest.mark.parametrize(
    ("precision", "moved", "expected"),
    [
        ("float32", 0.0, Status.OK),
        ("float32", 0.0009, Status.OK),
        ("float32", 0.05, Status.REPLAY_MISMATCH),
        ("bfloat16", 0.0, Status.OK),
        ("bfloat16", 0.1, Status.OK),
        ("bfloat16", 0.3, Status.REPLAY_MISMATCH),
    ],
)
@pytest.mark.parametrize("place", [(0, 0), (1, 0)], ids=["the largest", "the smallest"])
def test_a_logit_may_move_as_far_as_its_precision_explains(
    tmp_path: Path, precision: str, moved: float, expected: Status, place: tuple[int, int]
) -> None:
    again = LOGITS.copy()
    again[place] -= moved
    assert status(tmp_path, LOGITS, again, precision) is expected


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_forged_logit_does_not_widen_what_is_allowed(tmp_path: Path, precision: str) -> None:
    forged = LOGITS.copy()
    forged[1, 0] = 1000.0
    forged[0, 1] += 1.0
    assert status(tmp_path, forged, LOGITS, precision) is Status.REPLAY_MISMATCH
