"""What an audit says: one link of a chain, its status, and what no level can see.

| status | when |
| --- | --- |
| ok | the link holds |
| missing | a file that a record names is not there |
| unavailable | a whole place (raw data, frames, runs) is absent here; not a failure |
| hash-mismatch | a file is not the one that its maker recorded |
| stale-input | a run saw another input, parameter or module than there is now |
| record-tampered | a record contradicts its own digest |
| lock-mismatch | `dvc.lock` and the record tell of different runs |
| recompute-mismatch | the same input gives another output, or a cell or verdict claims too much |
| replay-mismatch | frames or logits made again from the source differ |
| rerun-mismatch | a row made again in a clean clone differs |
| unreadable | a file does not parse |
| unrecorded | a result without a record, one unknown to `dvc.lock`, a figure unlike its plan |
| orphan | a file that no record accounts for |
| leftover | a run that no manifest asks for any more; a hint |
| dirty-code | the code of a run is in no commit |
| mixed-env | rows of one table were made with different versions or processors |
| root-mismatch | the root digest is not the published one, a signature is not its own |
| unsigned | the results are others than those that were signed |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum, StrEnum
from typing import Any


class Level(IntEnum):
    LOCK = 0
    HASH = 1
    RECOMPUTE = 2
    REPLAY = 3
    RERUN = 4


class Status(StrEnum):
    OK = "ok"
    MISSING = "missing"
    UNAVAILABLE = "unavailable"
    HASH_MISMATCH = "hash-mismatch"
    STALE_INPUT = "stale-input"
    RECORD_TAMPERED = "record-tampered"
    LOCK_MISMATCH = "lock-mismatch"
    RECOMPUTE_MISMATCH = "recompute-mismatch"
    REPLAY_MISMATCH = "replay-mismatch"
    RERUN_MISMATCH = "rerun-mismatch"
    UNREADABLE = "unreadable"
    UNRECORDED = "unrecorded"
    ORPHAN = "orphan"
    LEFTOVER = "leftover"
    DIRTY_CODE = "dirty-code"
    MIXED_ENV = "mixed-env"
    ROOT_MISMATCH = "root-mismatch"
    UNSIGNED = "unsigned"


HARMLESS = (Status.OK, Status.UNAVAILABLE, Status.LEFTOVER)
REMARKS = (Status.DIRTY_CODE, Status.MIXED_ENV, Status.UNSIGNED)
"""Findings that a developer's own `make repro` names without failing; `tdn audit` fails on them."""

DOES = {
    Level.LOCK: "records against dvc.lock, plans and each other",
    Level.HASH: "every file digested again",
    Level.RECOMPUTE: "predictions to metrics, cells and texts again",
    Level.REPLAY: "sampled videos decoded and predicted again from their source",
    Level.RERUN: "a row made again in a clean clone",
}
LIMITS = {
    Level.LOCK: "reads no data: a changed file with an unchanged record passes; numbers of cells, "
    "shares of draws and what captions say are believed",
    Level.HASH: "a forger who rewrites a file, its record and dvc.lock alike passes; comments and "
    "layout of code do not count; what `.observed.json` says of machines and times is shown",
    Level.RECOMPUTE: "forged predictions or weights with matching records pass; figures and the "
    "numbers in their captions are hashed, not drawn again; what the texts are "
    "printed by is this checkout's code",
    Level.REPLAY: "videos outside the sample pass, and weights are taken as they are",
    Level.RERUN: "one row is one row; whoever forges sources, code and records alike passes: only "
    "a published root digest (`--against`) stands outside",
}


@dataclass(frozen=True)
class Link:
    """One checked step: `source` (a record, 'record:train/row', or a cell) says something of
    `path`. `declared` and `actual` are sha256 where there are any."""

    level: Level
    source: str
    relation: str
    path: str
    status: Status = Status.OK
    declared: str | None = None
    actual: str | None = None
    detail: str = ""
    do: str = ""

    @property
    def broken(self) -> bool:
        return self.status not in HARMLESS

    def as_json(self) -> dict[str, Any]:
        """The link as plain values."""
        return {**asdict(self), "level": int(self.level), "status": self.status.value}


def counts(links: Iterable[Link]) -> dict[str, int]:
    """How many links have each status, in the order of the statuses; zeros are left out."""
    found = Counter(link.status for link in links)
    return {status.value: found[status] for status in Status if found[status]}


def checked(
    level: Level,
    source: str,
    relation: str,
    path: str,
    wrong: Sequence[str],
    status: Status,
    do: str,
    declared: str | None = None,
    actual: str | None = None,
) -> Link:
    """A link that holds, or has `status` where there are words on what is wrong."""
    if not wrong:
        return Link(level, source, relation, path, Status.OK, declared, actual)
    return Link(level, source, relation, path, status, declared, actual, some(wrong), do)


def some(words: Sequence[str], most: int = 6, separator: str = "; ") -> str:
    """The first words, and how many more there are."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return separator.join(words[:most]) + more


def worst(links: Iterable[Link]) -> Status:
    """'ok', 'unavailable', or the first broken status."""
    return worst_of(link.status for link in links)


def worst_of(statuses: Iterable[Status]) -> Status:
    """'ok', 'unavailable', or the first broken one."""
    result = Status.OK
    for status in statuses:
        if status not in HARMLESS:
            return status
        if status is Status.UNAVAILABLE:
            result = status
    return result


def limits(level: int) -> list[str]:
    """What an audit at `level` cannot see, in words."""
    done = Level(level)
    unseen = [f"level {int(done)} ({DOES[done]}): {LIMITS[done]}"]
    further = [f"level {int(more)} would add: {DOES[more]}" for more in Level if more > level]
    return unseen + further
