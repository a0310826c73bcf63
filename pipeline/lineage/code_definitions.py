"""The definitions of a module of ours, read from its syntax tree: what `code_digest` follows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.core.errors import UsageError
from pipeline.core.files import sha256_bytes

PACKAGES = ("pipeline", "stages", "tdn_model")
REGISTRY = "MODELS"
Target = tuple[str, str | None]
"""What an import of ours binds: (module, None) or (module, name in it)."""
Bound = dict[str, Target]
"""Names bound by imports of our modules."""


@dataclass(frozen=True)
class Definition:
    """One top-level statement, ready to be followed and hashed."""

    names: tuple[str, ...]
    digest: str
    refs: tuple[tuple[str, str | None], ...]
    """What it mentions, in order: (name, None), or (module alias, attribute)."""
    imports: tuple[str, ...]
    """Our modules that it imports when it runs."""
    beside: tuple[str, ...] = ()
    """Files and folders beside the module that it names."""

    @property
    def label(self) -> str:
        return self.names[0] if self.names else "(on import)"


@dataclass(frozen=True)
class Module:
    """A module of ours: its definitions, and what its imports bind."""

    path: str
    """Relative to the root."""
    definitions: tuple[Definition, ...]
    bound: Bound
    imports: tuple[str, ...]
    """Our modules that importing it imports."""


def module_file(root: Path, name: str) -> Path | None:
    """The file of a module of ours; None for anything else."""
    if name.split(".")[0] not in PACKAGES:
        return None
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def read_module(root: Path, name: str, path: Path) -> Module:
    """A module's definitions; UsageError when it is not valid Python.

    The same text beside the same files is parsed once in a process, whatever the root.
    """
    relative, source = path.relative_to(root).as_posix(), path.read_bytes()
    try:
        named = _named_by_imports(source)
    except SyntaxError as error:
        raise UsageError(
            f"{name} is not valid Python: {error.msg}",
            where=f"{relative}, line {error.lineno}",
            do="mend the line",
        ) from None
    modules = frozenset(item for item in named if module_file(root, item) is not None)
    return _module(relative, source, modules, _data(path.parent))


@lru_cache(maxsize=1024)
def _named_by_imports(source: bytes) -> frozenset[str]:
    """What imports of ours name, as if it were modules."""
    nodes = chain.from_iterable(nodes for _, nodes in _statements(source))
    ours = (node for node in nodes if isinstance(node, ast.ImportFrom) and _ours(node))
    return frozenset(f"{node.module}.{alias.name}" for node in ours for alias in node.names)


@lru_cache(maxsize=1)
def _statements(source: bytes) -> list[tuple[ast.stmt, list[ast.AST]]]:
    """The top-level statements of a module, each with all its nodes."""
    body = ast.parse(source).body
    for node in body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == REGISTRY:
            node.value = None
    return [(node, _walk(node)) for node in body]


@lru_cache(maxsize=1024)
def _module(
    relative: str, source: bytes, modules: frozenset[str], beside: frozenset[str]
) -> Module:
    """A module of which the imports named in `modules` bind modules, not names in them."""
    imports = [list(_imports(nodes, modules)) for _, nodes in _statements(source)]
    bound: Bound = {}
    for alias, target in chain.from_iterable(imports):
        if bound.setdefault(alias, target) != target:
            raise UsageError(
                f"two imports bind '{alias}' to different things",
                where=relative,
                do="give one of them another name: code is followed by names",
            )
    definitions: list[Definition] = []
    at_once: list[Target] = []
    for (node, nodes), bindings in zip(_statements(source), imports, strict=True):
        targets = [target for _, target in bindings]
        definitions += _definitions(node, nodes, bound, _imported(targets), beside)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            at_once += targets
    return Module(relative, tuple(_numbered(definitions)), bound, _imported(at_once))


def _numbered(definitions: list[Definition]) -> list[Definition]:
    """Statements that run on import are numbered where there are several: their order counts."""
    on_import = [n for n, item in enumerate(definitions) if not item.names]
    for number, n in enumerate(on_import) if len(on_import) > 1 else ():
        digest = short_digest(f"{number} {definitions[n].digest}")
        definitions[n] = replace(definitions[n], digest=digest)
    return definitions


def _walk(node: ast.AST) -> list[ast.AST]:
    """All nodes of a syntax tree in the order of `ast.walk`, but in a third of its time."""
    nodes = [node]
    for node in nodes:
        for name in node._fields:
            value = getattr(node, name, None)
            if type(value) is list:
                nodes += (item for item in value if isinstance(item, ast.AST))
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                nodes.append(value)
    return nodes


def _imports(nodes: Iterable[ast.AST], modules: frozenset[str]) -> Iterator[tuple[str, Target]]:
    """The names that imports of our modules bind within a statement, and to what."""
    for inner in nodes:
        if isinstance(inner, ast.ImportFrom) and _ours(inner):
            base = str(inner.module)
            for alias in inner.names:
                module, name = f"{base}.{alias.name}", alias.asname or alias.name
                yield name, (module, None) if module in modules else (base, alias.name)


def _ours(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in PACKAGES


def _imported(targets: list[Target]) -> tuple[str, ...]:
    """Our modules that imports of these targets import, and the packages they are in."""
    packages = {module.rpartition(".")[0] for module, name in targets if name is None}
    return tuple(sorted(packages.union(module for module, _ in targets)))


def _definitions(
    statement: ast.stmt,
    nodes: list[ast.AST],
    bound: Bound,
    imports: tuple[str, ...],
    data: frozenset[str],
) -> Iterator[Definition]:
    if _silent(statement) or (isinstance(statement, ast.ImportFrom) and _ours(statement)):
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            return
        source = getattr(statement, "module", "") or ""
        for alias in statement.names:
            name = alias.asname or alias.name.partition(".")[0]
            digest = short_digest(f"import {source} {alias.name} {name}")
            yield Definition((name,), digest, (), ())
        return
    names, digest = tuple(_names(statement, nodes)), short_digest(_text(statement, bound))
    strings = (str(n.value) for n in nodes if isinstance(n, ast.Constant)) if data else ()
    beside = tuple(dict.fromkeys(item for item in strings if item in data))
    yield Definition(names, digest, tuple(_refs(nodes, bound)), imports, beside)


def definition_texts(source: bytes) -> dict[str, str]:
    """What counts of each top-level statement of a module, by the label of its definition.

    SyntaxError or ValueError for what is not Python.
    """
    found: dict[str, str] = {}
    for statement in ast.parse(source).body:
        if not _silent(statement) and not _ours(statement):
            label = next(_names(statement, _walk(statement)), "(on import)")
            if isinstance(statement, ast.Import | ast.ImportFrom):
                label = statement.names[0].asname or statement.names[0].name.partition(".")[0]
            found[label] = found.get(label, "") + _text(statement, {})
    return found


def _names(statement: ast.stmt, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """What a top-level statement of `nodes` defines; nothing for one that only does something."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for node in nodes:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _silent(node: ast.AST) -> bool:
    """A bare string, or `pass`: nothing that runs."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Pass)


def _text(node: ast.AST, bound: Bound) -> str:
    """A syntax tree as text: the same in every interpreter, under every name of an import.

    Strings of what is raised are left out: an error's words change no result.
    """
    parts: list[str] = []
    _write(node, bound, parts.append, False)
    return "".join(parts)


def _write(node: Any, bound: Bound, put: Callable[[str], None], raised: bool) -> None:
    kind = type(node)
    raised = raised or kind is ast.Raise
    if raised and kind is ast.Constant and isinstance(node.value, str):
        put("str")
    elif raised and kind is ast.JoinedStr:
        put("str")
        parts = [part for part in node.values if isinstance(part, ast.FormattedValue)]
        _write(parts, bound, put, True)
    elif kind is ast.Attribute and _of_module(node, bound):  # module.name is just name
        put(f"Name({node.attr})")
    elif kind is ast.Name:
        put(f"Name({bound.get(node.id, ('', node.id))[1] or node.id})")
    elif kind is ast.Constant:
        put(f"{type(node.value).__name__}({node.value!r})")
    elif isinstance(node, ast.AST):
        put(f"{kind.__name__}(")
        for name in _that_count(node._fields):
            value = getattr(node, name, None)
            if value is not None and value != []:
                put(f"{name}=")
                _write(value, bound, put, raised)
        put(")")
    elif kind is list:
        put("[")
        for item in node:
            if not _silent(item) and not _ours(item):
                _write(item, bound, put, raised)
                put(",")
        put("]")
    else:
        put(repr(node))


@cache
def _that_count(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a node's fields that are written, sorted."""
    return tuple(sorted({*fields} - {"ctx", "kind", "type_comment"}))


def _of_module(node: Any, bound: Bound) -> bool:
    """Whether it is an attribute of one of our modules."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and bound.get(node.value.id, ("", ""))[1] is None
    )


def _refs(nodes: Iterable[ast.AST], bound: Bound) -> Iterator[tuple[str, str | None]]:
    inside: set[ast.AST] = set()
    node: Any
    for node in nodes:
        if _of_module(node, bound):
            inside.add(node.value)
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node not in inside:
            yield node.id, None
        elif isinstance(node, ast.Constant) and str(node.value).isidentifier():
            yield str(node.value), None


def files_beside(root: Path, module: str, names: Iterable[str]) -> list[tuple[str, str]]:
    """(path relative to the root, digest) of the files that a module names beside itself."""
    targets = [(root / module).parent / name for name in names]
    files = [path for target in targets for path in (target, *target.rglob("*")) if path.is_file()]
    return [(path.relative_to(root).as_posix(), digest_beside(path)) for path in files]


def digest_beside(path: Path) -> str:
    """Of a file beside a module. Its name counts: two that change places are a change."""
    return short_digest(f"{path.name} {sha256_bytes(path.read_bytes())}")


def _data(folder: Path) -> frozenset[str]:
    """Data beside a module: files that are not code, and folders that are not packages."""
    others = (p for p in folder.iterdir() if p.suffix != ".py" and p.name != "__pycache__")
    return frozenset(p.name for p in others if p.is_file() or not (p / "__init__.py").is_file())


def short_digest(text: str) -> str:
    """16 hexadecimal digits."""
    return sha256_bytes(text.encode("utf-8"))[:16]
