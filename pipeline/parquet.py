"""Parquet files that are either whole or absent and, for equal rows, equal byte for byte."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.digests import write_atomic


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table atomically; an identical file is left untouched."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", use_dictionary=True, write_statistics=True)
    write_atomic(path, sink.getvalue().to_pybytes())
