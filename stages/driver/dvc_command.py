"""DVC's command line in a fork of a process that has imported it (see `stages.driver.warm`).

DVC rewrites its lock after every stage, and reads it first in a way that keeps remarks and line
breaks: in Python, slower the more stages there are, under the lock that all chains wait for. A lock
has no remarks. Here it is read with the C parser instead; what DVC then writes, and writes with, is
the same, byte for byte (a test holds that against DVC's own).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from typing import Any

_MODULES = (
    "dvc.cli.parser", "dvc.cachemgr", "dvc.data_cloud", "dvc.dirs", "dvc.dvcfile", "dvc.lock",
    "dvc.repo.index", "dvc.repo.open_repo", "dvc.repo.plots", "dvc.repo.stage", "dvc.rwlock",
    "dvc.scm", "dvc.utils.strictyaml", "dvc_data.hashfile.status", "pyparsing", "ruamel.yaml",
)  # fmt: skip
"""What its commands import on their way; one that another version lacks costs time only."""


def prepare() -> None:
    """Import DVC; opens no repository. A second time does nothing."""
    for name in _MODULES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    from dvc import dvcfile

    if hasattr(dvcfile, "modify_yaml"):
        _kept.setdefault("modify_yaml", dvcfile.modify_yaml)
        dvcfile.modify_yaml = modify_yaml


def main(argv: list[str]) -> int:
    """`dvc ARGV`; returns its exit code."""
    from dvc.cli import main as dvc

    sys.argv = ["dvc", *argv]
    code: int = dvc(argv)
    return code


_kept: dict[str, Any] = {}


@contextlib.contextmanager
def modify_yaml(path: str, fs: Any = None) -> Iterator[Any]:
    """DVC's own, but a lock is read without looking for remarks."""
    if os.path.basename(path) != "dvc.lock":
        with _kept["modify_yaml"](path, fs=fs) as found:
            yield found
        return
    from dvc.utils.serialize import dump_yaml, load_yaml

    exists = fs.exists(path) if fs else os.path.exists(path)
    found = load_yaml(path, fs=fs) if exists else {}
    yield found
    dump_yaml(path, found, fs=fs)
