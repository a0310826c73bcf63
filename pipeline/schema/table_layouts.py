"""The layouts of the tables that show the claims, and numbers made from several runs.

manifests/tables/<d>_<t>.yaml   one layout per table: its rows, columns and where a cell's own
                                measurement comes from
manifests/combinations.yaml     ensembles, fused streams, averaged splits, pooled folds
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.core.errors import ManifestError
from pipeline.schema.base import Identifier, Strict, known_name, load, nearest
from pipeline.schema.claims import (
    Claim,
    Document,
    DocumentId,
    ProseClaim,
    TableId,
    Unit,
    load_claims,
    load_documents,
    load_prose,
)
from pipeline.schema.experiments import load_rows

LAID_OUT_BY = ("claims.csv", "combinations.yaml", "documents.yaml", "prose_claims.csv")
"""The manifests that all tables are made by, besides the layouts in manifests/tables."""


class Tolerance(Strict):
    """How far a measurement may be from its claim and not differ from it: the widest rules."""

    points: float = Field(default=0.0, ge=0)
    last_digit_units: float = Field(default=0.0, ge=0)
    relative_pct: float = Field(default=0.0, ge=0)

    def allowed(self, claim: Claim) -> float:
        """The allowed distance, in the claim's unit."""
        return max(
            self.points,
            self.last_digit_units * claim.last_digit,
            self.relative_pct / 100 * claim.number,
        )


class Measure(Strict):
    """What a column measures.

    `metric`: a score of a run under a protocol (depends on data). `cost`: parameters or operations
    at the paper's size (does not). `views`: how many views a protocol scores. `timing`: a time,
    which belongs to a machine and is never compared with another machine's.
    """

    kind: Literal["metric", "cost", "views", "timing"]
    name: Identifier
    protocol: Identifier | None = None

    @model_validator(mode="after")
    def _protocol_where_needed(self) -> Measure:
        if self.kind != "cost" and self.protocol is None:
            raise ValueError(f"a '{self.kind}' measure needs a protocol")
        return self

    @property
    def depends_on_data(self) -> bool:
        return self.kind == "metric"


class Column(Strict):
    """A column of measured numbers; `source` picks among a row's `runs`."""

    label: str
    unit: Unit
    measure: Measure
    tolerance: Tolerance
    decimals: int = Field(ge=0, le=6)
    source: Identifier = "default"


class CellSource(Strict):
    """Where one cell departs from its column: another run, protocol or metric."""

    run: Identifier | None = None
    protocol: Identifier | None = None
    name: Identifier | None = None


class Row(Strict):
    """A printed row. Without `run`/`runs` it is only cited: a number that others measured.

    `runs` maps a column's `source` to a run; `protocol` replaces the columns' own.
    """

    label: str
    settings: dict[Identifier, str] = Field(default_factory=dict)
    run: Identifier | None = None
    runs: dict[Identifier, Identifier] = Field(default_factory=dict)
    checkpoint: Identifier | None = None
    """The run of its authors' published weights, which is measured where `run` has no result."""
    protocol: Identifier | None = None
    cells: dict[Identifier, CellSource] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_spelling(self) -> Row:
        if self.run is not None and self.runs:
            raise ValueError("give either 'run' or 'runs', not both")
        return self

    @property
    def named_runs(self) -> list[str]:
        """The distinct runs this row names, in order, whether they exist or not."""
        others = (cell.run for cell in self.cells.values())
        named = [self.run, *self.runs.values(), *others, self.checkpoint]
        return list(dict.fromkeys(run for run in named if run is not None))

    def run_for(self, column: str, source: str) -> str | None:
        """The run (or combination) behind this row's cell in `column`."""
        own = self.cells.get(column)
        if own is not None and own.run is not None:
            return own.run
        return self.run if self.run is not None else self.runs.get(source)


class Layout(Strict):
    """One printed table. `settings` (key: header) stand beside the label and are no claims."""

    document: DocumentId
    table: TableId
    caption: str
    place: str
    note: str = ""
    label_title: str = ""
    only_with_rows: bool = False
    """Not shown in a profile that runs none of its rows, whatever else that shows."""
    settings: dict[Identifier, str] = Field(default_factory=dict)
    columns: dict[Identifier, Column] = Field(min_length=1)
    ordering: list[Identifier]
    headline: list[Identifier] = Field(default_factory=list)
    """Rows that the report compares on its first screen, the last with the first."""
    rows: dict[Identifier, Row] = Field(min_length=1)

    @field_validator("rows")
    @classmethod
    def _rows_use_known_keys(cls, rows: dict[str, Row], info: ValidationInfo) -> dict[str, Row]:
        columns = list(info.data.get("columns", {}))
        settings = list(info.data.get("settings", {}))
        for key, row in rows.items():
            for kind, used, known in (
                ("setting", row.settings, settings),
                ("column", row.cells, columns),
            ):
                for name in used:
                    if name not in known:
                        hint = nearest(name, known)
                        raise ValueError(f"row '{key}' has an unknown {kind} '{name}'; {hint}")
        return rows

    @model_validator(mode="after")
    def _ordering_names_columns(self) -> Layout:
        for name in self.ordering:
            if name not in self.columns:
                hint = nearest(name, list(self.columns))
                raise ValueError(f"ordering names an unknown column '{name}'; {hint}")
        return self

    @model_validator(mode="after")
    def _headline_names_rows(self) -> Layout:
        for name in self.headline:
            if name not in self.rows:
                hint = nearest(name, list(self.rows))
                raise ValueError(f"headline names an unknown row '{name}'; {hint}")
        return self

    @property
    def table_id(self) -> str:
        return f"{self.document}/{self.table}"


class Combination(Strict):
    """A number made from several runs.

    `clipped_logit_sum`: negative logits set to 0, summed over views and members (the TDN authors'
    8+16 frames). `softmax_mean`: mean of the members' mean softmax. `stream_fusion`: video logits,
    l1-normalised, summed with `weights` (Ng & Davis 2018: RGB to flow as 1 to 1.5).
    `mean_of_folds`: the plain mean of the members' metrics (three splits). `pool_folds`: members
    are folds over disjoint videos, scored together (leave one out).
    """

    label: str
    rule: Literal[
        "clipped_logit_sum", "softmax_mean", "stream_fusion", "mean_of_folds", "pool_folds"
    ]
    members: list[Identifier] = Field(min_length=2)
    protocols: list[Identifier] = Field(min_length=1)
    weights: list[float] | None = None

    @model_validator(mode="after")
    def _weights_fit(self) -> Combination:
        if (self.rule == "stream_fusion") != (self.weights is not None):
            raise ValueError("'weights' belong to stream_fusion, and only to it")
        if self.weights is not None and len(self.weights) != len(self.members):
            raise ValueError(f"{len(self.members)} members but {len(self.weights)} weights")
        return self


def load_layouts(folder: Path) -> tuple[Layout, ...]:
    """Every layout, in the order of file names."""
    layouts: list[Layout] = []
    for path in sorted(folder.glob("*.yaml")):
        layout = load(Layout, path)
        name = f"{layout.document}_{layout.table}"
        if path.stem != name:
            raise ManifestError(
                f"this layout is of {layout.table_id}",
                where=f"manifests/tables/{path.name}",
                do=f"name the file {name}.yaml",
            )
        layouts.append(layout)
    return tuple(layouts)


def load_combinations(path: Path) -> dict[str, Combination]:
    """Every combination by its key; none when the file is absent."""
    if not path.is_file():
        return {}

    class _File(Strict):
        combinations: dict[Identifier, Combination]

    return dict(load(_File, path).combinations)


def check_placement(layouts: Sequence[Layout], claims: Mapping[str, Claim]) -> list[str]:
    """What is wrong between layouts and claims, in words; empty when every claim has one cell."""
    problems = [
        f"{table_id}: {count} layouts"
        for table_id, count in Counter(layout.table_id for layout in layouts).items()
        if count > 1
    ]
    columns = [
        (f"{layout.table_id}/{row}/{name}", column)
        for layout in layouts
        for row in layout.rows
        for name, column in layout.columns.items()
    ]
    places = Counter(address for address, _ in columns)
    tables = {layout.table_id for layout in layouts}
    for claim in claims.values():
        if places[claim.address] == 0:
            known = list(places) if f"{claim.document}/{claim.table}" in tables else []
            hint = nearest(claim.address, known)
            problems.append(f"{claim.claim_id}: no cell shows it" + (f"; {hint}" if hint else ""))
        elif places[claim.address] > 1:
            problems.append(f"{claim.claim_id}: {places[claim.address]} cells show it")
    return problems + [
        f"{address}: claimed in {claims[address].unit}, column in {column.unit}"
        for address, column in columns
        if address in claims and claims[address].unit != column.unit
    ]


@dataclass(frozen=True)
class Manifests:
    """Everything the tables are laid out by, checked against each other."""

    documents: Mapping[str, Document]
    claims: Mapping[str, Claim]
    prose: Mapping[str, ProseClaim]
    layouts: tuple[Layout, ...]
    combinations: Mapping[str, Combination]


def load_all(manifests: Path) -> Manifests:
    """The manifests of the tables; a ManifestError when one names an unknown document."""
    loaded = Manifests(
        documents=load_documents(manifests / "documents.yaml"),
        claims=load_claims(manifests / "claims.csv"),
        prose=load_prose(manifests / "prose_claims.csv"),
        layouts=load_layouts(manifests / "tables"),
        combinations=load_combinations(manifests / "combinations.yaml"),
    )
    named = [(f"claims.csv, {c.claim_id}", c.document) for c in loaded.claims.values()]
    named += [(f"prose_claims.csv, {c.prose_id}", c.document) for c in loaded.prose.values()]
    named += [(f"tables/{x.document}_{x.table}.yaml", x.document) for x in loaded.layouts]
    for where, document in named:
        known_name("document", document, loaded.documents, f"manifests/{where}")
    return loaded


def check_runs(manifests: Path) -> None:
    """Every run that a layout or a combination names is a row of some profile, or a combination.

    Raises ManifestError naming the nearest for any other: it would be `cited` in silence.
    """
    combinations = load_combinations(manifests / "combinations.yaml")
    known = set(combinations)
    for path in sorted(manifests.glob("experiments*.yaml")):
        known |= load_rows(manifests, path.name).keys()
    for key, combination in combinations.items():
        for member in combination.members:
            known_name("member", member, known, f"manifests/combinations.yaml, {key}")
    for layout in load_layouts(manifests / "tables"):
        where = f"manifests/tables/{layout.document}_{layout.table}.yaml, rows"
        for name, row in layout.rows.items():
            for run in row.named_runs:
                known_name("run", run, known, f"{where}.{name}")
