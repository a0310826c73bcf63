"""The published numbers: which texts print them, what they say, where they contradict each other.

    manifests/documents.yaml    the texts
    manifests/claims.csv        one line per measured number printed in a table of the texts
    manifests/prose_claims.csv  one line per sentence of theirs with a number or an ordering

A claim's address is `document/table/row/column`, and a table's cell has the same one, so a claim is
placed by the layout that has its row and column, and nothing has to be linked by hand.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from pipeline.core.errors import ManifestError
from pipeline.schema.base import Identifier, M, Strict, known_name, load, validate

DocumentId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
TableId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")]
Unit = Literal["percent", "gflops", "views", "ms", "params"]

CONFLICT = "claim-conflict "
"""A note starting so names the claim that contradicts this one: `claim-conflict ID: why`."""


class Claim(Strict):
    """One printed number; `value` keeps the text, so that its last digit stays known."""

    claim_id: str
    document: DocumentId
    table: TableId
    row: Identifier
    column: Identifier
    value: Annotated[str, StringConstraints(pattern=r"^\d+(\.\d+)?$")]
    unit: Unit
    note: str = ""

    @property
    def address(self) -> str:
        return f"{self.document}/{self.table}/{self.row}/{self.column}"

    @property
    def number(self) -> float:
        return float(self.value)

    @property
    def last_digit(self) -> float:
        """One unit of the last printed digit: 0.1 for '45.2', 1 for '33'."""
        return 10.0 ** -len(self.value.partition(".")[2])

    @property
    def conflicts_with(self) -> str | None:
        if not self.note.startswith(CONFLICT):
            return None
        return self.note[len(CONFLICT) :].partition(":")[0].strip()


class ProseClaim(Strict):
    """A sentence with a number or an ordering.

    `rule` recomputes it from the printed numbers, `ours` from what was measured here; both are
    expressions of pipeline.reporting.rules, or empty where nothing printed or measured decides.
    """

    prose_id: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+/[a-z0-9_]+$")]
    document: DocumentId
    place: Annotated[str, Field(min_length=1)]
    kind: Literal["number", "ordering", "data", "setting", "figure"]
    sentence: Annotated[str, Field(min_length=10)]
    rule: str = ""
    ours: str = ""
    note: str = ""


class Document(Strict):
    """A text whose numbers are claims."""

    title: str
    about: str


def load_documents(path: Path) -> dict[str, Document]:
    """The texts by id, in the order in which reports show them."""

    class _File(Strict):
        documents: dict[DocumentId, Document]

    return dict(load(_File, path).documents)


def load_claims(path: Path) -> dict[str, Claim]:
    """Every claim by its id, in the file's order; a ManifestError names file and line."""
    claims: dict[str, Claim] = {}
    for where, claim in _lines(path, Claim):
        if claim.claim_id != claim.address:
            raise ManifestError(
                f"claim_id '{claim.claim_id}' is not the claim's address",
                where=where,
                do=f"write {claim.address}",
            )
        if claim.claim_id in claims:
            raise ManifestError(
                f"'{claim.claim_id}' is written twice", where=where, do="remove one of the lines"
            )
        claims[claim.claim_id] = claim
    for claim in claims.values():
        if claim.conflicts_with is not None:
            where = f"{path.parent.name}/{path.name}, {claim.claim_id}, column note"
            known_name("conflicting claim", claim.conflicts_with, claims, where)
    return claims


def load_prose(path: Path) -> dict[str, ProseClaim]:
    """Every prose claim by its id, in the file's order; a ManifestError names file and line."""
    sentences: dict[str, ProseClaim] = {}
    for where, claim in _lines(path, ProseClaim):
        if claim.prose_id in sentences or not claim.prose_id.startswith(f"{claim.document}/"):
            raise ManifestError(
                f"prose_id '{claim.prose_id}' is written twice or is not of {claim.document}",
                where=where,
                do=f"write {claim.document}/<a name of its own>",
            )
        sentences[claim.prose_id] = claim
    return sentences


def _lines(path: Path, model: type[M]) -> Iterator[tuple[str, M]]:
    """(place, entry) of every line of a CSV file, whose columns are the fields of `model`."""
    name, columns = f"{path.parent.name}/{path.name}", list(model.model_fields)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ManifestError(
            f"there is no {path.name}", where=name, do="restore it from git"
        ) from None
    reader = csv.DictReader(text.splitlines())
    if reader.fieldnames != columns:
        raise ManifestError(
            f"the header is {reader.fieldnames}",
            where=f"{name}, line 1",
            do=f"write: {','.join(columns)}",
        )
    for record in reader:
        where = f"{name}, line {reader.line_num}"
        yield where, validate(model, record, where=where)
