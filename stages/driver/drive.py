"""DVC commands that can be stopped together, and the line that shows where they are."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from stages.driver.warm_client import GONE, Call, ask

_ABSENT = "DVC cannot be started: the process that forks for it is not there; run again\n"
_LOST = "DVC was ended: the process that had forked for it is gone; run again\n"


@dataclass
class Dvc:
    """DVC commands started here, so that an interrupt reaches every one of them."""

    root: Path
    forks: Path
    """Socket of the process that forks itself for them (`stages.driver.warm.forking`)."""
    extra: dict[str, str] = field(default_factory=dict)
    """Further environment of the stages."""
    running: set[Call] = field(default_factory=set)
    guard: threading.Lock = field(default_factory=threading.Lock)
    stopped: bool = False

    def __call__(
        self, *words: str, capture: bool = False, note: Path | None = None
    ) -> tuple[int, str]:
        """Run `dvc WORDS`; returns its exit code and, when captured, all that it printed.

        Stages leave their progress in the file `note`. Negative codes name the signal that ended
        DVC; it is `warm_client.GONE` when the process that forks is not there, or no longer.
        """
        env = dict(os.environ, DVC_NO_ANALYTICS="1", PYTHONUNBUFFERED="1", **self.extra)
        env["TDN_PYTHON"] = sys.executable
        if note is not None:
            env["TDN_PROGRESS"] = str(note)
        # A file, not a pipe: something that a stage leaves behind cannot keep it open.
        with tempfile.TemporaryFile() as printed:
            files = [0, printed.fileno(), printed.fileno()] if capture else [0, 1, 2]
            with self.guard:
                if self.stopped:
                    return 130, ""
                try:
                    call = ask(str(self.forks), words, str(self.root), env, files)
                except OSError:
                    return GONE, _ABSENT
                self.running.add(call)
            with contextlib.closing(call):
                try:
                    code = call.answer()
                except BaseException:
                    self.stop()
                    call.answer()
                    raise
                finally:
                    with self.guard:
                        self.running.discard(call)
            printed.seek(0)
            said = printed.read().decode("utf-8", "replace")
        if code is None:
            return GONE, said + _ABSENT
        return code, said + (_LOST if code == GONE else "")

    def stop(self) -> None:
        """End every running command with its children, and start no more.

        It is SIGTERM that they get, not SIGINT: a child of a background shell ignores the latter.
        """
        with self.guard:
            self.stopped = True
            for call in self.running:
                call.stop()


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
