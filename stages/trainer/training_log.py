"""How a training fares: a line every half minute on stderr and in `runs/P/ROW/log.jsonl`.

The log has clocks and is no output of a stage: nothing reads it but people and `follow`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

EVERY_S = 30.0
LOG = "log.jsonl"

Progress = Callable[[int, int], None] | None


class TrainingLog:
    """The log of one training of a row; `quiet` writes nothing (all workers but the first).

    With `progress` (a bar on a terminal) nothing goes to stderr.
    """

    def __init__(
        self,
        folder: Path,
        about: dict[str, str | int],
        steps: int,
        *,
        progress: Progress = None,
        quiet: bool = False,
    ) -> None:
        self._path, self._about, self._steps, self._quiet = folder / LOG, about, steps, quiet
        self._progress = progress
        self._began = self._last = time.monotonic()
        self._clips = self._waited_s = 0.0
        self._done = 0

    def step(self, step: int, clips: int, waited_s: float) -> None:
        """After a step: it had so many clips, and waited so long for them."""
        self._done, self._clips = self._done + 1, self._clips + clips
        self._waited_s += waited_s
        if self._progress is not None and not self._quiet:
            self._progress(step, self._steps)

    def due(self) -> bool:
        """Whether a line is due, which a quiet log's never is; asks nothing of the device."""
        return not self._quiet and time.monotonic() - self._last >= EVERY_S

    def line(self, step: int, epoch: int, loss: float, rate: float) -> None:
        """Write a line: the mean loss of the epoch so far, and what passed since the last line."""
        if self._quiet:
            return
        now = time.monotonic()
        passed = max(now - self._last, 1e-9)
        eta_s = (self._steps - step) * (now - self._began) / max(1, self._done)
        values = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            **self._about,
            "epoch": epoch,
            "step": step,
            "steps": self._steps,
            "loss": round(loss, 4),
            "lr": float(f"{rate:.4g}"),
            "clips_per_s": round(self._clips / passed, 2),
            "waiting_pct": round(100 * self._waited_s / passed, 1),
            "eta_s": round(eta_s),
        }
        with suppress(OSError):  # only a line to look at
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        if self._progress is None and now - self._last >= EVERY_S:
            print(as_text(values), file=sys.stderr, flush=True)
        self._last, self._clips, self._waited_s = now, 0.0, 0.0


def as_text(values: dict[str, str | int | float]) -> str:
    """A line of the log as people read it."""
    minutes = float(values["eta_s"]) / 60
    left = f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"
    return (
        f"{values['row']}: epoch {values['epoch']}, step {values['step']}/{values['steps']}, "
        f"loss {values['loss']}, {values['clips_per_s']} clips/s, "
        f"{values['waiting_pct']} % of the time waiting for data, {left} left"
    )


def follow(folder: Path, progress: Progress, over: Event) -> None:
    """Show what other processes append to a log, until `over`: as progress, or on stderr."""
    path = folder / LOG
    seen = path.stat().st_size if path.is_file() else 0
    while not over.wait(1.0):
        with suppress(OSError, ValueError), path.open("rb") as file:
            file.seek(seen)
            new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            seen += len(whole)
            for line in whole.splitlines():
                values = json.loads(line)
                if progress is not None:
                    progress(values["step"], values["steps"])
                else:
                    print(as_text(values), file=sys.stderr, flush=True)
