"""`tdn import-checkpoint`: an authors' published file as weights of ours."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from tdn_model import import_official


def run(
    file: Path,
    architecture: str,
    out: Path,
    backbone: str,
    segments: int,
    permutation: Path | None,
) -> int:
    """Write the converted state dict to `out`; returns how many tensors it holds.

    Only tensors are read: a file that would run code when loaded is refused. Raises UsageError that
    names every unused, missing and mismatched key.
    """
    order = None if permutation is None else read_json(permutation)
    try:
        model = import_official(
            architecture,
            read_tensors(file),
            backbone=backbone,
            num_segments=segments,
            class_permutation=order,
        )
    except ValueError as error:
        raise UsageError(
            f"not a checkpoint of {architecture}: {error}",
            where=file.name,
            do="check --architecture, --backbone and --segments",
        ) from None
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(f".tmp-{out.name}")
    torch.save(model.state_dict(), half)
    half.replace(out)
    return len(model.state_dict())


def read_tensors(file: Path) -> dict[str, Any]:
    """The dictionary a checkpoint file holds, loaded weights-only on the CPU."""
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UsageError("there is no such file", where=file.name, do="check the path") from None
    except pickle.UnpicklingError:
        raise UsageError(
            "the file holds more than tensors and is not loaded: it could run code",
            where=file.name,
            do="get the weights from a source you trust, saved as a plain state dict",
        ) from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"not readable as a checkpoint: {reason}", where=file.name, do="fetch it again"
        ) from None
    if not isinstance(found, dict):
        raise UsageError("the file holds no state dict", where=file.name, do="check the file")
    return found
