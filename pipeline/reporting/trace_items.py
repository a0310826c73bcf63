"""What a number, a sentence or a figure rests on, as sections.

A section is shown twice: on a trace page (`trace_pages`, HTML) and by `tdn trace` (a tree).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.lineage.evidence import Evidence
from pipeline.lineage.trace import Step, claim_of, walk
from pipeline.reporting.anchors import anchor, beside, cell_link, trace_link
from pipeline.reporting.prose_view import CellTexts


@dataclass(frozen=True)
class Line:
    """A line of a section: a text, a status, why, and the rule behind it; '' for none of these."""

    text: str = ""
    status: str = ""
    reason: str = ""
    rule: str = ""

    def __str__(self) -> str:
        head = " ".join(filter(None, (self.text, self.status)))
        return ": ".join(filter(None, (head, self.rule))) + (self.reason and f" ({self.reason})")


@dataclass(frozen=True)
class Part:
    """A cell or run that something rests on: its name, what it says, and its place on the pages."""

    name: str
    text: str
    href: str


@dataclass(frozen=True)
class Section:
    """`lines` say what it is, `steps` are the files it comes from, `parts` lead on."""

    id: str
    name: str
    lines: tuple[Line, ...]
    claim: str = ""
    steps: tuple[Step, ...] = ()
    parts: tuple[Part, ...] = ()


def cell_section(
    evidence: Evidence,
    cell: Mapping[str, Any],
    texts: CellTexts,
    documents: Mapping[str, Mapping[str, Any]],
) -> Section:
    """A cell: what was measured, what the paper says, and the walk to its raw files."""
    name = str(cell["cell_id"])
    measured = texts.measured(name)
    text = f"measured {measured} {cell['unit']}" if measured else ""
    return Section(
        anchor("trace", name),
        name,
        (Line(text, cell["status"], _reason(cell)),),
        claim=claim_of(cell, documents),
        steps=walk(evidence, cell["lineage"]["sources"]),
    )


def _reason(cell: Mapping[str, Any]) -> str:
    lineage = cell["lineage"]
    parts = [str(cell["reason"])]
    if cell["note"] and cell["note"] != cell["reason"]:
        parts.append(f"({cell['note']})")
    if lineage["rule"]:
        parts.append(f"{lineage['rule']} of {', '.join(lineage['runs'])}")
    if lineage["protocol"]:
        parts.append(f"under {lineage['protocol']}")
    if cell["n_expected"] is not None:
        parts.append(f"{cell['n_scored']} of {cell['n_expected']} videos")
        parts.append(f"{cell['n_failed']} failed, {cell['n_partial']} partial")
    return ", ".join(parts)


def prose_section(verdict: Mapping[str, Any], texts: CellTexts) -> Section:
    """A sentence: its rules with their numbers, and every cell that they read."""
    lines = [Line(f"“{verdict['sentence']}” ({verdict['place']})", reason=verdict["note"])]
    if verdict["rule"]:
        rule = verdict["paper_numbers"]
        lines.append(Line("In the printed numbers:", verdict["paper"], rule=rule))
    if verdict["ours_rule"]:
        reason = f"{verdict['ours_reason']}{' (smoke)' if verdict['smoke'] else ''}"
        lines.append(Line("In ours:", verdict["ours"], reason, verdict["ours_numbers"]))
    parts = []
    for address in dict.fromkeys([*verdict["cells"], *verdict["ours_cells"]]):
        words = [f"printed {texts.claimed(address)}"] if address in verdict["cells"] else []
        if address in verdict["ours_cells"]:
            words.append(f"measured {texts.measured(address) or 'nothing yet'}")
        parts.append(Part(address, ", ".join(words), beside(cell_link(address))))
    name = verdict["prose_id"]
    return Section(anchor("prose", name), f"prose/{name}", tuple(lines), parts=tuple(parts))


def figure_section(
    evidence: Evidence, entry: Mapping[str, Any], texts: CellTexts, runs: Mapping[str, str]
) -> Section:
    """A figure: its files and their record, its runs, its cells.

    `runs`: what each run that has a place on the page of runs measured, in words.
    """
    folder = evidence.work.relative(evidence.work.reports / "figures")
    output, name = evidence.made(folder), evidence.maker(folder) or ""
    digests = {} if output is None else output.files
    files = [*entry["files"].values(), "figures.json"]
    steps = [Step("figures", f"{folder}/{file}", digests.get(file, ""), name) for file in files]
    if name:
        steps.append(Step("record", evidence.runs[name].path, evidence.runs[name].sha256))
    parts = [
        Part(
            row, runs.get(row, "not scored"), beside(trace_link("run", row)) if row in runs else ""
        )
        for row in entry["rows"]
    ]
    if dataset := entry["numbers"].get("dataset"):
        parts.append(Part(dataset, "stored frames", beside(trace_link("data", dataset))))
    for cell in entry["cells"]:
        words = {"printed": texts.claimed(cell), "measured": texts.measured(cell)}
        text = ", ".join(f"{what} {number}" for what, number in words.items() if number)
        parts.append(Part(cell, text, beside(cell_link(cell))))
    return Section(
        anchor("figure", entry["key"]),
        f"figure/{entry['key']}",
        (Line(f"{entry['title']}: {entry['state']}", reason=entry["reason"]),),
        steps=tuple(steps),
        parts=tuple(parts),
    )


def run_section(name: str, text: str, evidence: Evidence, sources: Iterable[Any]) -> Section:
    """A run or a combination of runs: what it measured, and the walk to its raw files."""
    steps = walk(evidence, sources)
    return Section(anchor("run", name), name, (Line(text),), steps=steps)


def dataset_section(name: str, evidence: Evidence) -> Section:
    """A data set: the walk from the counts of its decoded videos."""
    path = evidence.work.relative(evidence.work.decoded(name))
    output = evidence.made(path)
    sources = [] if output is None else [{"path": path, "sha256": output.sha256}]
    text = "videos listed and decoded" if sources else "no record says how it was decoded"
    return Section(anchor("data", name), name, (Line(text),), steps=walk(evidence, sources))
