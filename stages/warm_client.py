"""Hand one command to a process that forks (see `stages.warm`) and learn its exit code.

Run by path, without the site packages, it hands over one stage: only the standard library, so that
it starts at once.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence

GONE = 75


def ask(
    path: str, argv: Sequence[str], cwd: str, env: Mapping[str, str], files: Sequence[int]
) -> socket.socket:
    """Start a command with `files` as its standard input, output and error.

    Returns what `answer` takes; shut down for writing, or closed, it ends the command. OSError when
    nobody listens at `path`.
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
    return server


def answer(server: socket.socket) -> int:
    """The command's exit code (negative: the signal that ended it); GONE when the process that
    forks went away before."""
    try:
        code = server.recv(64)
    except OSError:
        code = b""
    return int(code) if code else GONE


def main() -> int:
    """The stage's exit code."""
    try:
        server = ask(os.environ["TDN_WARM"], sys.argv[1:], os.getcwd(), os.environ, [0, 1, 2])
    except OSError:  # it ended and left its socket
        os.environ.pop("TDN_WARM")
        os.execv(sys.executable, [sys.executable, "-m", "stages", *sys.argv[1:]])
    with server:
        code = answer(server)
    if code == GONE:
        print("the warm process ended before the stage did; run again", file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
