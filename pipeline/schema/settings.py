"""Run-time settings: `params.yaml` at the project's root, checked. None changes a result."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.core.workspace import Workspace
from pipeline.schema.base import Strict, load

Count = Annotated[int, Field(ge=0)]


class Settings(Strict):
    """How this machine is used."""

    jobs: Count
    """Rows side by side; 0: one per core."""
    decode_workers: Count | None
    """Decode processes; None: one per core, 0: the stage's own process alone."""


def settings(work: Workspace) -> Settings:
    """The settings of this checkout."""
    return load(Settings, work.root / "params.yaml")
