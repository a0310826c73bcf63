"""Profiles: the scale at which rows are run, `manifests/profiles/<profile>.yaml`, checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.core.errors import ManifestError, UsageError
from pipeline.core.files import write_atomic
from pipeline.core.workspace import OWN, is_own, manifests_of
from pipeline.schema.base import Identifier, Strict, load_named, one_of
from pipeline.schema.dataset import Subset
from pipeline.schema.flow_policy import FlowPolicy
from pipeline.schema.miniature import Growth
from pipeline.schema.recipes import Positive, Recipe, Schedules, TrainingRecipe, replaced_by

RESERVED = ("raw", "weights")
"""Folders of data/ that are the user's own: no profile may have them as its folder."""


class BackboneSize(Strict):
    """What a named backbone means in a profile: bottleneck width and blocks per stage."""

    width: Positive
    blocks: Annotated[list[Positive], Field(min_length=4, max_length=4)]


class Stills(Strict):
    """Image pre-training on procedural still images: what a small profile has for ImageNet."""

    images: Positive
    size_px: Annotated[int, Field(ge=16, le=128)]
    epochs: Positive
    batch: Positive
    lr: Annotated[float, Field(gt=0)]
    seed: Annotated[int, Field(ge=0)]


def _unset(value: object) -> bool:
    return not value


def _one(value: int) -> bool:
    return value == 1


class DeviceCompute(Strict):
    """What of the use of a machine changes the last digits of a network's answers."""

    device: Annotated[str, Field(pattern=r"^(cpu|auto|cuda(:\d+)?)$")]
    """`auto` is the accelerator where there is one, else the processor; `cuda:1` the second one."""
    precision: Literal["float32", "tf32", "bfloat16", "float16"] = "float32"
    """Of forward passes; weights, their gradients and the loss are float32 in training. `tf32` is
    float32 whose products an accelerator rounds to 10 bits; `float16` scales its gradients, and
    predictions are then made in float32."""
    threads: Annotated[int, Field(ge=0)]
    """Of torch; 0: as many as torch chooses."""


class TrainingCompute(DeviceCompute):
    """What changes those of a training besides."""

    # Part of a plan only where they are set, so that profiles without them keep their plans.
    micro_batch: Annotated[Positive | None, Field(exclude_if=_unset)] = None
    """Clips of a batch (of one worker's share) computed at a time; gradients are summed up."""
    recompute: Annotated[bool, Field(exclude_if=_unset)] = False
    """Keep no maps inside blocks for the backward pass, but compute them again (activation
    checkpointing): the same numbers, less memory, a third more arithmetic."""
    channels_last: Annotated[bool, Field(exclude_if=_unset)] = False
    """Weights in the layout of the clips, channels last."""
    compile: Annotated[bool, Field(exclude_if=_unset)] = False
    """Train with `torch.compile`."""
    workers: Annotated[Positive, Field(exclude_if=_one)] = 1
    """Processes that share each batch of a training; on accelerators, one each."""
    sync_bn: Annotated[bool, Field(exclude_if=_unset)] = False
    """Batch norms over the whole batch of all workers, not over each worker's micro-batch."""


class PredictCompute(DeviceCompute):
    """The same for predictions."""

    eval_batch: Positive
    """Views in a batch."""


class Compute(PredictCompute, TrainingCompute):
    """All that a profile says of it."""


class Loader(Strict):
    """How clips are loaded and trainings saved. Changes no result: part of no plan."""

    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that load ahead; 0: the stage's own."""
    cache_mb: Annotated[int, Field(ge=0)] = 0
    """Decoded training frames kept in memory."""
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10.0
    """Between two checkpoints of a training, from which it goes on after a kill; 0: every step."""


class DeclaredSubset(Strict):
    """A part of a data set, and why the rest is not here."""

    reason: Annotated[str, Field(min_length=3)]
    """Stands beside every number that comes of it."""
    videos: Annotated[str, Field(pattern=r"^[^/.:][^/:]*(/[^/.:][^/:]*)*$")] | None = None
    """A file in this checkout with one video id a line; null: the videos whose files are here."""

    def of(self, root: Path, where: str) -> Subset:
        """With the ids that its file lists; ManifestError when there is none."""
        if self.videos is None:
            return Subset(reason=self.reason, videos=None)
        path = root / self.videos
        lines = path.read_text("utf-8").split("\n") if path.is_file() else []
        if not (ids := sorted({line.strip() for line in lines} - {""})):
            raise ManifestError(
                f"there is no list of videos {self.videos}",
                where=where,
                do="write one video id a line into it, or take the line `videos:` away",
            )
        return Subset(reason=self.reason, videos=ids)


class Profile(Strict):
    profile: Identifier
    title: str
    smoke: bool
    generated: bool
    """The raw data are generated, into `data/<profile>/raw`; else the user puts them into
    `data/raw`, where nothing of ours ever writes."""
    experiments_file: str
    rows: Annotated[list[Identifier], Field(min_length=1)] | None = None
    """Those of the file's rows that the profile runs, null for all; of others tables cite."""
    datasets: list[Identifier]
    backbones: dict[Identifier, BackboneSize]
    images: Literal["imagenet", "none"] | Stills
    """What rows that start from `images` start from."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Added to the seed of every row and of image pre-training: another one repeats the whole
    profile with other random numbers (`make repro SEED=7`)."""
    seeds: Positive = 1
    """How often each row is trained, from seeds one after another, and image pre-training with it;
    tables show the mean."""
    flow: list[Identifier]
    """Data sets whose optical flow is computed and stored; may be empty."""
    flow_policy: FlowPolicy | None = None
    """How it is computed; needed where `flow` names a data set."""
    miniatures: dict[Identifier, Growth] = Field(default_factory=dict)
    """Data sets whose miniature is generated at another size than its manifest states."""
    subsets: dict[Identifier, DeclaredSubset] = Field(default_factory=dict)
    """Data sets of which a part is here, on purpose: no number of theirs is compared."""
    sizes_px: dict[int, int]
    """The pixels that stand for each size of the papers."""
    schedules: Schedules | None
    compute: Compute
    loader: Loader = Loader()

    @model_validator(mode="after")
    def _keeps_apart_from_the_users_data(self) -> Profile:
        if self.profile in RESERVED:
            raise ValueError(f"no profile is called {' or '.join(RESERVED)}")
        for name in self.miniatures:
            if not self.generated or name not in self.datasets:
                raise ValueError(f"miniatures names '{name}', which this profile does not generate")
        for name in self.subsets:
            if self.generated or name not in self.datasets:
                raise ValueError(f"subsets names '{name}', of which this profile has no real data")
        return self

    @model_validator(mode="after")
    def _flow_is_possible(self) -> Profile:
        unknown = [name for name in self.flow if name not in self.datasets]
        if unknown:
            raise ValueError(f"flow names '{unknown[0]}', which is not in datasets")
        if self.flow and self.flow_policy is None:
            raise ValueError("flow needs a flow_policy")
        return self

    @property
    def where(self) -> str:
        """The profile's manifest, as messages name it."""
        return f"{self._folder}/profiles/{self.profile}.yaml"

    @property
    def rows_where(self) -> str:
        """The file of its rows, as messages name it."""
        return f"{self._folder}/{self.experiments_file}"

    @property
    def _folder(self) -> str:
        return manifests_of(Path("manifests"), self.profile).name

    def why_subset(self, dataset: str) -> str:
        """Why a part of a data set is here; empty where all of it is meant to be."""
        return self.subsets[dataset].reason if dataset in self.subsets else ""

    def size_px(self, paper_px: int) -> int:
        """A paper's size in pixels as this profile has it."""
        if paper_px not in self.sizes_px:
            raise ManifestError(
                f"the profile has no size for the papers' {paper_px} px",
                where=f"{self.where}, sizes_px",
                do=f"add {paper_px}: its size in this profile",
            )
        return self.sizes_px[paper_px]

    def scaled(self, recipe: Recipe) -> TrainingRecipe:
        """A recipe as this profile trains by it: its schedule, and its crop in pixels."""
        values = recipe.model_dump(exclude={"source", "kind"})
        if self.schedules is not None:
            values |= replaced_by(recipe, self.schedules)
        return TrainingRecipe.model_validate(values | {"crop_px": self.size_px(recipe.crop_px)})


def load_profile(manifests: Path, name: str) -> Profile:
    """The profile called `name`; a UsageError naming the nearest one when there is none."""
    folder = manifests_of(manifests, name) / "profiles"
    if is_own(name) and not folder.is_dir():
        raise UsageError(
            f"there is no profile {name} of your own yet",
            where=f"{OWN}/profiles/",
            do=f"`tdn new-dataset DIR --profile {name}` makes it for your videos in DIR",
        )
    return load_named(Profile, folder, name, "profile", "profile")


def profile_names(manifests: Path) -> list[str]:
    """Every profile, the user's own last."""
    folders = (manifests / "profiles", manifests.with_name(OWN) / "profiles")
    return [path.stem for folder in folders for path in sorted(folder.glob("*.yaml"))]


def write_seed(manifests: Path, name: str, seed: int) -> str:
    """Make `seed` the profile's; what was done, in a line, '' when it was so before.

    Raises ManifestError when the manifest has no line for it.
    """
    known = load_profile(manifests, name)
    if known.seed == seed:
        return ""
    path = manifests_of(manifests, name) / "profiles" / f"{name}.yaml"
    before = path.read_bytes()
    after, count = re.subn(rb"(?m)^seed:[ ]*\d+", f"seed: {seed}".encode(), before)
    if count != 1:
        raise ManifestError(
            f"the profile has {count} lines `seed: NUMBER`, where one is needed",
            where=known.where,
            do=f"write one line `seed: {seed}` into it",
        )
    write_atomic(path, after)
    undo = "" if is_own(name) else f" (`git checkout {known.where}` takes it back)"
    return f"{known.where}: seed {known.seed} -> {seed}{undo}"


def known_dataset(manifests: Path, profile: str, name: str) -> None:
    """UsageError naming the nearest one when the profile has no data set `name`."""
    known = load_profile(manifests, profile)
    what = f"profile {profile} has no data set '{name}'"
    one_of(name, known.datasets, what, where=f"{known.where}, datasets")
