"""Which code a stage runs, as one digest: the modules it can import, comments and layout aside.

Static imports are followed (also those inside functions); modules that are imported lazily by name
are given as further roots, and the registry that holds their names does not count: adding a network
changes no other. Comments, formatting and docstrings do not count either.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

from pipeline.digests import sha256_bytes, sha256_json
from pipeline.errors import UsageError

PACKAGES = ("pipeline", "stages", "tdn_model")
REGISTRY = "MODELS"


def closure(root: Path, modules: list[str]) -> dict[str, str]:
    """Every module of ours that `modules` can import, as {relative path: digest}, sorted.

    A digest is the sha256 of the module's syntax tree without docstrings. Raises UsageError when a
    root module does not exist or a file does not parse.
    """
    todo = list(modules)
    files: dict[str, str] = {}
    seen: set[str] = set()
    for name in modules:
        if _find(root, name) is None:
            raise UsageError(f"there is no module {name}", do="check the name in the stage's roots")
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        path = _find(root, name)
        if path is None:
            continue
        digest, imported = _read(path, name, path.read_bytes())
        files[path.relative_to(root).as_posix()] = digest
        todo += imported
        if "." in name:
            todo.append(name.rpartition(".")[0])
    return dict(sorted(files.items()))


def code_digest(files: dict[str, str]) -> str:
    """One digest over what `closure` found."""
    return sha256_json(files)


def _find(root: Path, name: str) -> Path | None:
    """The file of a module of ours; None for anything else (also for `from module import name`)."""
    if name.split(".")[0] not in PACKAGES:
        return None
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=4096)
def _read(path: Path, name: str, source: bytes) -> tuple[str, tuple[str, ...]]:
    """A module's digest and the dotted names it may import; remembered by content, not by time."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise UsageError(
            f"{name} is not valid Python: {error.msg}",
            where=f"{'/'.join(path.parts[-2:])}, line {error.lineno}",
            do="mend the line",
        ) from None
    imported = tuple(sorted(_imports(tree, name, path.name == "__init__.py")))
    _drop_docstrings(tree)
    _drop_registry(tree)
    return sha256_bytes(ast.dump(tree).encode("utf-8")), imported


def _imports(tree: ast.Module, name: str, package: bool) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".") if package else name.split(".")[:-1]
                parts = parts[: len(parts) - node.level + 1]
                base = ".".join([*parts, base]) if base else ".".join(parts)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return {item for item in found if item.split(".")[0] in PACKAGES}


def _drop_registry(tree: ast.Module) -> None:
    """A registry of lazily imported names: whoever uses an entry is given it as a root."""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == REGISTRY:
            node.value = None


def _drop_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:] or [ast.Pass()]
