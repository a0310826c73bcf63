"""Hand one command to a process that forks (see `stages.driver.warm`) and learn its exit code.

Run by path, without the site packages, it hands over one stage: only the standard library, so that
it starts at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence

GONE = 75
_POLL_S = 0.05
_GRACE_S = 5.0


class Call:
    """A command handed over; closed, or killed with its caller, it ends."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self._said = b""

    def answer(self) -> int | None:
        """Wait for the command's exit code (negative: the signal that ended it).

        GONE when the process that forks went away before; the command has then been ended, with all
        its children. None when it never began: it can be run in another way.
        """
        while self._said.count(b"\n") < 2 and (part := self._heard()):
            self._said += part
        lines = self._said.split(b"\n")
        if len(lines) > 2:
            return int(lines[1])
        if len(lines) < 2:
            return None
        _end(int(lines[0]))
        return GONE

    def stop(self) -> None:
        """Have the command ended; `answer` tells when it has."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._server.close()

    def _heard(self) -> bytes:
        try:
            return self._server.recv(64)
        except OSError:
            return b""


def ask(
    path: str, argv: Sequence[str], cwd: str, env: Mapping[str, str], files: Sequence[int]
) -> Call:
    """Start a command with `files` as its standard input, output and error.

    OSError when nobody listens at `path`.
    """
    server = socket.socket(socket.AF_UNIX)
    try:
        server.connect(path)
        message = json.dumps({"argv": list(argv), "cwd": cwd, "env": dict(env)}).encode()
        socket.send_fds(server, [len(message).to_bytes(8, "big")], files)
        server.sendall(message)
    except BaseException:
        server.close()
        raise
    return Call(server)


def _end(head: int) -> None:
    """End a process group that has lost the parent of its head; returns when it is gone."""
    with contextlib.suppress(OSError):  # it is gone
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(head, number)
            deadline = time.monotonic() + _GRACE_S
            while time.monotonic() < deadline:
                os.killpg(head, 0)
                time.sleep(_POLL_S)


def main() -> int:
    """The stage's exit code."""
    code = None
    with contextlib.suppress(OSError):  # it ended and left its socket
        call = ask(os.environ["TDN_WARM"], sys.argv[1:], os.getcwd(), os.environ, [0, 1, 2])
        with contextlib.closing(call):
            code = call.answer()
    if code is None:
        os.environ.pop("TDN_WARM")
        os.execv(sys.executable, [sys.executable, "-m", "stages", *sys.argv[1:]])
    if code == GONE:
        print("the warm process ended before the stage did; run again", file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
