"""Stage `plan`: resolve the manifests of a profile (see `pipeline.plan`)."""

from __future__ import annotations

from pipeline import plan
from pipeline.workspace import Workspace
from tdn_model.build import locate


def run(work: Workspace) -> int:
    """Write every plan of the profile; returns how many changed."""
    return plan.write(work, plan.resolve(work, locate))
