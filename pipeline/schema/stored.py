"""The shape of files that runs wrote, read back when anybody may have changed them."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from pipeline.schema.base import Strict


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if "/".join(parts) != path or {"..", "/"} & {*parts} or not parts or "\0" in path:
        raise ValueError("it leaves the project or is not written plainly")
    return path


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Inside = Annotated[str, AfterValidator(_inside)]
"""A relative path below the project, written in the one plain way."""


class _FileEntry(Strict):
    sha256: Sha256
    bytes: int


class Entry(_FileEntry):
    role: str
    path: Inside
    files: dict[Inside, _FileEntry] | None = None


class _Code(Strict):
    digest: Sha256


class _Identity(Strict):
    stage: str
    key: str
    profile: str
    inputs: list[Entry]
    params: dict[str, Any]
    params_sha256: Sha256
    code: _Code


class Record(Strict):
    """A run record as `records.write_record` writes it, and nothing besides."""

    schema_name: str = Field(alias="schema")
    identity: _Identity
    outputs: list[Entry]
    identity_sha256: Sha256
    record_sha256: Sha256


class Root(BaseModel):
    """What is read of a root."""

    root: str
    reads: list[Inside] = []
    runs: dict[str, str] = {}
    files: dict[str, str | None] = {}


class _Source(BaseModel):
    path: Inside
    sha256: str


class _Lineage(BaseModel):
    dataset: str | None
    sources: list[_Source]


class _Cell(BaseModel):
    cell_id: str
    unit: str
    status: str
    measured: float | None
    lineage: _Lineage


class _Row(BaseModel):
    row: str
    cells: list[str]


class _Table(BaseModel):
    document: str
    table: str
    rows: list[_Row]


class Tables(BaseModel):
    """What an audit follows of `cells.json`."""

    cells: dict[str, _Cell]
    tables: list[_Table]


class _Verdict(BaseModel):
    prose_id: str
    ours_cells: list[str] = []


class Verdicts(BaseModel):
    verdicts: list[_Verdict]
