"""A process that has imported torch once and forks itself for every stage of every row.

Importing torch and torchvision takes about three seconds, as long as some rows train for. While
`tdn repro` drives rows, `stages/run` hands their stages to this process (TDN_WARM names its
socket): the fork has everything imported, does the stage with the caller's arguments, environment,
working directory and terminal, and the caller leaves with its exit code. A caller that is killed
takes its stage with it; when the driver ends, so does everything here. Without it stages run the
same way, each in a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

_MODULES = ("stages.cli", "stages.harness", "stages.train", "stages.predict", "stages.score")
_POLL_S = 0.05
_GRACE_S = 5.0


@contextlib.contextmanager
def warm(root: Path) -> Iterator[dict[str, str]]:
    """Run the process for as long as the block; yields what callers need in their environment."""
    with tempfile.TemporaryDirectory(prefix="tdn-warm-") as folder:
        path = Path(folder) / "socket"
        server = subprocess.Popen(
            [sys.executable, "-m", "stages.warm", str(path)],
            cwd=root,
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
            start_new_session=True,
        )
        try:
            yield {"TDN_WARM": str(path)}
        finally:
            assert server.stdin is not None
            server.stdin.close()
            try:
                server.wait(timeout=2 * _GRACE_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def serve(path: str) -> None:
    """Listen until standard input closes; then end what still runs."""
    for name in _MODULES:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(64)
    os.rename(path + ".new", path)  # callers see it only when it listens
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin.buffer, selectors.EVENT_READ)
    children: dict[int, socket.socket] = {}
    while True:
        for event, _ in selector.select(_POLL_S if children else None):
            if event.fileobj is listener:
                caller, _ = listener.accept()
                pid = _fork(caller, listener, children)
                if pid:
                    children[pid] = caller
                    selector.register(caller, selectors.EVENT_READ, pid)
            elif event.fileobj is sys.stdin.buffer:
                _end(children)
                return
            else:  # a caller only ever closes its end
                selector.unregister(event.fileobj)
                _signal(event.data, signal.SIGTERM)
        _reap(children, selector)


def _fork(
    caller: socket.socket, listener: socket.socket, children: dict[int, socket.socket]
) -> int:
    """Start the stage that a caller asks for; returns its process id (0: it hung up)."""
    header, files, _, _ = socket.recv_fds(caller, 8, 3)
    length = int.from_bytes(header, "big")
    message = b""
    while len(message) < length and (part := caller.recv(length - len(message))):
        message += part
    if len(files) != 3 or len(message) < length:
        caller.close()
        return 0
    pid = os.fork()
    if pid:
        for file in files:
            os.close(file)
        return pid
    code = 70
    try:
        for sock in (listener, caller, *children.values()):
            sock.close()
        for target, file in enumerate(files):
            os.dup2(file, target)
        asked = json.loads(message)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        code = _stage(asked["argv"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _stage(argv: list[str]) -> int:
    from stages.cli import main

    sys.argv = ["tdn", *argv]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _reap(children: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            continue
        caller = children.pop(pid)
        with contextlib.suppress(KeyError, ValueError):
            selector.unregister(caller)
        with contextlib.suppress(OSError):
            caller.sendall(b"%d" % os.waitstatus_to_exitcode(status))
        caller.close()


def _end(children: dict[int, socket.socket]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in children:
            _signal(pid, number)
        waited = 0.0
        while children and waited < _GRACE_S:
            _reap(children, selectors.DefaultSelector())
            signal.sigtimedwait([], _POLL_S)
            waited += _POLL_S


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


if __name__ == "__main__":
    serve(sys.argv[1])
