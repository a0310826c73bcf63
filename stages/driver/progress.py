"""On a terminal, one line that says where everything that runs is."""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path


class ProgressLine:
    """Shows, once a second, the notes that chains leave in a folder; use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._closed = threading.Event()
        self._painter = threading.Thread(target=self._paint, daemon=True)
        # Kept: a chain that runs in this process has what it prints redirected.
        self._out = sys.stderr
        self._shown = self._out.isatty()
        self.clear = "\r\x1b[K" if self._shown else ""
        """What a line printed meanwhile begins with."""

    def place(self, chain: str) -> Path:
        """The file in which a chain's stages leave their progress."""
        return self._folder / chain

    def __enter__(self) -> ProgressLine:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        if self._shown:
            self._painter.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._shown:
            self._painter.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _paint(self) -> None:
        width = shutil.get_terminal_size().columns - 1
        while not self._closed.wait(1.0):
            notes = sorted(self._folder.glob("*"))
            parts = [_read(path) for path in notes if not path.name.startswith(".")]
            self._out.write(self.clear + " | ".join(filter(None, parts))[:width])
            self._out.flush()
        self._out.write(self.clear)


def _read(path: Path) -> str:
    """`train ROW [####      ] 120/448`; empty when it has just ended."""
    try:
        what, _, count = path.read_text(encoding="utf-8").rpartition(" ")
        done, _, total = count.partition("/")
        filled = 10 * int(done) // max(1, int(total))
    except (OSError, ValueError):
        return ""
    return f"{what} [{'#' * filled:<10}] {count}"
