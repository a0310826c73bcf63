"""The walk from a number back to the raw files, as recorded; nothing is verified here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.lineage.evidence import Artefact, Evidence


@dataclass(frozen=True)
class Step:
    """A file on the walk. `run` wrote it ('' for a file that no run wrote) from `before`; `beside`
    are the run's other outputs. `again`: what is before it was shown already."""

    role: str
    path: str
    sha256: str
    run: str = ""
    beside: tuple[Artefact, ...] = ()
    before: tuple[Step, ...] = ()
    again: bool = False

    def flat(self) -> Iterator[Step]:
        """This step and all before it."""
        yield self
        for step in self.before:
            yield from step.flat()


Walks = Mapping[str, tuple[Step, ...]]
"""Walks by the cell or run that they start from."""


def walk(
    evidence: Evidence, sources: Iterable[Mapping[str, Any]], seen: set[str] | None = None
) -> tuple[Step, ...]:
    """The walk from files ({path, sha256}) that a number was read from.

    Runs in `seen` were walked before; those of this walk are added to it.
    """
    seen = set() if seen is None else seen
    return tuple(
        _step(evidence, Artefact("metrics", str(item["path"]), str(item["sha256"]), 0), seen)
        for item in sources
    )


def walks(evidence: Evidence, starts: Mapping[str, Iterable[Mapping[str, Any]]]) -> Walks:
    """A walk per start, in order; what an earlier one went through is not walked again."""
    seen: set[str] = set()
    return {name: walk(evidence, sources, seen) for name, sources in starts.items()}


def _step(evidence: Evidence, read: Artefact, seen: set[str]) -> Step:
    name = evidence.maker(read.path) or ""
    output = evidence.made(read.path)
    role = output.role if output is not None and output.path == read.path else read.role
    if not name:
        return Step(role, read.path, read.sha256)
    if name in seen:
        return Step(role, read.path, read.sha256, name, again=True)
    seen.add(name)
    run = evidence.runs[name]
    beside = tuple(other for other in run.outputs if other.path != read.path)
    before = tuple(
        _step(evidence, item, seen)
        for item in sorted(run.inputs, key=lambda item: (item.role != "train", item.role))
        if evidence.maker(item.path) != name
    )
    return Step(role, read.path, read.sha256, name, beside, before)


def claim_of(cell: Mapping[str, Any], documents: Mapping[str, Mapping[str, Any]]) -> str:
    """What the paper says at a cell, and in which document."""
    if cell["claimed"] is None:
        return "the texts print no number here"
    document = cell["cell_id"].partition("/")[0]
    title = documents.get(document, {}).get("title", document)
    return f"printed {cell['claimed']} {cell['unit']} in {title} (claim {cell['claim_id']})"
