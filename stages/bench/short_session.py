"""`tdn bench-session`: what one accelerator can tell in a few minutes.

Every step is a command of its own with a limit, the most wanted first: what breaks or takes too
long is stopped and told, and the next one runs. A benchmark writes its report when it ends. Neither
Ray nor DVC is needed: rows of profile `gpu` are run stage by stage.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pipeline.core.machine import cores

LEAST_S = 10.0
"""Nothing is begun with less time left."""
ROWS = (
    "tsn_r50_8f_ssv1",
    "tdn_r50_8f_ssv1",
    "tconv_r50_8f_ssv1",
    "tdn_r50_8f_ssv1_none",
    "tdn_r50_8f_ssv1_stdm_only",
    "tdn_r50_8f_ssv1_ltdm_only",
)


@dataclass(frozen=True)
class Step:
    """One command, and the most seconds that it may take."""

    name: str
    command: tuple[str, ...]
    limit_s: float


@dataclass(frozen=True)
class Outcome:
    """How a step ended: `ok`, `failed (status)`, `stopped` at its limit or `not begun`."""

    name: str
    ended: str
    seconds: float


def steps(device: str, rows: Sequence[str], more: Sequence[str] = ()) -> list[Step]:
    """All steps in order; `more` arguments of the benchmarks make them smaller."""

    def bench(name: str, limit_s: float, *arguments: str) -> Step:
        command = ("bench", name, "--device", device, *arguments, *more)
        return Step(f"bench {name}", _tdn(*command), limit_s)

    def stage(name: str, key: str, limit_s: float, *arguments: str) -> Step:
        command = _tdn(name, key, "--profile", "gpu", *arguments)
        return Step(f"{name} {key}", command, limit_s)

    workers = ("--workers", str(cores()))
    found = [
        bench("accelerator", 90),
        bench("train", 60),
        bench("timings", 60),
        Step("plan", _tdn("plan", "--profile", "gpu"), 30),
        stage("mini", "ssv1", 60, *workers),
        stage("check", "ssv1", 30),
        stage("decode", "ssv1", 60, "--workers", "0"),
        stage("pretrain", "images_resnet50", 60),
    ]
    for row in rows:
        found += [stage("train", row, 120), stage("predict", row, 30), stage("score", row, 15)]
    return [*found, bench("model", 120)]


def _tdn(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "stages", *arguments)


def run_steps(todo: Sequence[Step], seconds: float, say: Callable[[str], None]) -> list[Outcome]:
    """Run the steps one after another within `seconds` together."""
    end = time.monotonic() + seconds
    outcomes = []
    for step in todo:
        began = time.monotonic()
        left = end - began
        if left < LEAST_S:
            outcomes.append(Outcome(step.name, "not begun", 0.0))
            continue
        say(f"== {step.name} ({left:.0f} s left)")
        ended = _run(step.command, min(left, step.limit_s))
        outcomes.append(Outcome(step.name, ended, time.monotonic() - began))
        say(f"== {step.name}: {ended}, {outcomes[-1].seconds:.0f} s")
    return outcomes


def _run(command: Sequence[str], seconds: float) -> str:
    """How a command ended; at its limit it goes with all that it started."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return "stopped"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"failed ({status})" if status else "ok"
