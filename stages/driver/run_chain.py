"""One chain in a worker process: its stages one after another, those up to date left as they are.

A worker runs many chains. Each stage begins with torch as it is in a fresh process, so that no
number depends on what ran there before.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.core.errors import TdnError, refused
from pipeline.core.files import read_json, write_atomic
from pipeline.core.workspace import Workspace
from stages.driver.chains import StageKey
from stages.graph import execute, up_to_date

_USE_TORCH = frozenset({"pretrain", "train", "predict", "cost", "figures"})
_REMARK = re.compile(r"(?!\w*(?:Error|Exception|Warning|WARNING): )[\w.@-]+: ")
"""A stage's lines begin with what they are about; those of Python and libraries with a path."""


@dataclass(frozen=True)
class Task:
    """What a worker is told: whose stages, where it leaves its progress, how it decodes."""

    root: Path
    profile: str
    stages: tuple[StageKey, ...]
    note: Path
    decode_workers: int | None


@dataclass(frozen=True)
class Done:
    """What became of a chain: its stages that are up to date now, those that ran for it, and, when
    a stage failed, what was printed and why; of a row that could not be run, why; of what stages
    printed the lines of ours."""

    finished: tuple[StageKey, ...]
    ran: tuple[StageKey, ...]
    seconds: float
    failure: str = ""
    not_run: str = ""
    remarks: tuple[str, ...] = ()


def run_chain(task: Task) -> Done:
    """Run the chain's stages that are not up to date; never raises what a stage raises."""
    work = Workspace(task.root, task.profile)
    began = time.monotonic()
    finished: list[StageKey] = []
    ran: list[StageKey] = []
    printed = io.StringIO()
    failure = ""
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            for name, key in task.stages:
                if not up_to_date(work, name, key):
                    _run_stage(work, name, key, task)
                    ran.append((name, key))
                finished.append((name, key))
        except TdnError as error:
            failure = f"{type(error).__name__}: {error}"
        except FileNotFoundError:  # nobody but us can have forgotten it
            failure = traceback.format_exc()
        except OSError as error:
            failure = f"StoreError: {refused(error)}"
        except Exception:
            failure = traceback.format_exc()
        finally:
            with contextlib.suppress(OSError):
                task.note.unlink(missing_ok=True)
            _give_memory_back()
    if failure:
        failure = printed.getvalue() + failure
    not_run = "" if failure else _not_run(work, task.stages)
    lines = [] if failure else printed.getvalue().splitlines()
    remarks = tuple(dict.fromkeys(filter(_REMARK.match, lines)))
    return Done(tuple(finished), tuple(ran), time.monotonic() - began, failure, not_run, remarks)


def _give_memory_back() -> None:
    """What a row's tensors held, to the system: glibc keeps it, and the next row comes on top."""
    with contextlib.suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _not_run(work: Workspace, stages: tuple[StageKey, ...]) -> str:
    """Why a row was not run; empty for one that was, and for other chains."""
    row = next((key for name, key in stages if name == "score"), None)
    path = work.root / ".none" if row is None else work.metrics(row)
    metrics = read_json(path) if path.is_file() else {"status": "ok"}
    return str(metrics["reason"]) if metrics["status"] == "not-run" else ""


def _run_stage(work: Workspace, name: str, key: str, task: Task) -> None:
    progress = noting(task.note, name if key == "all" else f"{name} {key}")
    switches = {"workers": task.decode_workers, "progress": progress}
    with fresh_torch() if name in _USE_TORCH else contextlib.nullcontext():
        execute(work, name, key, in_graph=True, **switches)


@contextlib.contextmanager
def fresh_torch() -> Iterator[None]:
    """Torch's settings and its random numbers inside the block are those of a fresh process."""
    import torch

    _remember(torch)
    for restore in _restore:
        restore()
    try:
        yield
    finally:
        for restore in _restore:
            restore()


_restore: list[Callable[[], object]] = []
"""What brings back each setting, as it was when this process first asked."""


def _remember(torch: Any) -> None:
    if _restore:
        return
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    matmul, state = torch.get_float32_matmul_precision(), torch.random.get_rng_state()
    strict = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    deterministic = torch.utils.deterministic
    cudnn = torch.backends.cudnn
    flags = {
        deterministic: ("fill_uninitialized_memory",),
        cudnn: ("enabled", "benchmark", "deterministic", "allow_tf32"),
        torch.backends.mkldnn: ("enabled",),
    }
    _restore.extend(
        (
            lambda: torch.set_num_threads(threads),
            lambda: torch.set_default_dtype(dtype),
            lambda: torch.set_float32_matmul_precision(matmul),
            lambda: torch.use_deterministic_algorithms(strict, warn_only=warn),
            lambda: torch.random.set_rng_state(state),
            lambda: torch.set_grad_enabled(True),
        )
    )
    for holder, names in flags.items():
        for name in names:
            _restore.append(partial(setattr, holder, name, getattr(holder, name)))


def noting(path: Path, title: str) -> Callable[[int, int], None]:
    """A progress callback that leaves a line in a file, at most twice a second."""
    last = 0.0

    def note(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.5 or done == total:
            last = time.monotonic()
            with contextlib.suppress(OSError):  # only a line to look at
                write_atomic(path, f"{title} {done}/{total}".encode())

    return note
