"""`tdn new-dataset`: manifests of the user's own, in `my/`, for the videos in a folder.

What is written is taken from the tracked manifests: the data set from `own_list`, scale and rows
from profile `local` (small) or `paper` (full), the table from that of Weizmann.
"""

from __future__ import annotations

import csv
import io
import re
from contextlib import suppress
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
FROM_WEIGHTS = "from_weights"
"""The table's key of the row that starts from a file."""
_HEADING = "# Written by `tdn new-dataset DIR`; yours to edit. Git ignores this folder.\n"


@dataclass(frozen=True)
class NewDataset:
    """What was made, in names."""

    name: str
    videos: OwnVideos
    rows: list[str]
    full: bool


@dataclass(frozen=True)
class Weights:
    """A file of weights that one more network starts from."""

    file: Path
    architecture: str
    backbone: str
    segments: int | None
    """None: whatever the other rows take."""

    @property
    def place(self) -> str:
        """Where rows find it, from the project's top."""
        return f"data/weights/{self.file.name}"


def run(
    work: Workspace, place: Path, name: str | None, *, full: bool, checkpoint: Path | None = None
) -> NewDataset:
    """Write data set, rows, table and profile for the videos at `place` (a folder or a list).

    `full`: at the papers' scale from ImageNet, else narrow networks from scratch. `checkpoint`: a
    published file, from whose weights one more row of its network starts. UsageError for videos
    that make no data set, a file that fits no network of that scale, and for names that are taken;
    then nothing is written.
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
    template = read_yaml(work.manifests / "profiles" / f"{'paper' if full else 'local'}.yaml")
    weights = None if checkpoint is None else _weights(checkpoint, template["backbones"])
    rows = {network: f"{network}_r50_8f_{name}" for network in NETWORKS}
    if weights is not None:
        rows[FROM_WEIGHTS] = f"{weights.architecture}_from_weights_{name}"
    files = _files(work, name, videos, rows, weights, template, full=full)
    _check_free(work, name, files, weights)
    links = {_raw(work, name) / "videos": videos.folder}
    links[work.raw(name, generated=False)] = _raw(work, name)
    if weights is not None and (own := work.root / weights.place).resolve() != weights.file:
        links[own] = weights.file
    _write(work, links, files)
    return NewDataset(name, videos, list(rows.values()), full)


def _weights(file: Path, backbones: dict[str, Any]) -> Weights:
    """Which network a published file is of, at the size of one of a profile's `backbones`."""
    from stages.import_weights import read_checkpoint  # loads torch
    from tdn_model.published import KEY_MAPS, import_official, official_shape

    state = read_checkpoint(file)
    shape = official_shape(state)
    for backbone, size in backbones.items():
        for architecture in KEY_MAPS:
            segments = shape.segments or 8
            with suppress(ValueError, IndexError):
                import_official(
                    architecture, state, backbone=backbone, num_segments=segments, **size
                )
                return Weights(file.absolute(), architecture, backbone, shape.segments)
    sizes = ", ".join(f"{name} of width {size['width']}" for name, size in backbones.items())
    raise UsageError(
        f"its weights fit none of {', '.join(KEY_MAPS)} on {sizes}",
        where=file.name,
        do="published files are of full networks: add --full; "
        "`tdn import-checkpoint FILE --architecture tdn --out OUT` says which tensors do not fit",
    )


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


def _check_free(
    work: Workspace, name: str, files: dict[Path, str], weights: Weights | None
) -> None:
    """UsageError where a file or folder of these names holds something else."""
    raw = work.raw(name, generated=False)
    taken = [p for p, text in files.items() if p.exists() and p.read_text("utf-8") != text]
    if raw.is_symlink() or raw.exists():
        taken += [] if raw.is_symlink() and raw.readlink() == _raw(work, name) else [raw]
    if weights is not None and not _is_or_may_be(work.root / weights.place, weights.file):
        raise UsageError(
            "there are other weights of that name",
            where=weights.place,
            do=f"rename your file, or remove {weights.place}",
        )
    if taken:
        raise UsageError(
            f"the name '{name}' is taken",
            where=work.relative(taken[0]),
            do=f"give another with --name NAME, or remove {work.relative(taken[0])}",
        )


def _is_or_may_be(place: Path, file: Path) -> bool:
    return not place.exists() or place.resolve() == file.resolve()


def _raw(work: Workspace, name: str) -> Path:
    """The data set's lists, and a link to the videos: what `data/raw/NAME` leads to."""
    return work.root / OWN / "raw" / name


def _write(work: Workspace, links: dict[Path, Path], files: dict[Path, str]) -> None:
    """Write it all, the profile last, or nothing: without a profile no command sees the others."""
    for link, target in links.items():
        if link.is_symlink() and link.readlink() != target:
            raise UsageError(
                f"{work.relative(link)} leads elsewhere already",
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
    work: Workspace,
    name: str,
    videos: OwnVideos,
    rows: dict[str, str],
    weights: Weights | None,
    template: dict[str, Any],
    *,
    full: bool,
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
    profile = template | {
        "profile": work.profile,
        "title": f"{name}, as profile {template['profile']} is run",
        "experiments_file": experiments,
        "datasets": [name],
        "flow": [],
    }
    return {
        **{path: text for path, text in shared.items() if not path.is_file()},
        **{raw / f"{split}.csv": _csv(videos.splits[split]) for split in (TRAIN, VAL)},
        raw / "classes.txt": "".join(f"{label}\n" for label in videos.classes),
        own / "datasets" / f"{name}.yaml": _yaml(_dataset(tracked, name, videos)),
        own / experiments: _yaml({"experiments": _rows(tracked, name, rows, weights, full=full)}),
        own / "tables" / f"{OWN}_{name}.yaml": _yaml(_table(tracked, name, videos, rows, weights)),
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


def _rows(
    tracked: Path, name: str, rows: dict[str, str], weights: Weights | None, *, full: bool
) -> dict[str, Any]:
    """One row per network, which differ in the network alone, and one that starts from weights:
    those are a row of their own, whose classifier is new."""
    base = rows["tsn"]
    local = read_yaml(tracked / "experiments_local.yaml")["experiments"]["tsn_r50_8f_weizmann"]
    local.pop("folds")
    entry = local | {"dataset": name, "start": "images" if full else "scratch"}
    entries: dict[str, Any] = {base: entry | {"architecture": "tsn"}}
    for network in list(NETWORKS)[1:]:
        entries[rows[network]] = {"base": base, "architecture": network}
    if weights is not None:
        imported = f"{weights.architecture}_weights_{name}"
        own: dict[str, Any] = {"architecture": weights.architecture, "backbone": weights.backbone}
        own |= {} if weights.segments is None else {"segments": weights.segments}
        file = {"checkpoint": weights.place, "classifier": "new"}
        entries[imported] = {"base": base, **own, "start": file, "train": "none"}
        entries[rows[FROM_WEIGHTS]] = {"base": base, **own, "start": imported}
    return entries


def _table(
    tracked: Path, name: str, videos: OwnVideos, rows: dict[str, str], weights: Weights | None
) -> dict[str, Any]:
    labels = dict(NETWORKS)
    if weights is not None:
        network = NETWORKS.get(weights.architecture, weights.architecture.upper())
        labels[FROM_WEIGHTS] = f"{network}, from {weights.file.name}"
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
        "rows": {network: {"label": labels[network], "run": key} for network, key in rows.items()},
    }


def _yaml(value: dict[str, Any]) -> str:
    return _HEADING + yaml_text(value)


def _csv(entries: list[Labelled]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(entries)
    return text.getvalue()
