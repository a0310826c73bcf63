"""The sentences as the report shows them: grouped, each verdict with links to its cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from pipeline.reporting.anchors import cell_link, linked, prose_link, value
from pipeline.reporting.build_tables import number
from pipeline.reporting.report_view import SYMBOL

TITLE = {
    "fails": "contradict the numbers their own texts print",
    "holds": "hold in the numbers their own texts print",
    "undecided": "are decided by no printed number",
    "setting": "state what was done: nothing to recompute",
}
SHOWN = 4
"""Cells named beside a verdict; its trace has them all."""


class CellTexts:
    """Cells of cells.json by address, and their numbers as the tables print them."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.cells: Mapping[str, Mapping[str, Any]] = found["cells"]
        self._decimals = {
            (f"{table['document']}/{table['table']}", column["key"]): column["decimals"]
            for table in found["tables"]
            for column in table["columns"]
        }

    def claimed(self, address: str) -> str:
        """What the paper prints there; '' for nothing."""
        return self.cells[address]["claimed"] or ""

    def measured(self, address: str) -> str:
        """What was measured here, with the column's decimals; '' for nothing."""
        document, table, _, column = address.split("/")
        decimals = self._decimals[f"{document}/{table}", column]
        return number(self.cells[address]["measured"], decimals)


def prose_view(verdicts: Sequence[Mapping[str, Any]], texts: CellTexts) -> dict[str, Any]:
    """Sentences grouped by what the printed numbers say of them; settings apart."""
    groups: dict[str, list[Mapping[str, Any]]] = {key: [] for key in TITLE}
    for verdict in verdicts:
        group = "setting" if verdict["kind"] == "setting" else verdict["paper"]
        groups[group].append(_verdict_view(verdict, texts))
    tested = [v for v in verdicts if v["ours"] != "undecided"]
    return {
        "count": len(verdicts),
        "groups": [
            {"key": key, "title": TITLE[key], "symbol": SYMBOL[key], "verdicts": found}
            for key, found in groups.items()
            if found
        ],
        "ours": {word: sum(v["ours"] == word for v in tested) for word in ("holds", "fails")},
        "open": sum(bool(v["ours_rule"]) and v["ours"] == "undecided" for v in verdicts),
    }


def _verdict_view(verdict: Mapping[str, Any], texts: CellTexts) -> dict[str, Any]:
    """The verdict with `paper_said` and `ours_said`: numbers that lead to their cells."""
    computed = verdict["rule"] or verdict["ours_rule"]
    return {
        **verdict,
        "trace": prose_link(verdict["prose_id"]) if computed else "",
        "paper_said": _named(verdict, verdict["cells"], texts.claimed),
        "ours_said": _ours(verdict, texts),
    }


def _ours(verdict: Mapping[str, Any], texts: CellTexts) -> Markup:
    """Why ours is what it is: our numbers, or the cells that lack one."""
    cells = verdict["ours_cells"]
    absent = [address for address in cells if texts.cells[address]["measured"] is None]
    if absent:
        return escape("not measured: ") + _named(verdict, absent, None)
    reason = linked(verdict["ours_reason"], prose_link(verdict["prose_id"]))
    return reason + escape(": " if cells else "") + _named(verdict, cells, texts.measured)


def _named(
    verdict: Mapping[str, Any], addresses: Sequence[str], text_of: Callable[[str], str] | None
) -> Markup:
    """'1d/tdm/flops 36, …' with each number (each name where there is none) leading to its cell,
    and all of them to the trace."""
    found = []
    for address in addresses[:SHOWN]:
        name, link = cell_name(address, verdict["document"]), cell_link(address)
        if text_of is None:
            found.append(value(name, link))
        else:
            found.append(escape(f"{name} ") + value(text_of(address), link))
    shown = Markup(", ").join(found)
    if len(addresses) > SHOWN:
        more = f"{len(addresses) - SHOWN} more"
        shown += escape(" and ") + value(more, prose_link(verdict["prose_id"]))
    return shown


def cell_name(address: str, document: str) -> str:
    """A cell as rules write it: its document only where it is another than the sentence's."""
    own, _, rest = address.partition("/")
    return rest if own == document else f"{own}:{rest}"
