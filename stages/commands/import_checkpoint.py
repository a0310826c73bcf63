"""`tdn import-checkpoint`: an authors' published file as weights of ours."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar

from pipeline.core.errors import UsageError
from pipeline.core.files import read_json
from stages.tensor_files import UNREADABLE, save_tensors
from tdn_model.published import import_official

_NUMPY_NUMBERS: list[Any] = [
    np.dtype,
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(type(np.dtype(kind)) for kind in ("?", "i4", "i8", "f2", "f4", "f8")),
]
"""Accuracies and epochs that checkpoints hold as numpy's numbers: they run no code."""


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
    save_tensors(out, model.state_dict())
    return len(model.state_dict())


def read_tensors(file: Path) -> dict[str, Any]:
    """The dictionary in a checkpoint file, on the processor; tensors and plain numbers only.

    Raises UsageError that says what the file is where it is something else.
    """
    if not file.is_file():
        raise UsageError("there is no such file", where=file.name, do="check the path")
    with file.open("rb") as opened:
        beginning = opened.read(64).lstrip().lower()
    if beginning.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UsageError(
            "the file is a web page: a download page was saved instead of the checkpoint",
            where=file.name,
            do="open the address in a browser and download the file that its page offers",
        )
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_NUMPY_NUMBERS):
            warnings.simplefilter("ignore")  # the kinds of file that it warns of are refused below
            content = torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise _refused(file, str(error)) from None
    if not isinstance(content, dict):
        raise UsageError("the file holds no state dict", where=file.name, do="check the file")
    return content


def _refused(file: Path, reason: str) -> UsageError:
    """What the file is, by what torch says of it; never torch's advice to load it unsafely."""
    if "TorchScript" in reason:
        plain = f"plain-{file.name}"
        return UsageError(
            "the file is a TorchScript program, not a state dict",
            where=file.name,
            do=f"python -c \"import torch; torch.save(torch.jit.load('{file.name}', "
            f"map_location='cpu').state_dict(), '{plain}')\", then import {plain}",
        )
    if named := re.search(
        r"Unsupported global: GLOBAL (\S+)|(Unsupported class|Trying to)", reason
    ):
        what = f" ({named[1]})" if named[1] else ""
        return UsageError(
            f"the file holds Python objects{what} besides tensors and is not loaded: "
            "they could run code",
            where=file.name,
            do="get the file as its authors' plain state dict: "
            "torch.save(model.state_dict(), 'plain.pth.tar')",
        )
    return UsageError(
        "the file is damaged or not a checkpoint of torch", where=file.name, do="fetch it again"
    )
