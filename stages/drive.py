"""DVC processes that can be stopped together, and the line that shows where they are."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Dvc:
    """DVC processes started here, so that an interrupt reaches every one of them."""

    root: Path
    extra: dict[str, str] = field(default_factory=dict)
    """Further environment of the stages."""
    running: set[subprocess.Popen[str]] = field(default_factory=set)
    guard: threading.Lock = field(default_factory=threading.Lock)
    stopped: bool = False

    def __call__(
        self, *words: str, capture: bool = False, note: Path | None = None
    ) -> tuple[int, str]:
        """Run `dvc WORDS`; returns its exit code and, when captured, all that it printed.

        Stages leave their progress in the file `note`.
        """
        env = dict(os.environ, DVC_NO_ANALYTICS="1", PYTHONUNBUFFERED="1", **self.extra)
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


class Board:
    """On a terminal, one line that says where everything that runs is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closed = threading.Event()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._painter = threading.Thread(target=self._paint, daemon=True)
        if sys.stderr.isatty():
            self._painter.start()

    def place(self, chain: str) -> Path:
        """The file in which a chain's stages leave their progress."""
        return self._folder / chain

    def drop(self, chain: str) -> None:
        self.place(chain).unlink(missing_ok=True)

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
    """`train ROW 120/448` with a bar; empty when it has just ended."""
    try:
        what, _, count = path.read_text(encoding="utf-8").rpartition(" ")
        done, _, total = count.partition("/")
        filled = 10 * int(done) // max(1, int(total))
    except (OSError, ValueError):
        return ""
    return f"{what} [{'#' * filled:<10}] {count}"
