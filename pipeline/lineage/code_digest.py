"""Which code a stage runs, as one digest over the definitions that it can reach.

A definition is a top-level statement of one of our modules: a function, a class, an assignment, an
import of somebody else's package. Starting from a stage's `run`, names are followed from definition
to definition, also through imports inside functions. What counts is the content of the definitions
that are reached; where they stand does not. So a module can be moved, split or merged without any
change of a digest, and an edit reaches only the stages that can run it.

Not counted: comments, layout, docstrings and any other bare string, `pass`, imports of our own
modules, the interpreter's version. Followed as well as names: strings that equal a name of the
module (`getattr(module, "name")`), and strings that name a file beside the module (a template),
whose content counts. What is imported lazily by a computed name must be given as a further root;
the registry of such names (`MODELS`) does not count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import UsageError
from pipeline.core.files import sha256_bytes, sha256_json

PACKAGES = ("pipeline", "stages", "tdn_model")
REGISTRY = "MODELS"
Parts = dict[str, dict[str, str]]
"""{file: {definition: digest}}; sorted, digests of 16 hexadecimal digits."""
Place = tuple[str, int]
"""A definition: its module, and its number there."""
Bound = dict[str, tuple[str, str | None]]
"""Names that imports of ours bind: (module, None) or (module, name in it)."""


@dataclass(frozen=True)
class Definition:
    """One top-level statement, ready to be followed and hashed."""

    names: tuple[str, ...]
    digest: str
    refs: tuple[tuple[str, str | None], ...]
    """What it mentions, in order: (name, None), or (module alias, attribute)."""
    imports: tuple[str, ...]
    """Our modules that it imports when it runs."""
    files: tuple[tuple[str, str], ...] = ()
    """Files beside the module that it names: (path relative to the root, digest)."""

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


class Code:
    """The source below a root, read once; ask anew after an edit."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: dict[str, Module | None] = {}
        self._found: dict[tuple[str, ...], Parts] = {}

    def reached(self, roots: Iterable[str]) -> Parts:
        """The definitions that `roots` ("module:name") can run, by file.

        Where two of them share a name, which one is meant by each use counts too, so that swapping
        them is a change. Raises UsageError when a root does not exist or a file is not valid
        Python.
        """
        asked = tuple(roots)
        if asked not in self._found:
            places: list[Place] = []
            for item in asked:
                module, _, name = item.partition(":")
                found = self.resolve(module, name)
                if not found:
                    raise UsageError(
                        f"there is no {item}", do="check the name in the stage's roots"
                    )
                places += found
            self._found[asked] = _Walk(self).parts(places)
        return self._found[asked]

    def module(self, name: str) -> Module | None:
        """A module of ours; None for anything else."""
        if name not in self._modules:
            path = _file(self._root, name)
            self._modules[name] = None if path is None else _read(self._root, name, path)
        return self._modules[name]

    def resolve(self, module: str, name: str) -> list[Place]:
        """Where a name of a module is defined; empty when it has no such name."""
        found = self.module(module)
        if found is None:
            return []
        own = [(module, n) for n, item in enumerate(found.definitions) if name in item.names]
        if own or name not in found.bound:
            return own
        home, attribute = found.bound[name]
        return self.resolve(home, attribute) if attribute else self.everything(home)

    def everything(self, module: str) -> list[Place]:
        """All definitions of a module that is handed on as an object."""
        found = self.module(module)
        return [(module, n) for n in range(len(found.definitions))] if found else []


class _Walk:
    """One walk from some definitions to all that they reach."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._seen: dict[Place, Definition] = {}
        self._uses: dict[Place, list[tuple[str, Place]]] = {}
        self._imported: set[str] = set()

    def parts(self, places: list[Place]) -> Parts:
        todo = list(places)
        while todo:
            place = todo.pop()
            if place in self._seen:
                continue
            module = self._code.module(place[0])
            assert module is not None
            item = self._seen[place] = module.definitions[place[1]]
            for name in (place[0], *item.imports):
                todo += self._importing(name)
            for name, attribute in item.refs:
                label, targets = self._targets(module, place[0], name, attribute)
                self._uses.setdefault(place, []).extend((label, t) for t in targets)
                todo += targets
        return self._by_file()

    def _targets(
        self, module: Module, here: str, name: str, attribute: str | None
    ) -> tuple[str, list[Place]]:
        home, own_name = module.bound.get(name, (here, name))
        if attribute is None:
            return own_name or name, self._code.resolve(here, name)
        return attribute, self._code.resolve(home, attribute) or self._code.everything(home)

    def _importing(self, module: str) -> list[Place]:
        """Importing a module runs what is no definition in it, and in what it imports."""
        found: list[Place] = []
        todo = [module]
        while todo:
            name = todo.pop()
            about = self._code.module(name)
            if about is None or name in self._imported:
                continue
            self._imported.add(name)
            todo += [*about.imports, name.rpartition(".")[0]]
            found += [(name, n) for n, item in enumerate(about.definitions) if not item.names]
        return found

    def _by_file(self) -> Parts:
        found: Parts = {}
        homes: dict[str, set[str]] = {}
        for (module, _), item in self._seen.items():
            self._add(found, module, item.label, item.digest)
            for path, digest in item.files:
                found.setdefault(path, {})[path.rpartition("/")[2]] = digest
            for name in item.names:
                homes.setdefault(name, set()).add(item.digest)
        for place, uses in self._uses.items():
            user = self._seen[place]
            unclear = [
                f"{name} {self._seen[other].digest}"
                for name, other in uses
                if len(homes.get(name, ())) > 1
            ]
            if unclear:
                digest = _short("\n".join([user.digest, *unclear]))
                self._add(found, place[0], f"{user.label} → names that two define", digest)
        return {path: dict(sorted(found[path].items())) for path in sorted(found)}

    def _add(self, found: Parts, module: str, name: str, digest: str) -> None:
        about = self._code.module(module)
        assert about is not None
        into = found.setdefault(about.path, {})
        while into.get(name, digest) != digest:  # defined twice: in an `if` and its `else`
            name += "'"
        into[name] = digest


def code_digest(parts: Parts) -> str:
    """One digest over what `Code.reached` found, whatever the files are called."""
    return sha256_json(sorted({digest for found in parts.values() for digest in found.values()}))


def _file(root: Path, name: str) -> Path | None:
    """The file of a module of ours; None for anything else."""
    if name.split(".")[0] not in PACKAGES:
        return None
    base = root.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _read(root: Path, name: str, path: Path) -> Module:
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError as error:
        raise UsageError(
            f"{name} is not valid Python: {error.msg}",
            where=f"{path.relative_to(root).as_posix()}, line {error.lineno}",
            do="mend the line",
        ) from None
    bound = dict(_bound(tree, root))
    data = _data(path.parent)
    definitions = [d for node in tree.body for d in _definitions(node, bound, data, root)]
    top = {m for node in tree.body for m in _imported(node, root)}
    return Module(path.relative_to(root).as_posix(), tuple(definitions), bound, tuple(sorted(top)))


def _bound(tree: ast.Module, root: Path) -> Iterator[tuple[str, tuple[str, str | None]]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not _ours(node):
            continue
        for alias in node.names:
            base = str(node.module)
            inner = f"{base}.{alias.name}"
            is_module = _file(root, inner) is not None
            yield alias.asname or alias.name, (inner, None) if is_module else (base, alias.name)


def _ours(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in PACKAGES


def _imported(node: ast.AST, root: Path) -> set[str]:
    """Our modules that a statement imports itself; of a definition, none before it runs."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return set()
    return _imports_within(node, root)


def _imports_within(node: ast.AST, root: Path) -> set[str]:
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.ImportFrom) and _ours(inner):
            base = str(inner.module)
            found.add(base)
            found |= {n for a in inner.names if _file(root, n := f"{base}.{a.name}") is not None}
    return found


def _definitions(
    statement: ast.stmt, bound: Bound, data: Mapping[str, Path], root: Path
) -> Iterator[Definition]:
    if _silent(statement) or (isinstance(statement, ast.ImportFrom) and _ours(statement)):
        return
    if isinstance(statement, ast.Import | ast.ImportFrom):
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
            return
        source = getattr(statement, "module", "") or ""
        for alias in statement.names:
            name = alias.asname or alias.name.partition(".")[0]
            digest = _short(f"import {source} {alias.name} {name}")
            yield Definition((name,), digest, (), ())
        return
    names = tuple(_names(statement))
    if REGISTRY in names and isinstance(statement, ast.AnnAssign):
        statement.value = None
    text = "".join(_text(statement, bound))
    refs = tuple(dict.fromkeys(_refs(statement, bound)))
    inner = tuple(sorted(_imports_within(statement, root)))
    yield Definition(names, _short(text), refs, inner, tuple(_beside(statement, data, root)))


def _names(statement: ast.stmt) -> Iterator[str]:
    """What a top-level statement defines; nothing for one that only does something."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield statement.name
        return
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


def _silent(node: ast.AST) -> bool:
    """A bare string, or `pass`: nothing that runs."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return isinstance(node, ast.Pass)


def _text(node: Any, bound: Bound) -> Iterator[str]:
    """A syntax tree as text: the same in every interpreter, under every name of an import."""
    if _of_module(node, bound):  # module.name is just name
        yield f"Name({node.attr})"
    elif isinstance(node, ast.Name):
        yield f"Name({bound.get(node.id, ('', node.id))[1] or node.id})"
    elif isinstance(node, ast.Constant):
        yield f"{type(node.value).__name__}({node.value!r})"
    elif isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for name in sorted(node._fields):
            value = getattr(node, name, None)
            if value not in (None, []) and name not in ("ctx", "kind", "type_comment"):
                yield f"{name}="
                yield from _text(value, bound)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for item in node:
            if not _silent(item) and not _ours(item):
                yield from _text(item, bound)
                yield ","
        yield "]"
    else:
        yield repr(node)


def _of_module(node: Any, bound: Bound) -> bool:
    """Whether it is an attribute of one of our modules."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and bound.get(node.value.id, ("", ""))[1] is None
    )


def _refs(statement: ast.AST, bound: Bound) -> Iterator[tuple[str, str | None]]:
    inside: set[ast.AST] = set()
    node: Any
    for node in ast.walk(statement):
        if _of_module(node, bound):
            inside.add(node.value)
            yield node.value.id, node.attr
        elif isinstance(node, ast.Name) and node not in inside:
            yield node.id, None
        elif isinstance(node, ast.Constant) and str(node.value).isidentifier():
            yield str(node.value), None


def _beside(statement: ast.AST, data: Mapping[str, Path], root: Path) -> Iterator[tuple[str, str]]:
    """The files beside the module that a statement names: templates, style sheets."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Constant) and str(node.value) in data:
            place = data[str(node.value)]
            files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
            for path in sorted(files):
                # Its name counts: two templates that change places are a change.
                digest = _short(f"{path.name} {sha256_bytes(path.read_bytes())}")
                yield path.relative_to(root).as_posix(), digest


def _data(folder: Path) -> dict[str, Path]:
    """What lies beside a module and is no code: files, and folders that are no packages."""
    found = (p for p in folder.iterdir() if p.suffix != ".py" and p.name != "__pycache__")
    return {p.name: p for p in found if p.is_file() or not (p / "__init__.py").is_file()}


def _short(text: str) -> str:
    return sha256_bytes(text.encode("utf-8"))[:16]
