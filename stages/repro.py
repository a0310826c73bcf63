"""`tdn repro`: one profile up to date, its rows side by side, over plain DVC.

DVC runs one stage at a time, so rows are driven as separate `dvc repro --single-item` processes
that wait for each other's lock; plain `dvc repro` does the same work serially with the same result.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import TdnError
from pipeline.manifest import load_profile
from pipeline.workspace import Workspace
from stages import plan, profiles
from stages.harness import say

_ROW_STAGES = ("train", "predict", "score")


@dataclass
class _Dvc:
    """DVC processes started here, so that an interrupt reaches every one of them."""

    root: Path
    running: set[subprocess.Popen[str]] = field(default_factory=set)
    guard: threading.Lock = field(default_factory=threading.Lock)
    stopped: bool = False

    def __call__(
        self, *words: str, capture: bool = False, note: Path | None = None
    ) -> tuple[int, str]:
        """Run `dvc WORDS`; returns its exit code and, when captured, all that it printed.

        Stages leave their progress in the file `note`.
        """
        env = dict(os.environ, DVC_NO_ANALYTICS="1", PYTHONUNBUFFERED="1")
        env["TDN_PYTHON"] = sys.executable
        if note is not None:
            env["TDN_PROGRESS"] = str(note)
        pipe = subprocess.PIPE if capture else None
        with self.guard:
            if self.stopped:
                return 130, ""
            process = subprocess.Popen(
                [sys.executable, "-m", "dvc", *words],
                cwd=self.root,
                env=env,
                text=True,
                stdout=pipe,
                stderr=subprocess.STDOUT if capture else None,
                start_new_session=True,
            )
            self.running.add(process)
        try:
            printed, _ = process.communicate()
        except BaseException:
            self.stop()
            process.wait()
            raise
        with self.guard:
            self.running.discard(process)
        return process.returncode, printed or ""

    def stop(self) -> None:
        """End every running child with its own children, and start no more.

        SIGTERM, not SIGINT: a child of a background shell ignores the latter.
        """
        with self.guard:
            self.stopped = True
            for process in self.running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)


class _Board:
    """On a terminal, one line that says where every running row is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closed = threading.Event()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._painter = threading.Thread(target=self._paint, daemon=True)
        if sys.stderr.isatty():
            self._painter.start()

    def place(self, row: str) -> Path:
        """The file in which a row's stages leave their progress."""
        return self._folder / row

    def drop(self, row: str) -> None:
        self.place(row).unlink(missing_ok=True)

    def close(self) -> None:
        self._closed.set()

    def _paint(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        while not self._closed.wait(1.0):
            notes = sorted(self._folder.iterdir())
            parts = [_read(path) for path in notes if not path.name.startswith(".")]
            sys.stderr.write("\r\x1b[K" + " | ".join(filter(None, parts))[:width])
            sys.stderr.flush()
        sys.stderr.write("\r\x1b[K")


def _read(path: Path) -> str:
    """`train ROW 120/448` with a bar; empty when the row has just ended."""
    try:
        what, _, count = path.read_text(encoding="utf-8").rpartition(" ")
        done, _, total = count.partition("/")
        filled = 10 * int(done) // max(1, int(total))
    except (OSError, ValueError):
        return ""
    return f"{what} [{'#' * filled:<10}] {count}"


def run(work: Workspace, jobs: int) -> None:
    """Bring the profile up to date with `jobs` rows side by side; says where the report is.

    Raises TdnError naming the rows that failed, after the others have finished.
    """
    graph = profiles.use(work)
    plan.run(work)  # sees data put there since, which no dependency of DVC's shows
    dvc = _Dvc(work.root)
    began = time.monotonic()
    changed = _changed(dvc, graph)
    if not changed:
        say(f"{work.profile} is up to date.")
        _point_to_report(work)
        return
    try:
        _upstream(dvc, graph, flow=bool(load_profile(work.manifests, work.profile).flow))
        rows = _rows(_changed(dvc, graph))
        failed = _side_by_side(dvc, graph, rows, jobs)
        if failed:
            raise TdnError(
                f"{len(failed)} of {len(rows)} rows failed: {', '.join(failed)}",
                do="read the messages above, mend the cause and run the same command again",
            )
        say("tables and report …")
        code, printed = dvc("repro", graph, capture=True)
    except BaseException:
        dvc.stop()
        raise
    if code:
        sys.stderr.write(printed)
        raise TdnError("dvc repro failed", do="read the messages above, mend the cause, run again")
    say(f"done in {_clock(time.monotonic() - began)}.")
    _point_to_report(work)


def _upstream(dvc: _Dvc, graph: str, *, flow: bool) -> None:
    """Everything that rows share: plans, miniature data, ledgers, frame stores, optical flow."""
    targets = ["plan", "decode", *(["flow"] if flow else []), "cost"]
    for number, target in enumerate(targets, start=1):
        say(f"shared stage {number} of {len(targets)}: {target}")
        code, _ = dvc("repro", "--quiet", f"{graph}:{target}")
        if code:
            raise TdnError(f"{target} failed", do="read the messages above and run again")


def _side_by_side(dvc: _Dvc, graph: str, rows: list[str], jobs: int) -> list[str]:
    """Run every row's stages, `jobs` rows at a time; returns the rows that failed."""
    failed = []
    began = time.monotonic()
    clear = "\r\x1b[K" if sys.stderr.isatty() else ""
    board = _Board(dvc.root / ".tdn" / "progress")

    def one(row: str) -> tuple[int, str, float]:
        start = time.monotonic()
        targets = [f"{graph}:{stage}@{row}" for stage in _ROW_STAGES]
        words = ("--wait-for-lock", "repro", "--single-item", *targets)
        code, printed = dvc(*words, capture=True, note=board.place(row))
        board.drop(row)
        return code, printed, time.monotonic() - start

    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        pending = {pool.submit(one, row): row for row in rows}
        try:
            for number, future in enumerate(as_completed(pending), start=1):
                code, printed, seconds = future.result()
                row = pending[future]
                left = (time.monotonic() - began) / number * (len(rows) - number)
                state = "ok" if code == 0 else f"failed ({code})"
                say(
                    f"{clear}row {number} of {len(rows)}: {row} {state} in {_clock(seconds)}, "
                    f"about {_clock(left)} left"
                )
                if code:
                    failed.append(row)
                    sys.stderr.write(printed)
        except BaseException:
            for future in pending:
                future.cancel()
            dvc.stop()
            raise
        finally:
            board.close()
    return failed


def _changed(dvc: _Dvc, graph: str) -> list[str]:
    """Addresses of the graph's stages that DVC would run."""
    code, printed = dvc("status", "--json", graph, capture=True)
    start = printed.find("{")
    if code or start < 0:
        sys.stderr.write(printed)
        raise TdnError("dvc status failed", do="read the message above and mend the cause")
    found: dict[str, object] = json.loads(printed[start : printed.rindex("}") + 1])
    return sorted(found)


def _rows(addresses: Iterable[str]) -> list[str]:
    """Rows with at least one changed stage, longest names last to keep the order stable."""
    names = {address.rpartition(":")[2] for address in addresses}
    return sorted({n.partition("@")[2] for n in names if n.partition("@")[0] in _ROW_STAGES})


def _point_to_report(work: Workspace) -> None:
    say(f"report: {work.relative(work.reports / 'index.html')}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
