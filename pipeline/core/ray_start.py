"""What a start of Ray depends on: RAY_ADDRESS, a home folder, a machine that lets it start."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.core.errors import TdnError, UsageError

FEWEST_FILES = 128
"""Each of Ray's processes opens about 60; with too few a result never arrives."""
_WITHOUT = "or work without Ray: `decode_workers: 0` in params.yaml, or --workers 0"


def cluster_address() -> str:
    """The cluster that RAY_ADDRESS names; empty where it is unset, empty or 'local'."""
    address = os.environ.get("RAY_ADDRESS", "").strip()
    return "" if address == "local" else address


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """For starting a private Ray, whose files are in `folder`.

    Ray keeps a file below the home folder: where there is none that it can write to, `folder` is
    its home, and its workers'. Raises UsageError when Ray does not start, or where so few files
    may be open that it would wait for ever.
    """
    _allow_open_files()
    before = os.environ.get("HOME")
    if not _has_home():
        os.environ["HOME"] = str(folder)
    try:
        yield
    except TdnError:
        raise
    except Exception as error:  # Ray raises that very class when its own processes end at once
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"Ray does not start on this machine: {reason:.200}",
            do="look whether memory, disk (`df -h /tmp`) or a limit (`ulimit -a`) is used up; "
            + _WITHOUT,
        ) from None
    finally:
        os.environ.pop("HOME", None)
        if before is not None:
            os.environ["HOME"] = before


def _allow_open_files() -> None:
    """Let this process, and so Ray's, have enough open files; UsageError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft == endless or soft >= FEWEST_FILES:
        return
    if hard == endless or hard >= FEWEST_FILES:
        wanted = 8 * FEWEST_FILES
        soft = wanted if hard == endless else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    else:
        raise UsageError(
            f"Ray does not start with {soft} open files, the limit here (`ulimit -n`)",
            do=f"raise it to {FEWEST_FILES} or more; {_WITHOUT}",
        )


def _has_home() -> bool:
    """Whether this user has a home folder in which Ray's own can be made."""
    with suppress(OSError, RuntimeError):  # RuntimeError: neither HOME nor an entry in passwd
        (Path.home() / ".ray").mkdir(parents=True, exist_ok=True)
        return os.access(Path.home() / ".ray", os.W_OK)
    return False


@contextmanager
def own_sigterm() -> Iterator[None]:
    """What this process does on SIGTERM stays as it was: Ray sets a handler that exits at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
