"""Processes that have imported much once and fork themselves for every command.

Some rows train no longer than it takes to import torch, and each DVC command imports DVC. While
`tdn repro` runs, two such processes wait: one has torch and takes stages (`stages/run` hands them
over; TDN_WARM names its socket), one has DVC and takes its commands (from `stages.driver.drive`). A fork
has everything imported and does what the caller asks, with the caller's arguments, environment,
working directory and terminal; the caller is told the fork's process id when it begins and its exit
code when it ends. Without the first, stages run the same way, each in a fresh interpreter.

Nothing outlives those it works for. A caller that hangs up, or is killed, takes its fork with all
its children along. When the driver ends, so does everything here. When a process here is killed,
each of its callers ends its own fork, as only they still know it (`stages.driver.warm_client`).

Both have opened nothing when they fork, no repository and no store, so that no fork sees what
another knew; the one with DVC has a single thread. A fork is the head of its own process group.
"""

from __future__ import annotations

import contextlib
import gc
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from pipeline.core.errors import UsageError

Command = Callable[[list[str]], int]
"""Does what the arguments ask; returns the exit code."""

HANDED_OVER = ("pretrain", "train", "predict", "score", "cost", "figures")
"""The stages that `stages/run` brings here."""
_POLL_S = 0.05
_GRACE_S = 5.0
_MESSAGE_S = 5.0
"""How long a caller may be silent before it has said what it wants; all others wait meanwhile."""
_SOCKET, _SAID = "socket", "said"


@contextlib.contextmanager
def warm(root: Path) -> Iterator[dict[str, str]]:
    """Stages are forked for as long as the block; yields what callers need in their environment."""
    with forking(root, "stages") as path:
        yield {"TDN_WARM": str(path)}


@contextlib.contextmanager
def forking(root: Path, kind: str) -> Iterator[Path]:
    """Run the process for 'stages' or 'dvc' for as long as the block; yields its socket.

    Callers can connect at once: they wait until everything is imported. UsageError when no socket
    can be made.
    """
    # Paths of sockets are limited to about a hundred bytes; Ray's folder is there, too.
    short = "/tmp" if os.access("/tmp", os.W_OK) else tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="tdn-warm-", dir=short) as folder:
        path = Path(folder) / _SOCKET
        with socket.socket(socket.AF_UNIX) as listener, (Path(folder) / _SAID).open("wb") as said:
            _bind(listener, path)
            listener.listen(64)
            server = subprocess.Popen(
                [sys.executable, "-m", "stages.driver.warm", kind, str(listener.fileno()), folder],
                cwd=root,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},  # forks write as fresh ones would
                stdin=subprocess.PIPE,  # closed when this process ends, however it ends
                # No terminal: DVC asks once, when it is imported, whether to print in colours.
                stdout=said,
                stderr=said,
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )
        try:
            yield path
        finally:
            assert server.stdin is not None
            server.stdin.close()
            server.terminate()  # heard only as long as it imports
            try:
                code = server.wait(timeout=2 * _GRACE_S)
            except subprocess.TimeoutExpired:
                server.kill()
                code = server.wait()
            if code > 0:  # it did not end as it was asked to
                sys.stderr.write((Path(folder) / _SAID).read_text("utf-8", "replace"))


def _bind(listener: socket.socket, path: Path) -> None:
    try:
        listener.bind(str(path))
    except OSError as error:
        raise UsageError(
            f"the folder for temporary files takes no socket: {error.strerror or error}",
            where="TMPDIR",
            do="set TMPDIR to a folder on this machine whose path has at most 80 letters",
        ) from None


def serve(kind: str, listener: socket.socket) -> None:
    """Take callers until standard input closes; however it ends, what still runs ends first."""
    command = _KINDS[kind]()
    gc.freeze()  # what is imported stays shared with the forks
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin.buffer, selectors.EVENT_READ)
    children: dict[int, socket.socket] = {}
    try:
        while True:
            for event, _ in selector.select(_POLL_S if children else None):
                if event.fileobj is listener:
                    caller, _ = listener.accept()
                    pid = _fork(command, caller, (listener, *children.values()))
                    if pid:
                        children[pid] = caller
                        selector.register(caller, selectors.EVENT_READ, pid)
                elif event.fileobj is sys.stdin.buffer:
                    return
                else:  # a caller only ever closes its end
                    selector.unregister(event.fileobj)
                    _signal(event.data, signal.SIGTERM)
            _reap(children, selector)
    finally:
        _end(children)


def _stages() -> Command:
    for name in ("stages.graph", *(f"stages.{stage}" for stage in HANDED_OVER)):
        importlib.import_module(name)
    from stages.cli.main import main

    def command(argv: list[str]) -> int:
        sys.argv = ["tdn", *argv]
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        return 0

    return command


def _dvc() -> Command:
    from stages.driver import dvc_command

    dvc_command.prepare()
    return dvc_command.main


_KINDS: dict[str, Callable[[], Command]] = {"stages": _stages, "dvc": _dvc}


def _fork(command: Command, caller: socket.socket, ours: Sequence[socket.socket]) -> int:
    """Start what a caller asks for, as the head of a process group; returns its process id.

    0 when nothing was started: the caller hung up, or there is no room for another process. `ours`
    are sockets that the fork must not hold open.
    """
    files, message = _received(caller)
    pid = 0
    if message is not None:
        with contextlib.suppress(OSError):
            pid = os.fork()
            if not pid:
                _become(command, message, files, caller, ours)
    for file in files:
        os.close(file)
    if pid:
        with contextlib.suppress(OSError):  # here and there: whoever comes first
            os.setpgid(pid, pid)
    else:
        caller.close()  # which tells it that nothing has begun
    return pid


def _received(caller: socket.socket) -> tuple[list[int], bytes | None]:
    """A caller's standard files and its message; None for one that is not whole."""
    files: list[int] = []
    caller.settimeout(_MESSAGE_S)
    with contextlib.suppress(OSError):
        header, files, _, _ = socket.recv_fds(caller, 8, 3)
        length = int.from_bytes(header, "big")
        message = b""
        while len(message) < length and (part := caller.recv(length - len(message))):
            message += part
        caller.settimeout(None)
        if len(files) == 3 and len(message) == length:
            return files, message
    return files, None


def _become(
    command: Command,
    message: bytes,
    files: Sequence[int],
    caller: socket.socket,
    ours: Sequence[socket.socket],
) -> NoReturn:
    """In the fork: do what the message asks, and end."""
    code = 70
    try:
        os.setpgid(0, 0)
        # Said here and not by the parent: a caller that has not heard it can be sure that nothing
        # runs, whoever is killed when.
        caller.sendall(b"%d\n" % os.getpid())
        for sock in (caller, *ours):
            sock.close()
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        asked = json.loads(message)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        code = command(asked["argv"])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _reap(children: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            continue
        caller = children.pop(pid)
        with contextlib.suppress(KeyError, ValueError):
            selector.unregister(caller)
        with contextlib.suppress(OSError):
            caller.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
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
        os.killpg(pid, number)


def _main(kind: str, listener: str, folder: str) -> None:
    with socket.socket(fileno=int(listener)) as listening:
        serve(kind, listening)
    # The driver would, but it may have been killed. What was said stays when an error ends this.
    with contextlib.suppress(OSError):
        for name in (_SOCKET, _SAID):
            Path(folder, name).unlink(missing_ok=True)
        os.rmdir(folder)


if __name__ == "__main__":
    _main(*sys.argv[1:])
