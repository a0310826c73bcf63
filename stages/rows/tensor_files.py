"""Files of tensors: written whole or not at all, and read without running code."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from pipeline.core.errors import StoreError, disk_full, is_disk_full
from pipeline.core.files import publish

UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError)
"""What `torch.load` raises for a file that is cut short, is of another kind or holds objects."""


def save_tensors(path: Path, value: Mapping[str, Any]) -> None:
    """Write tensors (and plain values) to `path`; a file that was there stays until it is whole.

    Raises StoreError when the disk is full or the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # torch names the archive inside a file after the file: so the folder is the temporary one.
        with TemporaryDirectory(prefix=".tmp-", dir=path.parent) as folder:
            torch.save(value, Path(folder, path.name))
            publish(Path(folder, path.name), path)
    except RuntimeError:  # torch tells no more of a write that failed than where in the file it was
        raise disk_full(path.name) from None
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(path.name) from None
        raise StoreError(
            f"cannot be written: {error.strerror or error}",
            where=path.name,
            do="look at the rights of its folder and run the same command again",
        ) from None


def load_tensors(path: Path, *, what: str, do: str) -> dict[str, Tensor]:
    """The state dict in a file, on the processor; nothing but tensors is loaded.

    Raises StoreError, which calls the file `what` and advises `do`, when it is missing or damaged.
    """
    if not path.is_file():
        raise StoreError(f"{what} are missing", where=path.name, do=do)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE:
        found = None
    if not isinstance(found, dict):
        raise StoreError(f"{what} are damaged", where=path.name, do=do)
    return found
