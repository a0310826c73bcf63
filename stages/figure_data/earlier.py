"""Figures of an earlier run that are still valid: all that they were drawn from is unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.core.files import read_json, sha256_file, sha256_json, sha256_path
from pipeline.schema.figure_list import AnyFigure, Cost
from stages.figure_data.figure_inputs import Context

_DRAWN_WITH = ("matplotlib", "torch", "numpy")


class Earlier:
    """The entries of figures.json as it stands, by key; none without the digest of the code."""

    def __init__(self, folder: Path, code: str) -> None:
        self._folder = folder
        self._made_with = [code, *(metadata.version(name) for name in _DRAWN_WITH)]
        self._entries: dict[str, dict[str, Any]] = {}
        path = folder / "figures.json"
        if code and path.is_file():
            with suppress(ValueError, KeyError, TypeError):  # damaged: everything is drawn again
                self._entries = {entry["key"]: entry for entry in read_json(path)["figures"]}

    def address(self, made_from: Any) -> str:
        """One digest of code, versions and `made_from`, a JSON value."""
        return sha256_json([*self._made_with, made_from])

    def find(self, key: str, address: str) -> dict[str, Any] | None:
        """The entry of a figure of that address, whose files are as they were written."""
        entry = self._entries.get(key, {})
        if entry.get("made_from") != address or not entry.get("files"):
            return None
        files, digests = entry["files"], entry["sha256"]
        if any(sha256_path(self._folder / files[kind]) != digests[kind] for kind in files):
            return None
        return entry

    def describe(self, entry: Mapping[str, Any], address: str) -> dict[str, Any]:
        """The entry of a new figure, with its address and the digests of its files."""
        digests = {kind: sha256_file(self._folder / f) for kind, f in entry["files"].items()}
        return {**entry, "made_from": address, "sha256": digests}


def made_from(context: Context, name: str, figure: AnyFigure) -> Any:
    """All that a figure of rows is drawn from, as a JSON value: its entry in the manifest, its
    rows' plans and results, and of the tables what it shows."""
    work, plan = context.work, context.plan
    rows: dict[str, Any] = {}
    for row in figure.rows_named:
        planned = plan.rows.get(row)
        if planned is None:
            rows[row] = None
            continue
        data = planned.data.name
        folders = [work.run(row) / part for part in ("train", "predict", "scores")]
        files = [work.metrics(row), *(file for f in folders if f.is_dir() for file in f.iterdir())]
        files.append(work.store(data, planned.data.input) / "index.json")
        rows[row] = {
            "plan": planned.model_dump(mode="json"),
            "dataset": plan.datasets[data].model_dump(mode="json"),
            "files": {work.relative(file): sha256_path(file) for file in sorted(files)},
        }
    content: dict[str, Any] = {"name": name, "figure": figure.model_dump(mode="json"), "rows": rows}
    if isinstance(figure, Cost):
        table = figure.printed.table
        content["costs"] = {row: context.costs.get(row) for row in figure.rows_named}
        content["cells"] = {c: v for c, v in context.cells.items() if c.startswith(f"{table}/")}
        content["tables"] = [context.tables[table]] if table in context.tables else []
    return {**content, "smoke": plan.smoke, "profile": plan.profile}
