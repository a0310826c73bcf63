"""Stage `plan`: resolve the manifests of a profile (see `pipeline.plan`)."""

from __future__ import annotations

from pipeline import plan
from pipeline.workspace import Workspace
from stages.catalogue import Catalogue


def run(work: Workspace) -> int:
    """Write every plan of the profile; returns how many changed."""
    return plan.write(work, plan.resolve(work, Catalogue(work.root)))
