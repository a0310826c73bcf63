"""Which code a stage runs, as one digest over the definitions that it can reach.

A definition is a top-level statement of one of our modules: a function, a class, an assignment, an
import of somebody else's package. Starting from a stage's `run`, names are followed from definition
to definition, also through imports inside functions. What counts is the content of the definitions
that are reached; where they stand does not. So a module can be moved, split or merged without any
change of a digest, and an edit reaches only the stages that can run it.

Not counted: comments, layout, docstrings and any other bare string, the words of an error that is
raised, `pass`, imports of our own modules, the interpreter's version. Followed as well as names:
strings that equal a name of the module (`getattr(module, "name")`), and strings that name a file
beside the module (a template), whose content counts. What is imported lazily by a computed name
must be given as a further root; the registry of such names (`MODELS`) does not count.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pipeline.core.errors import UsageError
from pipeline.core.files import sha256_json
from pipeline.lineage.code_definitions import (
    Definition,
    Module,
    files_beside,
    module_file,
    read_module,
    short_digest,
)

Parts = dict[str, dict[str, str]]
"""{file: {definition: digest}}; sorted, digests of 16 hexadecimal digits."""
Place = tuple[str, int]
"""A definition: its module, and its number there."""
CLASH = "→"
"""In the label of an entry that is no definition: which of two of one name is meant."""


class Uses(NamedTuple):
    """What a definition mentions."""

    mentions: list[tuple[str, Place]]
    """Under which name, and where that is defined."""
    places: list[Place]
    """The same places, each once."""
    names: frozenset[str]


class Code:
    """The source below a root, read once; make a new one after an edit."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._modules: dict[str, Module | None] = {}
        self._found: dict[tuple[str, ...], Parts] = {}
        self._names: dict[str, dict[str, list[Place]]] = {}
        self._uses: dict[Place, Uses] = {}
        self._beside: dict[tuple[str, tuple[str, ...]], list[tuple[str, str]]] = {}

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
                at = self.resolve(module, name)
                if not at:
                    raise UsageError(
                        f"there is no {item}", do="check the name in the stage's roots"
                    )
                places += at
            self._found[asked] = _Walk(self).parts(places)
        return self._found[asked]

    def module(self, name: str) -> Module | None:
        """A module of ours; None for anything else."""
        if name not in self._modules:
            path = module_file(self._root, name)
            self._modules[name] = None if path is None else read_module(self._root, name, path)
        return self._modules[name]

    def resolve(self, module: str, name: str) -> list[Place]:
        """Where a name of a module is defined; empty when it has no such name."""
        source = self.module(module)
        if source is None:
            return []
        if module not in self._names:
            self._names[module] = {}
            for n, item in enumerate(source.definitions):
                for own_name in dict.fromkeys(item.names):
                    self._names[module].setdefault(own_name, []).append((module, n))
        own = self._names[module].get(name, [])
        if own or name not in source.bound:
            return own
        home, attribute = source.bound[name]
        return self.resolve(home, attribute) if attribute else self.everything(home)

    def everything(self, module: str) -> list[Place]:
        """All definitions of a module that is passed on as an object."""
        source = self.module(module)
        return [(module, n) for n in range(len(source.definitions))] if source else []

    def beside(self, module: str, names: tuple[str, ...]) -> list[tuple[str, str]]:
        """The files that a module's definition names, and their digests."""
        source = self.module(module)
        assert source is not None
        if (module, names) not in self._beside:
            self._beside[module, names] = files_beside(self._root, source.path, names)
        return self._beside[module, names]

    def uses(self, place: Place) -> Uses:
        """What a definition mentions."""
        if place not in self._uses:
            here, module = place[0], self.module(place[0])
            assert module is not None
            found: list[tuple[str, Place]] = []
            for name, attribute in module.definitions[place[1]].refs:
                home, own_name = module.bound.get(name, (here, name))
                if attribute is None:
                    label, targets = own_name or name, self.resolve(here, name)
                else:
                    label = attribute
                    targets = self.resolve(home, attribute) or self.everything(home)
                found += [(label, target) for target in targets]
            last = dict.fromkeys(target for _, target in reversed(found))
            names = frozenset(label for label, _ in found)
            self._uses[place] = Uses(found, list(last)[::-1], names)
        return self._uses[place]


class _Walk:
    """One walk from some definitions to all that they reach."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._seen: dict[Place, Definition] = {}
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
                if name not in self._imported:
                    todo += self._importing(name)
            todo += self._code.uses(place).places
        return self._by_file()

    def _importing(self, module: str) -> list[Place]:
        """Importing a module runs what is no definition in it, and in what it imports."""
        on_import: list[Place] = []
        todo = [module]
        while todo:
            name = todo.pop()
            source = self._code.module(name)
            if source is None or name in self._imported:
                continue
            self._imported.add(name)
            todo += [*source.imports, name.rpartition(".")[0]]
            on_import += [(name, n) for n, item in enumerate(source.definitions) if not item.names]
        return on_import

    def _by_file(self) -> Parts:
        parts: Parts = {}
        homes: dict[str, set[str]] = {}
        for (module, _), item in self._seen.items():
            self._add(parts, module, item.label, item.digest)
            for path, digest in self._code.beside(module, item.beside) if item.beside else ():
                parts.setdefault(path, {})[path.rpartition("/")[2]] = digest
            for name in item.names:
                homes.setdefault(name, set()).add(item.digest)
        shared = {name for name, digests in homes.items() if len(digests) > 1}
        for place, user in self._seen.items():
            uses = self._code.uses(place)
            if not shared.isdisjoint(uses.names):
                unclear = [
                    f"{name} {self._seen[other].digest}"
                    for name, other in uses.mentions
                    if name in shared
                ]
                digest = short_digest("\n".join([user.digest, *unclear]))
                self._add(parts, place[0], f"{user.label} {CLASH} names that two define", digest)
        return {path: dict(sorted(parts[path].items())) for path in sorted(parts)}

    def _add(self, found: Parts, module: str, name: str, digest: str) -> None:
        source = self._code.module(module)
        assert source is not None
        into = found.setdefault(source.path, {})
        while into.get(name, digest) != digest:  # defined twice: in an `if` and its `else`
            name += "'"
        into[name] = digest


def code_digest(parts: Parts) -> str:
    """One digest over what `Code.reached` found, whatever the files are called."""
    return sha256_json(sorted({digest for found in parts.values() for digest in found.values()}))
