"""Where everything of one profile lives, relative to the project's root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import UsageError


@dataclass(frozen=True)
class Workspace:
    """The folders of one profile. Pure path arithmetic: creates and reads nothing."""

    root: Path
    profile: str = "mini"

    @property
    def data(self) -> Path:
        return self.root / "data" / self.profile

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def reports(self) -> Path:
        return self.root / "reports" / self.profile

    def raw(self, dataset: str, *, generated: bool) -> Path:
        """The data set in its official layout: below the profile where it is generated, else where
        the user puts it, for all profiles."""
        return (self.data if generated else self.root / "data") / "raw" / dataset

    def generated(self, dataset: str) -> Path:
        """What the miniature generator leaves when the raw folder is complete."""
        return self.data / "raw" / f"{dataset}.generated.json"

    def plan(self, stage: str, key: str) -> Path:
        return self.data / "plan" / f"{stage}.{key}.json"

    def planned_code(self, digest: str) -> Path:
        """The definitions behind a code digest, as planned: no stage depends on it."""
        return self.data / "code" / f"{digest[:16]}.json"

    def code(self, digest: str) -> Path:
        """The definitions behind a code digest that a run record names."""
        return self.reports / "code" / f"{digest[:16]}.json"

    def sources(self, dataset: str) -> Path:
        """The ledger's summary; the ledger itself is the `.parquet` beside it."""
        return self.data / "sources" / f"{dataset}.json"

    def decoded(self, dataset: str) -> Path:
        """What became of the listed videos, in numbers: the store's index without its shards."""
        return self.data / "decoded" / f"{dataset}.json"

    def frames(self, dataset: str) -> Path:
        return self.data / "frames" / dataset

    def flow(self, dataset: str) -> Path:
        """Optical flow between the stored frames, in a store of the same format."""
        return self.data / "flow" / dataset

    def store(self, dataset: str, kind: str) -> Path:
        """The store that a row's clips come from; `kind`: `frames` or `flow`."""
        return self.data / kind / dataset

    def run(self, row: str) -> Path:
        return self.root / "runs" / self.profile / row

    def metrics(self, row: str) -> Path:
        return self.reports / "metrics" / f"{row}.json"

    def record(self, stage: str, key: str) -> Path:
        return self.reports / "records" / stage / f"{key}.json"

    def relative(self, path: Path) -> str:
        """A path as records and messages print it: relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()


OWN = "my"
"""The folder of a user's own manifests, laid out as `manifests/` and beside it; git ignores it."""


def is_own(profile: str) -> bool:
    """Whether a profile is a user's own: `my`, or `my_` and a name."""
    return profile.split("_")[0] == OWN


def manifests_of(manifests: Path, profile: str) -> Path:
    """The folder of what a profile has to itself (its scale, rows, tables, graph): `manifests/`, or
    `my/` beside it for a user's own profile."""
    return manifests.with_name(OWN) if is_own(profile) else manifests


@dataclass(frozen=True)
class _OwnWorkspace(Workspace):
    @property
    def manifests(self) -> Path:
        return self.root / OWN


def for_stages(work: Workspace) -> Workspace:
    """The workspace as stages get it, whose `manifests` is what `manifests_of` names: of all
    manifests they read what a profile has to itself."""
    return _OwnWorkspace(work.root, work.profile) if is_own(work.profile) else work


def seed_suffix(number: int) -> str:
    """What file names of a row's training number `number` (from 0) carry."""
    return f".seed{number}" if number else ""


def find_root(start: Path) -> Path:
    """The project's root: the nearest folder at or above `start` with manifests/ and dvc.yaml."""
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file() and (folder / "manifests").is_dir():
            return folder
    raise UsageError(
        "not inside a tdn-bench checkout",
        where=start.name,
        do="change into the project's folder (the one with dvc.yaml and manifests/)",
    )
