"""Which networks there are and which options they take, read off the source without torch.

Planning must stay quick, and a misspelt option must be found before anything trains.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.core.errors import UsageError

SHARED_OPTIONS = ("in_channels",)
"""Fields of `tdn_model.contract.NetworkShape` that a row states among its network's options."""


class Catalogue:
    """The networks of `tdn_model.build.MODELS`, by static reading."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.models: dict[str, str] = _literal(root / "tdn_model" / "build.py", "MODELS")

    def locate(self, architecture: str) -> str:
        """The factory of a network, as "module:name"."""
        return self.models[architecture]

    def options(self, architecture: str) -> list[str]:
        """The names of the options that a row may give a network."""
        module, _, name = self.models[architecture].partition(":")
        path = self._root.joinpath(*module.split(".")).with_suffix(".py")
        for node in _parse(path).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return sorted([*SHARED_OPTIONS, *(arg.arg for arg in node.args.kwonlyargs)])
        raise UsageError(
            f"network '{architecture}' names a factory that does not exist: {module}:{name}",
            where="tdn_model/build.py, MODELS",
            do="correct the line",
        )


def _parse(path: Path) -> ast.Module:
    return _parse_text(path.read_text(encoding="utf-8"))


@cache
def _parse_text(text: str) -> ast.Module:
    return ast.parse(text)


def _literal(path: Path, name: str) -> Any:
    """The literal value that a module assigns to `name` at its top level."""
    for node in _parse(path).body:
        target: ast.expr | None = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
        if isinstance(target, ast.Name) and target.id == name:
            value = getattr(node, "value", None)
            if value is not None:
                return ast.literal_eval(value)
    raise UsageError(f"{path.name} assigns no {name}", where="tdn_model/")
