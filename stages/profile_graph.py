"""Profiles and their graphs: one text, the root's `dvc.yaml`, and one file of values per profile.

`manifests/profiles/<profile>/graph.yaml` holds what the graph runs over: the profile's data sets
and rows, resolved from the manifests. Profile `mini` is the root's graph; any other has a copy of
the text beside its values, with its own `dvc.lock`. DVC ignores it until it is switched on by an
untracked `.dvcignore` there: switching changes no tracked file and `dvc status` never reports a
profile that is not in use.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic
from pipeline.core.workspace import OWN, Workspace, is_own, manifests_of
from pipeline.schema.experiments import load_experiments, starts
from pipeline.schema.profiles import Profile, load_profile, profile_names

DEFAULT = "mini"
VALUES = "graph.yaml"
_OWN_DEPS = (
    r"^( +- )manifests/(claims\.csv|combinations\.yaml|documents\.yaml|prose_claims\.csv|tables|"
    r"profiles/\$\{profile\}\.yaml|\$\{experiments_file\})"
)
"""Lines that name what a profile has to itself."""
_SWITCH = "# Written by `tdn profile use PROFILE`: DVC sees this profile's graph.\n!/dvc.yaml\n"
_HEADER = "# Derived from {sources}:\n# edit those, then run `tdn profile use {name}`.\n"


def graph_path(work: Workspace) -> Path:
    """Where a profile's graph lives."""
    return work.root / "dvc.yaml" if work.profile == DEFAULT else _folder(work) / "dvc.yaml"


def _folder(work: Workspace) -> Path:
    return manifests_of(work.manifests, work.profile) / "profiles" / work.profile


def derived(work: Workspace) -> dict[Path, str]:
    """The files of a profile's graph that follow from others, and what they are to hold."""
    profile = load_profile(work.manifests, work.profile)
    files = {_folder(work) / VALUES: _values(work, profile)}
    if work.profile != DEFAULT:
        files[graph_path(work)] = _graph((work.root / "dvc.yaml").read_text("utf-8"), profile)
    return files


def _values(work: Workspace, profile: Profile) -> str:
    """What the graph runs over, as YAML with a line per row."""
    sources = f"{profile.where} and {profile.rows_where}"
    rows = load_experiments(work.manifests, profile)
    lines = [
        f"profile: {profile.profile}",
        f"experiments_file: {profile.experiments_file}",
        f"datasets: [{', '.join(profile.datasets)}]",
        f"generated: [{', '.join(profile.datasets if profile.generated else [])}]",
        f"flow: [{', '.join(profile.flow)}]",
        f"starts: [{', '.join(starts(rows))}]",
        "experiments:",
    ]
    for key, row in rows.items():
        about = f"dataset: {row.dataset}, input: {row.input}, start: {row.begins}"
        lines.append(f"  {key}: {{{about}}}")
    return _HEADER.format(sources=sources, name=profile.profile) + "\n".join(lines) + "\n"


def _graph(text: str, profile: Profile) -> str:
    """The root's graph for another profile: its values, its working directory."""
    body = text[text.index("vars:") :].replace(f"manifests/profiles/{DEFAULT}/{VALUES}", VALUES, 1)
    if not profile.generated:
        body = re.sub(r"^.*# generated only\n", "", body, flags=re.M)
    if is_own(profile.profile):
        body = re.sub(_OWN_DEPS, rf"\1{OWN}/\2", body, flags=re.M)
        body = re.sub(
            r"^( +- )(manifests/datasets)\n", rf"\g<0>\1{OWN}/datasets\n", body, flags=re.M
        )
    # Only stages have a working directory; all else is relative to the graph's own folder.
    body = re.sub(rf"^  - ((?:manifests|reports|{OWN})/)", r"  - ../../../\1", body, flags=re.M)
    body = re.sub(r"^(\s+)(cmd: )", r"\1wdir: ../../..\n\1\2", body, flags=re.M)
    return _HEADER.format(sources="the root's dvc.yaml", name=profile.profile) + body


def check(work: Workspace) -> None:
    """Raises UsageError when a derived file is there and not what it would be derived as.

    DVC would go on with the rows and stages of before.
    """
    for path, text in derived(work).items():
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise UsageError(
                f"the graph of profile {work.profile} is older than the manifests or dvc.yaml",
                where=work.relative(path),
                do=f"run `tdn profile use {work.profile}`, then the same command again",
            )


def use(work: Workspace) -> str:
    """Derive the graph and switch the profile on; returns the graph's path for `dvc repro`."""
    for path, text in derived(work).items():
        write_atomic(path, text.encode("utf-8"))
    graph = graph_path(work)
    if work.profile != DEFAULT:
        write_atomic(graph.with_name(".dvcignore"), _SWITCH.encode("utf-8"))
    return work.relative(graph)


def is_used(work: Workspace) -> bool:
    """Whether the profile is switched on."""
    return work.profile == DEFAULT or graph_path(work).with_name(".dvcignore").is_file()


def drop(work: Workspace) -> None:
    """Switch the profile off."""
    if work.profile == DEFAULT:
        raise UsageError("the default profile is always on", do="name another profile")
    load_profile(work.manifests, work.profile)
    graph_path(work).with_name(".dvcignore").unlink(missing_ok=True)


def listing(work: Workspace) -> list[tuple[str, bool, str]]:
    """(name, switched on, title) of every profile."""
    listed = []
    for name in profile_names(work.manifests):
        title = load_profile(work.manifests, name).title
        listed.append((name, is_used(Workspace(work.root, name)), title))
    return listed
