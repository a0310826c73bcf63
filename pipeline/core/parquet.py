"""Parquet files that are either whole or absent and, for equal rows, equal byte for byte."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.core.files import atomic_file


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table atomically; an identical file is left untouched."""
    write_groups(path, table.schema, [table])


def write_groups(path: Path, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """The same for rows that come in several tables, each of which becomes a row group."""
    with (
        atomic_file(path) as file,
        pq.ParquetWriter(
            file, schema, compression="zstd", use_dictionary=True, write_statistics=True
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table)
