"""Profiles and their graphs: every profile but `mini` gets its `dvc.yaml` from the root's.

A derived graph lives in `manifests/profiles/<profile>/dvc.yaml` with its own `dvc.lock`. DVC
ignores it until it is switched on by an untracked `.dvcignore` beside it: switching changes no
tracked file and `dvc status` never reports a profile that is not in use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic
from pipeline.core.workspace import Workspace
from pipeline.schema.experiments import Experiment, load_experiments
from pipeline.schema.profiles import Profile, load_profile

DEFAULT = "mini"
_SWITCH = "# Written by `tdn profile use PROFILE`: DVC sees this profile's graph.\n!/dvc.yaml\n"
_HEADER = (
    "# Derived from the root's dvc.yaml, manifests/profiles/{name}.yaml and\n"
    "# manifests/{experiments}: edit those, then run `tdn profile use {name}`.\n"
    "# Run with `dvc repro manifests/profiles/{name}/dvc.yaml`, or `make repro PROFILE={name}`.\n"
)


def graph_path(work: Workspace) -> Path:
    """Where a profile's graph lives."""
    if work.profile == DEFAULT:
        return work.root / "dvc.yaml"
    return work.manifests / "profiles" / work.profile / "dvc.yaml"


def derive(text: str, profile: Profile, rows: Mapping[str, Experiment]) -> str:
    """The root's graph for another profile: its manifests, its working directory.

    Works on the text, so that comments survive. The `mini` stage stays where data are generated.
    Of a profile that runs only some of its file's rows, `rows` are those: they stand in the graph
    itself, with what its stages need to know of them.
    """
    name, experiments = profile.profile, profile.experiments_file
    body = text[text.index("vars:") :]
    body = body.replace("manifests/profiles/mini.yaml", f"../{name}.yaml", 1)
    source = f"  - ../../{experiments}"
    if profile.rows is not None:
        source = "  - experiments:" + "".join(
            f"\n      {key}: {{dataset: {row.dataset}, input: {row.input}, start: {row.start}}}"
            for key, row in rows.items()
        )
    body = re.sub(r"^  - manifests/experiments\.yaml$", source, body, count=1, flags=re.M)
    body = body.replace("manifests/experiments.yaml", f"manifests/{experiments}")
    if not profile.generated:
        body = re.sub(r"^  mini:\n(?:    .*\n|\n)+?(?=^  \w)", "", body, count=1, flags=re.M)
        body = re.sub(r"^.*# generated only\n", "", body, flags=re.M)
    body = re.sub(r"^(\s+)(cmd: )", r"\1wdir: ../../..\n\1\2", body, flags=re.M)
    return _HEADER.format(name=name, experiments=experiments) + body


def sync(work: Workspace) -> Path:
    """Write the profile's derived graph if it is not already so; returns its path."""
    path = graph_path(work)
    if work.profile != DEFAULT:
        write_atomic(path, _derived(work).encode("utf-8"))
    return path


def check(work: Workspace) -> None:
    """Raises UsageError when the profile's graph is there and is not what it would be derived as.

    Rows that a profile chooses stand in its graph, so DVC would go on with those of before.
    """
    path = graph_path(work)
    if work.profile == DEFAULT or not path.is_file():
        return
    if path.read_text(encoding="utf-8") != _derived(work):
        profile = load_profile(work.manifests, work.profile)
        raise UsageError(
            f"the graph of profile {work.profile} is not the one its sources give now: dvc.yaml, "
            f"manifests/profiles/{work.profile}.yaml and manifests/{profile.experiments_file}",
            where=work.relative(path),
            do=f"run `tdn profile use {work.profile}`, then the same command again",
        )


def _derived(work: Workspace) -> str:
    profile = load_profile(work.manifests, work.profile)
    text = (work.root / "dvc.yaml").read_text(encoding="utf-8")
    return derive(text, profile, load_experiments(work.manifests, profile))


def use(work: Workspace) -> str:
    """Switch the profile on; returns the graph's path for `dvc repro`."""
    path = sync(work)
    if work.profile != DEFAULT:
        write_atomic(path.with_name(".dvcignore"), _SWITCH.encode("utf-8"))
    return work.relative(path)


def drop(work: Workspace) -> None:
    """Switch the profile off."""
    if work.profile == DEFAULT:
        raise UsageError("the default profile is always on", do="name another profile")
    load_profile(work.manifests, work.profile)
    graph_path(work).with_name(".dvcignore").unlink(missing_ok=True)


def listing(work: Workspace) -> list[tuple[str, bool, str]]:
    """(name, switched on, title) of every profile."""
    found = []
    for path in sorted((work.manifests / "profiles").glob("*.yaml")):
        profile = load_profile(work.manifests, path.stem)
        on = path.stem == DEFAULT or (path.parent / path.stem / ".dvcignore").is_file()
        found.append((path.stem, on, profile.title))
    return found
