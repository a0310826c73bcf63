"""Level 0: do README and docs still say what the tables said that were committed with them?

A block of Markdown (a table, a paragraph) that follows

    <!-- quoted: PROFILE DOCUMENT/TABLE -->

holds no number with decimals that the table has not: a line with the label of a row none but that
row's. The tables are those of the last commit, since who runs everything again gets others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.audit.context import Context
from pipeline.audit.links import Level, Link, Status, checked
from pipeline.lineage.evidence import UNREADABLE

_BLOCK = re.compile(r"<!-- quoted: (\S+) (\S+) -->\n+((?:[^\n]+\n)+)")
_NUMBER = re.compile(r"(?<![\w.])[+-]?(\d+)\.(\d+)(?![\w.]*\d)")


def check(context: Context) -> Iterator[Link]:
    """One link per quoted block of this profile."""
    root, profile = context.work.root, context.work.profile
    for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError):
            continue
        for named, table, block in _BLOCK.findall(text):
            if named != profile:
                continue
            place = path.relative_to(root).as_posix()
            source, do = f"quoted:{table}", "write the numbers of the tables, or take the edit back"
            status = Status.RECOMPUTE_MISMATCH
            try:
                wrong = unlike(block, *_committed(context, table))
            except UNREADABLE:
                wrong, status = ["the committed tables do not have it"], Status.UNREADABLE
            yield checked(Level.LOCK, source, "quoted by", place, wrong, status, do)


def _committed(context: Context, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A table and all cells, as the last commit has them (as they are here, without git)."""
    path = context.work.relative(context.work.reports / "tables" / "cells.json")
    text = None if context.commit is None else context.commit.read(path)
    value = json.loads(Path(context.work.root / path).read_bytes() if text is None else text)
    found = [t for t in value["tables"] if f"{t['document']}/{t['table']}" == name]
    return found[0], value["cells"]


def unlike(block: str, table: Mapping[str, Any], cells: Mapping[str, Any]) -> list[str]:
    """The numbers with decimals in a block that its table does not have."""
    means = [mean for order in table.get("means", ()) for mean in order["rows"]]
    rows: dict[str, list[Any]] = {}
    for row in table["rows"]:
        own = rows.setdefault(str(row["label"]), [])
        own += [cells[name] for name in _ids(table, row) if name in cells]
        own += [mean for mean in means if mean["row"] == row["row"]]
    everything = [[table, *rows.values()]]
    wrong = []
    for line in block.splitlines():
        label = line.strip("| ").partition("|")[0].strip()
        known = list(_numbers(rows.get(label, everything)))
        for found in _NUMBER.finditer(line):
            decimals, text = len(found[2]), found[0].lstrip("+")
            if all(f"{value:.{decimals}f}" != text for value in known):
                wrong.append(f"{found[0]} ({label[:40]}) is not in the table")
    return wrong


def _ids(table: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    prefix = f"{table['document']}/{table['table']}/{row['row']}"
    return [f"{prefix}/{column}" for column in row["cells"]]


def _numbers(value: Any) -> Iterator[float]:
    """Every number in a value, those in its texts included."""
    if isinstance(value, str):
        yield from (float(found[0]) for found in _NUMBER.finditer(value))
    elif isinstance(value, int | float):
        yield float(value)
    elif isinstance(value, Mapping | list):
        items: Iterable[Any] = value.values() if isinstance(value, Mapping) else value
        for item in items:
            yield from _numbers(item)
