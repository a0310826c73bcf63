"""`tdn watch`: the rows that are being trained, from their logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.core.workspace import Workspace
from stages.trainer.training_log import EVERY_S, LOG

SILENT_S = 6 * EVERY_S
"""A training that has logged nothing for so long is not shown: it ended, or was stopped."""
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Running:
    """The last line of a row's log."""

    row: str
    seed: int
    epoch: int
    step: int
    steps: int
    loss: float
    clips_per_s: float
    waiting_pct: float
    eta_s: float
    age_s: float
    """How long ago the line was written."""


def running(work: Workspace, now: datetime | None = None) -> list[Running]:
    """Rows of a profile whose logs grew lately and whose last step is not reached, by name."""
    now = now or datetime.now(UTC)
    found = []
    for path in sorted((work.root / "runs" / work.profile).glob(f"*/{LOG}")):
        line = _last_line(path)
        if line is None or line["step"] >= line["steps"]:
            continue
        age_s = (now - datetime.fromisoformat(line["time"])).total_seconds()
        if age_s <= SILENT_S:
            known = {name: line[name] for name in Running.__annotations__ if name in line}
            found.append(Running(**known, age_s=age_s))
    return found


def _last_line(path: Path) -> dict[str, Any] | None:
    """The last whole line; None for a file without one, or of another form."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
        value = json.loads(lines[-1])
        wanted = {"time", *Running.__annotations__} - {"age_s"}
        return value if wanted <= value.keys() else None
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def as_cells(found: Sequence[Running]) -> list[tuple[str, ...]]:
    """A line of text for each, in the order of COLUMNS."""
    return [
        (
            one.row,
            str(one.seed),
            str(one.epoch),
            f"{one.step}/{one.steps}",
            f"{one.loss:.4f}",
            f"{one.clips_per_s:.1f}",
            f"{one.waiting_pct:.0f} %",
            f"{max(0.0, one.eta_s - one.age_s) / 60:.0f} min",
        )
        for one in found
    ]


COLUMNS = ("row", ">seed", ">epoch", ">step", ">loss", ">clips/s", ">waiting for data", ">left")
