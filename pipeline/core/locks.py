"""One process at a time in one folder: an advisory lock that dies with its holder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.core.errors import UsageError

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOST_BYTES = 1024


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: what its file says while it is held."""

    process: int
    machine: str
    boot: str
    """Of the running kernel: two containers of one machine share it, two machines never do."""

    def is_here(self) -> bool:
        """Whether it is or was of this machine: then the kernel knows whether it lives."""
        here = _me()
        return self.machine == here.machine or (self.boot == here.boot and self.boot != "")

    def __str__(self) -> str:
        return f"process {self.process} on {self.machine}"


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; nothing but locks reads the file.

    Raises UsageError naming process and machine that hold it. The file stays (removing it would let
    two processes hold two different files), emptied; the kernel frees the lock when the holder
    ends, however. Shared storage does not always pass such locks on to other machines: so one that
    a process of another machine took and did not give back counts as held until it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{what} is busy: {_holder(handle) or 'another process'} is working on it",
                do="wait for that process, or end it, and run the command again",
            ) from None
        except OSError as error:
            raise UsageError(
                f"{what} cannot be locked: {error.strerror}",
                do="mount that storage so that it takes locks (flock), or use another",
            ) from None
        holder = _holder(handle)
        if holder is not None and not holder.is_here():
            raise UsageError(
                f"{what} is busy: {holder} is working on it, or was killed there",
                do=f"wait for that process; if it no longer runs on {holder.machine}, run "
                f"`rm {os.path.relpath(path)}`, then the same command again",
            )
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(asdict(_me())).encode("utf-8") + b"\n", 0)
        os.fsync(handle)
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _me() -> Holder:
    boot = ""
    with suppress(OSError):
        boot = _BOOT.read_text("ascii").strip()
    return Holder(os.getpid(), socket.gethostname() or "this machine", boot)


def _holder(handle: int) -> Holder | None:
    """Who wrote the lock file last and has not emptied it; None when that cannot be told."""
    with suppress(OSError, ValueError, TypeError):
        return Holder(**json.loads(os.pread(handle, _MOST_BYTES, 0)))
    return None
