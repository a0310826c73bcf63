"""A Python that has imported what most stages import: `dvc repro` starts many processes, each of
which would import torch again. Our own code is imported by each process anew, from its checkout."""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.checkout import ROOT
from tests.processes import within

IMPORTED = ("matplotlib.figure", "pandas", "pyarrow.parquet", "scipy.stats", "torchvision")
CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [b"."], [0, 1, 2])
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    sys.exit(int(server.recv(4) or b"1"))
"""


@contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """An executable in `folder` (of a short path) that runs `-m stages WORDS` as Python does."""
    address, program = folder / "socket", folder / "python"
    program.write_text(CLIENT.format(python=sys.executable, address=str(address)), "utf-8")
    program.chmod(0o755)
    words = [sys.executable, "-m", "tests.warm_python", str(address)]
    server = subprocess.Popen(words, cwd=ROOT)
    try:
        assert within(120, lambda: address.exists() or server.poll() is not None)
        yield program
    finally:
        server.terminate()
        server.wait()


def serve(address: str) -> list[str]:
    """Fork for each client; returns its words in the process that is to run them."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # else a collection in each process would copy all of it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address + ".new")
        listener.listen()
        os.rename(address + ".new", address)
        while True:
            client, _ = listener.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                break
            client.close()
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    words, place, environment = json.loads(b"".join(iter(lambda: client.recv(1 << 16), b"")))
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        client.sendall(str(status % 256).encode())
        os._exit(0)
    client.close()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    # Those of the server know of a file, which could be wound back.
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    return list(words)


if __name__ == "__main__":
    given = serve(sys.argv[1])
    assert given[:2] == ["-m", "stages"], given
    sys.argv = given[1:]
    sys.path[0] = os.getcwd()
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    code: object = 0
    try:
        runpy.run_module("stages", run_name="__main__", alter_sys=True)
    except SystemExit as error:
        code = error.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 1)  # to tear all modules down takes a second
