"""`tdn new-dataset`: manifests of the user's own, in `my/`, for the videos in a folder.

What is written is taken from the tracked manifests: the data set from `own_list`, scale and rows
from profile `local` (small) or `paper` (full), the table from that of Weizmann.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic
from pipeline.core.workspace import OWN, Workspace, is_own
from pipeline.schema.base import read_yaml, yaml_text
from pipeline.schema.claims import Claim, ProseClaim
from pipeline.schema.profiles import load_profile
from pipeline.sources.own_videos import TRAIN, VAL, Labelled, OwnVideos, read_own_videos

NETWORKS = {"tsn": "TSN", "tsm": "TSM", "tdn": "TDN"}
_HEADING = "# Written by `tdn new-dataset DIR`; yours to edit. Git ignores this folder.\n"


@dataclass(frozen=True)
class NewDataset:
    """What was made, in names."""

    name: str
    videos: OwnVideos
    rows: list[str]
    full: bool


def run(work: Workspace, place: Path, name: str | None, *, full: bool) -> NewDataset:
    """Write data set, rows, table and profile for the videos at `place` (a folder or a list).

    `full`: at the papers' scale from ImageNet, else narrow networks from scratch. UsageError for
    videos that make no data set, and for names that are taken; then nothing is written.
    """
    name = name or re.sub("[^a-z0-9]+", "_", place.absolute().stem.lower()).strip("_")
    _check_names(work, name)
    if place.resolve().is_relative_to(work.root.resolve()):
        raise UsageError(
            "your videos lie inside the project's folder, where results come and go",
            where=str(place),
            do=f"move them out, `mv {place} ..`, and name that folder",
        )
    videos = read_own_videos(place)
    rows = {network: f"{network}_r50_8f_{name}" for network in NETWORKS}
    files = _files(work, name, videos, rows, full=full)
    _check_free(work, name, files)
    _write(work, name, videos, files)
    return NewDataset(name, videos, list(rows.values()), full)


def _check_names(work: Workspace, name: str) -> None:
    if not is_own(work.profile) or not re.fullmatch("[a-z0-9_]+", work.profile):
        raise UsageError(
            f"'{work.profile}' is no profile of your own",
            do=f"call it `{OWN}`, or `{OWN}_` and small letters, digits, underscores",
        )
    if not re.fullmatch("[a-z0-9_]+", name):
        do = "give --name NAME: small letters, digits and underscores"
        raise UsageError(f"'{name}' cannot be a data set's name", do=do)
    if (work.manifests / "datasets" / f"{name}.yaml").is_file():
        raise UsageError(
            f"there is a tracked data set '{name}'",
            where=f"manifests/datasets/{name}.yaml",
            do="give yours another name with --name NAME",
        )
    if (work.root / OWN / "profiles" / f"{work.profile}.yaml").is_file():
        theirs = ", ".join(load_profile(work.manifests, work.profile).datasets)
        raise UsageError(
            f"there is a profile {work.profile} already, of {theirs}",
            where=f"{OWN}/profiles/{work.profile}.yaml",
            do=f"run it with `tdn repro --profile {work.profile}`, or name another: "
            f"--profile {OWN}_{name}",
        )


def _check_free(work: Workspace, name: str, files: dict[Path, str]) -> None:
    """UsageError where a file or folder of these names holds something else."""
    raw = work.raw(name, generated=False)
    taken = [p for p, text in files.items() if p.exists() and p.read_text("utf-8") != text]
    if raw.is_symlink() or raw.exists():
        taken += [] if raw.is_symlink() and raw.readlink() == _raw(work, name) else [raw]
    if taken:
        raise UsageError(
            f"the name '{name}' is taken",
            where=work.relative(taken[0]),
            do=f"give another with --name NAME, or remove {work.relative(taken[0])}",
        )


def _raw(work: Workspace, name: str) -> Path:
    """The data set's lists, and a link to the videos: what `data/raw/NAME` leads to."""
    return work.root / OWN / "raw" / name


def _write(work: Workspace, name: str, videos: OwnVideos, files: dict[Path, str]) -> None:
    """Write it all, the profile last, or nothing: without a profile no command sees the others."""
    links = {_raw(work, name) / "videos": videos.folder}
    links[work.raw(name, generated=False)] = _raw(work, name)
    for link, target in links.items():
        if link.is_symlink() and link.readlink() != target:
            raise UsageError(
                f"{work.relative(link)} leads to other videos already",
                where=str(link.readlink()),
                do=f"give another name with --name NAME, or remove {work.relative(link)}",
            )
    new = [path for path in (*links, *files) if not (path.is_symlink() or path.exists())]
    try:
        for link, target in links.items():
            if link in new:
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(target, target_is_directory=True)
        for path, text in files.items():
            write_atomic(path, text.encode())
    except BaseException:
        for path in new:
            path.unlink(missing_ok=True)
        raise


def _files(
    work: Workspace, name: str, videos: OwnVideos, rows: dict[str, str], *, full: bool
) -> dict[Path, str]:
    """{path: text} of all that is written, the profile last."""
    own, raw, tracked = work.root / OWN, _raw(work, name), work.manifests
    experiments = f"experiments_{work.profile}.yaml"
    shared = {
        own / "documents.yaml": _yaml(
            {"documents": {OWN: {"title": "My own videos", "about": "Tables of my own data sets"}}}
        ),
        own / "combinations.yaml": _yaml({"combinations": {}}),
        own / "claims.csv": ",".join(Claim.model_fields) + "\n",
        own / "prose_claims.csv": ",".join(ProseClaim.model_fields) + "\n",
    }
    template = "paper" if full else "local"
    profile = read_yaml(tracked / "profiles" / f"{template}.yaml") | {
        "profile": work.profile,
        "title": f"{name}, as profile {template} is run",
        "experiments_file": experiments,
        "datasets": [name],
        "flow": [],
    }
    return {
        **{path: text for path, text in shared.items() if not path.is_file()},
        **{raw / f"{split}.csv": _csv(videos.splits[split]) for split in (TRAIN, VAL)},
        raw / "classes.txt": "".join(f"{label}\n" for label in videos.classes),
        own / "datasets" / f"{name}.yaml": _yaml(_dataset(tracked, name, videos)),
        own / experiments: _yaml({"experiments": _rows(tracked, name, rows, full=full)}),
        own / "tables" / f"{OWN}_{name}.yaml": _yaml(_table(tracked, name, videos, rows)),
        own / "profiles" / f"{work.profile}.yaml": _yaml(profile),
    }


def _dataset(tracked: Path, name: str, videos: OwnVideos) -> dict[str, Any]:
    value: dict[str, Any] = read_yaml(tracked / "datasets" / "own_list.yaml")
    return value | {
        "name": name,
        "title": f"{name} (own videos)",
        "obtain": f"put the videos back where {OWN}/raw/{name}/videos leads",
        "label_order": "file",
        "num_classes": len(videos.classes),
        "options": value["options"]
        | {
            "lists": {split: f"{split}.csv" for split in (TRAIN, VAL)},
            "separator": ",",
            "classes": "classes.txt",
        },
    }


def _rows(tracked: Path, name: str, rows: dict[str, str], *, full: bool) -> dict[str, Any]:
    """One row per network, which differ in the network alone."""
    first, *others = rows.items()
    local = read_yaml(tracked / "experiments_local.yaml")["experiments"]["tsn_r50_8f_weizmann"]
    local.pop("folds")
    entry = local | {"dataset": name, "start": "images" if full else "scratch"}
    bases = {key: {"base": first[1], "architecture": network} for network, key in others}
    return {first[1]: entry | {"architecture": first[0]}, **bases}


def _table(tracked: Path, name: str, videos: OwnVideos, rows: dict[str, str]) -> dict[str, Any]:
    value: dict[str, Any] = read_yaml(tracked / "tables" / "tdn-bench_weizmann.yaml")
    return value | {
        "document": OWN,
        "table": name,
        "caption": f"Networks on {name}.",
        "place": "my own",
        "note": f"{len(videos.splits[TRAIN])} videos to train on, {len(videos.splits[VAL])} to "
        f"validate, {len(videos.classes)} classes. No paper prints these numbers.",
        "only_with_rows": True,
        "headline": list(rows),
        "rows": {
            network: {"label": NETWORKS[network], "run": key} for network, key in rows.items()
        },
    }


def _yaml(value: dict[str, Any]) -> str:
    return _HEADING + yaml_text(value)


def _csv(entries: list[Labelled]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(entries)
    return text.getvalue()
