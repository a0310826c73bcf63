"""What the trace pages of sentences and figures list: cells and runs, each with its own walk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.lineage.evidence import Evidence
from pipeline.lineage.trace import Step
from pipeline.reporting.anchors import anchor, beside, cell_link, run_link
from pipeline.reporting.prose_view import CellTexts
from pipeline.reporting.view import SYMBOL


def item(
    place: str,
    name: str,
    lines: Iterable[Mapping[str, str]],
    *,
    claim: str = "",
    steps: Sequence[Step] = (),
    links: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """One section of a trace page: `lines` say what it is, `steps` are files, `links` lead on."""
    found = {"id": place, "name": name, "lines": list(lines)}
    return {**found, "claim": claim, "steps": steps, "links": links}


def line(text: str = "", status: str = "", reason: str = "", rule: str = "") -> dict[str, str]:
    """A line of a section: a text, a badge, the rule behind it, and why."""
    symbol = SYMBOL[status] if status else ""
    return {"text": text, "status": status, "symbol": symbol, "rule": rule, "reason": reason}


def prose_items(
    verdicts: Iterable[Mapping[str, Any]], texts: CellTexts
) -> Iterable[dict[str, Any]]:
    """A section per sentence that has a rule: the rules with their numbers, and every cell."""
    for verdict in verdicts:
        if not (verdict["rule"] or verdict["ours_rule"]):
            continue
        lines = [line(f"“{verdict['sentence']}” ({verdict['place']})", reason=verdict["note"])]
        if verdict["rule"]:
            rule = verdict["paper_numbers"]
            lines.append(line("In the printed numbers:", verdict["paper"], rule=rule))
        if verdict["ours_rule"]:
            reason = f"{verdict['ours_reason']}{' (smoke)' if verdict['smoke'] else ''}"
            lines.append(line("In ours:", verdict["ours"], reason, verdict["ours_numbers"]))
        yield item(
            anchor("prose", verdict["prose_id"]),
            f"prose/{verdict['prose_id']}",
            lines,
            links=_cells_of(verdict, texts),
        )


def _cells_of(verdict: Mapping[str, Any], texts: CellTexts) -> list[dict[str, str]]:
    found = []
    for address in dict.fromkeys([*verdict["cells"], *verdict["ours_cells"]]):
        said = []
        if address in verdict["cells"]:
            said.append(f"printed {texts.claimed(address)}")
        if address in verdict["ours_cells"]:
            said.append(f"measured {texts.measured(address) or 'nothing yet'}")
        found.append(_link(address, cell_link(address), ", ".join(said)))
    return found


def figure_items(
    evidence: Evidence,
    entries: Iterable[Mapping[str, Any]],
    runs: Mapping[str, str],
    texts: CellTexts,
) -> Iterable[dict[str, Any]]:
    """A section per figure: its files and their record, its runs, its cells.

    `runs`: what each run that has a place on the page of runs measured, in words.
    """
    work = evidence.work
    folder = work.relative(work.reports / "figures")
    made = evidence.made(folder)
    name = evidence.maker(folder) or ""
    record = [Step("record", evidence.runs[name].path, evidence.runs[name].sha256)] if name else []
    for entry in entries:
        files = [*entry["files"].values(), "figures.json"]
        digests = {} if made is None else made.files
        steps = [Step("figures", f"{folder}/{file}", digests.get(file, ""), name) for file in files]
        links = [
            _link(row, run_link(row) if row in runs else "", runs.get(row, "not scored"))
            for row in entry["rows"]
        ]
        links += [
            _link(a, cell_link(a), _both(texts.claimed(a), texts.measured(a)))
            for a in entry["cells"]
        ]
        why = entry["reason"]
        yield item(
            anchor("figure", entry["key"]),
            f"figure/{entry['key']}",
            [line(f"{entry['title']}: {entry['state']}", reason=why)],
            steps=[*steps, *record],
            links=links,
        )


def _both(claimed: str, measured: str) -> str:
    said = [f"printed {claimed}"] if claimed else []
    return ", ".join([*said, *([f"measured {measured}"] if measured else [])])


def _link(name: str, link: str, text: str) -> dict[str, str]:
    return {"name": name, "href": beside(link), "text": text}
