"""The sentences as the report shows them: grouped, with the numbers that their cells have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.reporting.build_tables import number

TITLE = {
    "fails": "contradict the numbers their own texts print",
    "holds": "hold in the numbers their own texts print",
    "undecided": "are decided by no printed number",
    "setting": "state what was done: nothing to recompute",
}


class CellTexts:
    """Cells of cells.json by address, and their numbers as the tables print them."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.cells: Mapping[str, Mapping[str, Any]] = content["cells"]
        self._decimals = {
            (f"{table['document']}/{table['table']}", column["key"]): column["decimals"]
            for table in content["tables"]
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
    """Sentences grouped by what the printed numbers say of them; settings apart.

    `texts` stand beside the verdicts, and their template names the cells.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {key: [] for key in TITLE}
    for verdict in verdicts:
        group = "setting" if verdict["kind"] == "setting" else verdict["paper"]
        cells = verdict["ours_cells"]
        absent = [address for address in cells if texts.cells[address]["measured"] is None]
        groups[group].append({**verdict, "absent": absent})
    tested = [v["ours"] for v in verdicts if v["ours"] != "undecided"]
    return {
        "count": len(verdicts),
        "groups": {key: group for key, group in groups.items() if group},
        "titles": TITLE,
        "texts": texts,
        "ours": {word: tested.count(word) for word in ("holds", "fails")},
        "open": sum(bool(v["ours_rule"]) and v["ours"] == "undecided" for v in verdicts),
    }
