"""Whether this process runs the code that was planned, and not what the files hold since."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from pipeline.core.errors import RecordError
from pipeline.lineage.code_definitions import digest_beside, read_module
from pipeline.lineage.code_digest import CLASH, Parts

_ROOT = Path(__file__).resolve().parents[2]
_loaded: dict[str, frozenset[str]] = {}
"""Digests of the definitions of each module, read when this process first asked for it."""


def check_loaded(planned: Parts, *, imported: bool = False) -> None:
    """Import the modules of a plan's definitions and compare what they define with the plan.

    A module that this process has imported goes on being what it was, whatever its file holds now.
    With `imported` only those are compared: for a stage that has the others compared before it
    makes anything with them.

    Raises RecordError naming a file that changed between the plan and its import.
    """
    for file, definitions in planned.items():
        if imported and _module(file) not in {None, *sys.modules}:
            continue
        wanted = {digest for label, digest in definitions.items() if CLASH not in label}
        if not wanted <= _digests(file):
            raise RecordError(
                "the code changed after it was planned, so nothing was run with it",
                where=file,
                do="run the same command again",
            )


def _digests(file: str) -> frozenset[str]:
    path = _ROOT / file
    if (name := _module(file)) is None:  # read while the stage runs
        return frozenset({digest_beside(path)}) if path.is_file() else frozenset()
    if file not in _loaded:
        if not path.is_file():
            return frozenset()
        importlib.import_module(name)
        _loaded[file] = frozenset(d.digest for d in read_module(_ROOT, name, path).definitions)
    return _loaded[file]


def _module(file: str) -> str | None:
    """The name of the module that a file is; None of another file."""
    if not file.endswith(".py"):
        return None
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
