"""DVC's command line in a fork of a process that has imported it (see `stages.warm`)."""

from __future__ import annotations

import contextlib
import importlib
import sys

_MODULES = (
    "dvc.cli.parser", "dvc.cachemgr", "dvc.data_cloud", "dvc.dirs", "dvc.dvcfile", "dvc.lock",
    "dvc.repo.index", "dvc.repo.open_repo", "dvc.repo.plots", "dvc.repo.stage", "dvc.rwlock",
    "dvc.scm", "dvc.utils.strictyaml", "dvc_data.hashfile.status", "pyparsing", "ruamel.yaml",
)  # fmt: skip
"""What its commands import on their way; one that another version lacks costs time only."""


def prepare() -> None:
    """Import DVC; opens no repository."""
    for name in _MODULES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)


def main(argv: list[str]) -> int:
    """`dvc ARGV`; returns its exit code."""
    from dvc.cli import main as dvc

    sys.argv = ["dvc", *argv]
    code: int = dvc(argv)
    return code
