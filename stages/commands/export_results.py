"""`tdn results`: all numbers of a profile as one JSON document."""

from __future__ import annotations

from pipeline.core.errors import AbsentData
from pipeline.core.files import json_bytes
from pipeline.core.workspace import Workspace
from pipeline.reporting import results_file


def run(work: Workspace, *, schema: bool = False) -> str:
    """The document, or its JSON Schema. Raises AbsentData when the tables were not made."""
    if schema:
        return json_bytes(results_file.schema()).decode()
    if not (work.reports / "tables" / "cells.json").is_file():
        raise AbsentData(
            "there are no tables to print",
            where=work.relative(work.reports / "tables"),
            do=f"run `tdn tables --profile {work.profile}`",
        )
    found = results_file.collect(work)
    return json_bytes(found.model_dump(mode="json")).decode()
