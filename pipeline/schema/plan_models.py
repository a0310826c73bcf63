"""Plans as types: what each stage is given. `resolve_plans` writes them, `stages.graph` reads them.

A plan holds what changes the stage's result, and nothing else: another value in it runs the stage
again.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pipeline.core.errors import ManifestError, UsageError
from pipeline.schema.base import Identifier, Strict, validate
from pipeline.schema.dataset import Clusters, Dataset, PartOfDataset
from pipeline.schema.experiments import Checkpoint, Option
from pipeline.schema.figure_list import OrderedFigures
from pipeline.schema.flow_policy import FlowPolicy
from pipeline.schema.miniature import Miniature
from pipeline.schema.network_list import Ensemble, Network
from pipeline.schema.profiles import (
    BackboneSize,
    DeviceCompute,
    PredictCompute,
    Stills,
    TrainingCompute,
)
from pipeline.schema.protocols import Aggregate, EvalViews
from pipeline.schema.recipes import TrainingRecipe

Input = Literal["frames", "flow"]


class MiniPlan(Strict):
    """A miniature data set to generate."""

    miniature: Miniature


class CheckPlan(Strict):
    """A data set to hold against its lists."""

    dataset: PartOfDataset | Dataset
    generated: bool
    raw: str | None
    """Digest of the names and sizes in the user's raw folder, so that new data are noticed; None
    where it is absent or generated."""


class DecodePlan(Strict):
    """A data set to decode."""

    dataset: Dataset
    generated: bool


class FlowPlan(Strict):
    """How optical flow is computed."""

    policy: FlowPolicy


class StillsTraining(Stills):
    """Image pre-training on procedural stills."""

    weight_decay: float
    compute: DeviceCompute


class PretrainPlan(Strict):
    """Initial weights that are no row's."""

    kind: Literal["scratch", "stills", "imagenet"]
    backbone: str = ""
    size: BackboneSize | None = None
    """None with `scratch`, as is the backbone's name."""
    local_bytes: int | None = None
    """Size of the backbone's local ImageNet file, so that a new one is noticed."""
    stills: StillsTraining | None = None
    seeds: int = 1
    """Trainings on stills, from the stills' seed on: one for each training of a row."""


class RowData(Strict):
    """The data set of a row."""

    name: str
    input: Input
    generated: bool
    multi_label: bool


class NetworkSpec(Strict):
    """A network at its profile's size, but for the number of classes, which the data set knows."""

    architecture: str
    factory: str
    """Where it is built, "module:name"."""
    backbone: str
    segments: int
    width: int
    blocks: list[int]
    options: dict[str, Option]


class StartSpec(Strict):
    """The weights that a row starts from."""

    kind: Literal["scratch", "images", "row"]
    source: str
    """`scratch`, `images_BACKBONE` or a row."""
    images: str | None = None
    """The image pre-training that the row uses, as its source or beside it."""
    two_stream: bool
    """The source is the image network alone; the difference network starts from `images`."""
    keep_classifier: bool
    """The source is a row on the same data set, so that its classes are the same."""
    own_images: bool = False
    """Every training of the row has an image pre-training of its own; else there is one for all."""
    imported: bool = Field(default=False, exclude_if=lambda value: not value)
    """The source's weights are a file's: one set for every training of the row."""


class TrainPlan(Strict):
    """A row to train."""

    row: str
    smoke: bool
    data: RowData
    split: str
    flip_pairs: list[list[str]]
    """Classes that change places when a clip is mirrored."""
    validation_split: str | None = None
    validation: EvalViews | None = None
    """The views a plateau is seen by (recipe `decay: plateau`)."""
    network: NetworkSpec
    recipe: TrainingRecipe
    start: StartSpec
    seed: int
    seeds: int
    """Trainings, from `seed` on."""
    compute: TrainingCompute


class CheckpointFile(Checkpoint):
    """A file of weights, and digests that tell when it, or its class names, changes."""

    sha256: str | None
    """None where the file is not there."""
    class_names_sha256: str | None


class ImportPlan(Strict):
    """A row whose weights are a file's."""

    row: str
    smoke: bool
    data: RowData
    network: NetworkSpec
    checkpoint: CheckpointFile


class PredictPlan(Strict):
    """A trained row to test."""

    row: str
    smoke: bool
    data: RowData
    split: str
    network: NetworkSpec
    protocols: dict[str, EvalViews]
    seed: int
    seeds: int
    compute: PredictCompute


class ScorePlan(Strict):
    """A row's predictions to score."""

    row: str
    profile: str
    smoke: bool
    dataset: str
    fold: str
    metric: Literal["top1", "map"]
    seed: int
    seeds: int
    identity: str
    """Of all that decides the result besides seeds, code and machine."""
    protocols: dict[str, Aggregate]
    clusters: Clusters | None = None
    miniature: Miniature | None = None
    """Of generated data, whose scenes are the clusters."""
    official: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """Videos of the test split as its publishers count them; None where nothing is known of it."""
    subset: str = Field(default="", exclude_if=lambda value: not value)
    """Why a part of them is scored, on purpose."""


class ImportedScorePlan(ScorePlan):
    """The predictions of a row whose weights are a file's."""

    checkpoint: str


class CountedNetwork(Strict):
    """A row's network at the paper's size, whatever the profile."""

    architecture: str
    backbone: str
    segments: int
    options: dict[str, Option]
    num_classes: int
    side_px: int


class CostPlan(Strict):
    """The networks to count."""

    rows: dict[str, CountedNetwork]
    networks: dict[str, Network] = Field(default_factory=dict)
    ensembles: dict[str, Ensemble] = Field(default_factory=dict)


class TablesPlan(Strict):
    """The rows in the tables; digests of the manifests and timings that the tables are made of."""

    profile: str
    smoke: bool
    rows: list[str]
    manifests: dict[str, str] = Field(default_factory=dict)
    timings: dict[str, str] = Field(default_factory=dict)
    reference: str | None = None
    """Digest of the profile's reference distribution."""


class FigureData(Strict):
    """A data set in a figure."""

    title: str
    split: str
    """The test videos of its first fold."""
    miniature: Miniature | None


class FiguresPlan(Strict):
    """The figures to draw, and the rows and data sets in them."""

    profile: str
    smoke: bool
    figures: OrderedFigures
    rows: dict[str, PredictPlan]
    datasets: dict[str, FigureData]


class ReversedPair(Strict):
    """Two classes of generated data of which one is the other played backwards."""

    forward: str
    backward: str
    decided_by: str


class Generated(Strict):
    """What the report says of generated data: the bound of functions that ignore the order of
    frames, and the pairs of classes."""

    order_blind_bound_pct: float | None
    order_blind_reason: str
    pairs: list[ReversedPair] = Field(default_factory=list)


class ReportData(Strict):
    """A data set in the report."""

    title: str
    miniature: Generated | None = None
    subset: str = Field(default="", exclude_if=lambda value: not value)


class ReportRow(Strict):
    """A row in the report."""

    dataset: str
    fold: str
    architecture: str


class ReportPlan(Strict):
    """What the report page is about."""

    profile: str
    title: str
    smoke: bool
    datasets: dict[Identifier, ReportData]
    rows: dict[Identifier, ReportRow]


Plan = Strict
"""Any of the models above."""
PLANS: dict[str, type[Plan]] = {
    "mini": MiniPlan,
    "check": CheckPlan,
    "decode": DecodePlan,
    "flow": FlowPlan,
    "pretrain": PretrainPlan,
    "train": TrainPlan,
    "predict": PredictPlan,
    "score": ScorePlan,
    "cost": CostPlan,
    "tables": TablesPlan,
    "figures": FiguresPlan,
    "report": ReportPlan,
}
IMPORTED: dict[str, type[Plan]] = {"train": ImportPlan, "score": ImportedScorePlan}
"""The plans of rows whose weights are a file's, which they name as `checkpoint`."""


def stage_module(stage: str, plan: Plan) -> str:
    """The module whose `run` does the work of a stage."""
    return "stages.import_weights" if isinstance(plan, ImportPlan) else f"stages.{stage}"


def parse_plan(stage: str, params: Any, *, where: str) -> Plan:
    """The `params` of a plan or a run record as the stage's model.

    Raises UsageError for those of another version of this software.
    """
    imported = "checkpoint" in params and stage in IMPORTED
    try:
        return validate((IMPORTED if imported else PLANS)[stage], params, where=where)
    except ManifestError as error:
        raise UsageError(
            f"not a plan of this version: {error.what}", where=where, do="run `tdn plan` again"
        ) from None
