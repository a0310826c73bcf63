"""Checkpoints of one training: written beside its steps, the last two kept, taken up after a kill.

Order of clips, crops, flips and dropout are functions of seed, epoch and step. So weights, the
optimiser's state, the step and the history so far are all that a training needs to go on to the
very bytes that it would have ended with.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from pipeline.core.files import sha256_bytes
from stages.rows.tensor_files import UNREADABLE, save_tensors

KEPT = 2
"""Of each training; the older one is for when the newer one is damaged."""


class Checkpoints:
    """The checkpoints of the training `identity` in a folder; use as a context manager.

    A checkpoint is copied while the training waits and written by a thread. What that thread
    raises (a full disk) is raised by the next call.
    """

    def __init__(self, folder: Path, identity: str, every_s: float) -> None:
        self._folder, self._identity, self._every_s = folder, identity, every_s
        self._prefix = sha256_bytes(identity.encode())[:12]
        self._writer = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None
        self._last = time.monotonic()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._writer.shutdown(wait=True)
        if self._writing is not None and kind is None:
            self._writing.result()

    def load(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, on the processor; None where there is none.

        A damaged one is said and removed, so that it does not count among those kept.
        """
        for path in reversed(self._files()):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except UNREADABLE as error:
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                print(f"{path.name}: a damaged checkpoint ({reason:.100})", file=sys.stderr)
                path.unlink(missing_ok=True)
                continue
            if state["identity"] == self._identity:
                return state
        return None

    def due(self, share: float = 1.0) -> bool:
        """Whether that share of the interval has passed since the last one, which is written."""
        if self._writing is not None and not self._writing.done():
            return False
        return time.monotonic() - self._last >= share * self._every_s

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Copy the state after `step` steps and have it written, atomically and flushed."""
        if self._writing is not None:
            self._writing.result()
        copied = _copied({"identity": self._identity, "step": step, **state})
        path = self._folder / f"{self._prefix}-{step:09d}.pt"
        self._writing = self._writer.submit(self._write, path, copied)
        self._last = time.monotonic()

    def _write(self, path: Path, state: dict[str, Any]) -> None:
        save_tensors(path, state)
        for old in self._files()[:-KEPT]:
            old.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._prefix}-*.pt"))


def _copied(value: Any) -> Any:
    """The same with tensors of its own on the processor."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value
