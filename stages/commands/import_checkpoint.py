"""`tdn import-checkpoint`: an authors' published file as weights of ours."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import read_strict_json
from stages.import_weights import convert, read_checkpoint
from stages.rows.tensor_files import save_tensors


def run(
    file: Path,
    architecture: str,
    out: Path,
    backbone: str,
    segments: int,
    permutation: Path | None,
) -> int:
    """Write the converted state dict to `out`; returns how many tensors it holds.

    A file that would run code when loaded is refused. Raises UsageError that names every unused,
    missing and mismatched key.
    """
    model = convert(
        read_checkpoint(file),
        architecture,
        where=file.name,
        do="check --architecture, --backbone and --segments",
        backbone=backbone,
        num_segments=segments,
        class_permutation=None if permutation is None else _order(permutation),
    )
    save_tensors(out, model.state_dict())
    return len(model.state_dict())


def _order(file: Path) -> list[int]:
    """The checkpoint's index of each class of ours; UsageError where the file has no such list."""
    try:
        found = read_strict_json(file)
    except (OSError, ValueError):
        found = None
    if not isinstance(found, list) or not all(type(index) is int for index in found):
        raise UsageError(
            "the file is no JSON list of class indices",
            where=file.name,
            do="give a file like [2, 0, 1]: the checkpoint's index of each class of ours",
        )
    return found
