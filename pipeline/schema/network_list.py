"""Which networks `tdn models` lists, at which input, beside which printed cost (data, checked).

`manifests/models.yaml` says what is built and how large its clips are; the printed numbers stay in
`manifests/claims.csv` and are named by their claim ids.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from pipeline.schema.base import Identifier, Strict, known_name, load, nearest
from pipeline.schema.experiments import Option

Positive = Annotated[int, Field(gt=0)]


class Network(Strict):
    """A network at the size its paper gives it.

    `segments` is the T of its clips (frames for 3-D networks). `clips` of them make up one printed
    cost ("32×2" prints two clips); `views` is how many views the row's score takes, where it says.
    `claims` are the printed costs. `note` says why they differ by more than the list tolerates.
    """

    title: str
    architecture: Identifier
    backbone: Identifier
    segments: Positive
    side_px: Positive
    classes: Positive
    options: dict[Identifier, Option] = Field(default_factory=dict)
    claims: list[str] = Field(default_factory=list)
    clips: Positive = 1
    views: Positive | None = None
    note: str = ""


class Ensemble(Strict):
    """Several networks whose costs a printed number adds up."""

    title: str
    members: Annotated[list[Identifier], Field(min_length=2)]
    claims: list[str] = Field(default_factory=list)
    views: Positive | None = None
    note: str = ""


class Models(Strict):
    """Every network, and the ensembles of them; a difference above `tolerance_pct` needs a note."""

    tolerance_pct: Annotated[float, Field(ge=0)]
    networks: dict[Identifier, Network]
    ensembles: dict[Identifier, Ensemble] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _members_exist(self) -> Models:
        for key, ensemble in self.ensembles.items():
            for member in ensemble.members:
                if member not in self.networks:
                    hint = nearest(member, list(self.networks))
                    raise ValueError(f"ensemble '{key}' has an unknown member '{member}'; {hint}")
        return self


def load_models(manifests: Path, claim_ids: list[str]) -> Models:
    """The listed networks; a ManifestError names a claim that is not among `claim_ids`."""
    models = load(Models, manifests / "models.yaml")
    for section in (models.networks, models.ensembles):
        for key, entry in section.items():
            for claim in entry.claims:
                known_name(f"claim of {key}", claim, claim_ids, "manifests/models.yaml")
    return models
