"""Stage `plan`: resolve the manifests of a profile (see `pipeline.lineage.resolve_plans`)."""

from __future__ import annotations

from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace, for_stages, is_own
from pipeline.lineage.resolve_plans import resolve, write
from pipeline.schema.base import nearest
from stages import profile_graph
from stages.networks import Catalogue


def run(work: Workspace, wanted: tuple[str, str] | None = None) -> int:
    """Write every plan of the profile; returns how many changed.

    With `wanted`, a (stage, key) that a user named: UsageError with the nearest key, and nothing
    written, when there is no such plan. Without, for a whole graph: UsageError when the profile's
    derived graph is not up to date.
    """
    if wanted is None:
        profile_graph.check(work)
    if is_own(work.profile) and (wanted is None or wanted[0] == "tables"):
        from pipeline.reporting.prose import check_manifests

        check_manifests(for_stages(work).manifests)
    plans = resolve(work, Catalogue(work.root))
    if wanted is not None and wanted not in plans:
        stage, key = wanted
        known = [name for kind, name in plans if kind == stage]
        raise UsageError(
            f"{stage}: nothing called '{key}' in profile {work.profile}",
            where="manifests/",
            do=nearest(key, known) or f"profile {work.profile} has no stage {stage}",
        )
    return write(work, plans)
