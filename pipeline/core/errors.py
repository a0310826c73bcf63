"""What can go wrong, in words a user can act on.

TdnError                 what happened, where, and what to do next
├── UsageError           the user's mistake: bad manifest, key, argument (exit 2)
│   ├── ManifestError    a manifest does not validate
│   └── AbsentData       the data set (or an upstream result) is not on this machine
├── DataError            too many bad videos, an annotation that contradicts itself (exit 1)
├── StoreError           a frame store that is damaged, foreign or locked (exit 1)
└── RecordError          a run record that cannot be written or does not fit (exit 1)
"""

from __future__ import annotations

import errno
from pathlib import Path

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class TdnError(Exception):
    """One message in three parts; printed as such by the command line, never as a traceback."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.do = do

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.do:
            lines.append(f"  do:    {self.do}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries (Ray, multiprocessing); keyword arguments must survive.
        return (_rebuild, (type(self), self.what, self.where, self.do))


def _rebuild(cls: type[TdnError], what: str, where: str, do: str) -> TdnError:
    return cls(what, where=where, do=do)


class UsageError(TdnError):
    exit_code = 2


class ManifestError(UsageError):
    pass


class AbsentData(UsageError):
    pass


class DataError(TdnError):
    pass


class StoreError(TdnError):
    pass


class RecordError(TdnError):
    pass


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed because the disk, a quota or the largest size of a file is used up."""
    return error.errno in _DISK_FULL


def disk_full(where: str) -> StoreError:
    """The error to raise for `is_disk_full`; `where` is the name of the file."""
    return StoreError(
        "the disk is full (or a quota, or the limit of `ulimit -f`, is used up)",
        where=where,
        do="free some space and run the same command again",
    )


def refused(error: OSError) -> StoreError:
    """What the system refused a worker, in words and without folders of its machine."""
    do = "look at that file's rights and its disk, then run the command again"
    if is_disk_full(error):
        do = "free some space and run the command again"
    reason = error.strerror or type(error).__name__
    where = error.filename if isinstance(error.filename, str) else ""
    return StoreError(f"a worker had to stop: {reason}", where=Path(where).name, do=do)


def stage_command(stage: str, key: str) -> str:
    """The command that runs a stage on a key, as messages write it."""
    words = stage if key == "all" else f"{stage} {key}"
    return f"`tdn {words}`"
