"""Stage `train` of a row whose weights are a file's: they are converted, and nothing is trained.

The authors of a network publish its weights under names of their own, with classes in an order of
their own. A file that would run code when loaded is refused.
"""

from __future__ import annotations

import re
import shlex
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar
from torch import nn

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import atomic_folder, sha256_file, write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import ImportPlan
from stages.rows.row_clips import absent_data, advice, open_index
from stages.rows.row_network import build_network, weights_file
from stages.rows.tensor_files import UNREADABLE, save_tensors
from tdn_model.published import OfficialShape, import_official, official_shape

_NUMPY_NUMBERS: list[Any] = [
    np.dtype,
    *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(type(np.dtype(kind)) for kind in ("?", "i4", "i8", "f2", "f4", "f8")),
]
"""Accuracies and epochs that checkpoints hold as numpy's numbers: they run no code."""
_STUMBLES = (LookupError, TypeError, AttributeError, struct.error)
"""What torch's reader raises, besides, of bytes that are no pickle: text, a pointer of git-lfs."""


def run(
    work: Workspace, key: str, plan: ImportPlan, *, record_absent: bool = False, **training: object
) -> None:
    """Write `runs/P/ROW/train/`: `weights.pt`, `history.json` (empty), `outcome.json`.

    The outcome names the file, its digest, the adapter and the order of classes. Raises AbsentData
    when the frames or the file are not there; with `record_absent` that becomes a `not-run`
    outcome. UsageError when the file is not a checkpoint of the row's network and classes.
    `training` are the switches of one, of which there is none.
    """
    given = plan.checkpoint
    no_data = absent_data(work, plan.data)
    wanted = filter(None, (given.checkpoint, given.class_names))
    lacking = [name for name in wanted if not (work.root / name).is_file()]
    offered = f" (its authors offer it at {given.page})" if given.page else ""
    put_there = f"put this file there: {lacking[0]}{offered}" if lacking else ""
    if (no_data or put_there) and not record_absent:
        do = advice(work, plan.data) if no_data else f"{put_there}; then run `tdn train {key}`"
        what = no_data or f"no {lacking[0]}"
        raise AbsentData(f"cannot import the weights of {key}: {what}", do=do)
    reason = no_data or put_there
    with atomic_folder(work.run(key) / "train") as folder:
        about = {} if reason else {"imported": _import(work, plan, folder / weights_file(0))}
        write_json(folder / "history.json", [])
        status = "not-run" if reason else "ok"
        write_json(folder / "outcome.json", {"status": status, "reason": reason, **about})


def _import(work: Workspace, plan: ImportPlan, out: Path) -> dict[str, Any]:
    """Write the converted weights; what they were made of."""
    given, file = plan.checkpoint, work.root / plan.checkpoint.checkpoint
    classes, network = open_index(work, plan.data).classes, plan.network
    state = read_checkpoint(file)
    adapter = given.architecture or network.architecture
    renewed = given.classifier is not None
    _check_shape(plan, official_shape(state), None if renewed else len(classes))
    order = None
    if given.class_names is not None:
        order = class_order(work.root / given.class_names, classes, given.class_names)
    model = convert(
        state,
        adapter,
        where=given.checkpoint,
        do=f"correct the row {plan.row} in manifests/, or put the file of its network there",
        class_permutation=order,
        num_segments=network.segments,
        **network.model_dump(include={"backbone", "width", "blocks"}),
        **network.options,
    )
    weights = model.state_dict()
    if renewed:
        ours = build_network(plan.row, network, len(classes), seed=0).state_dict()
        weights |= {name: tensor for name, tensor in ours.items() if "classifier" in name}
    save_tensors(out, weights)
    return {
        "file": given.checkpoint,
        "sha256": sha256_file(file),
        "adapter": adapter,
        "class_names": given.class_names,
        "class_order": order,
    }


def _check_shape(plan: ImportPlan, found: OfficialShape, classes: int | None) -> None:
    """UsageError where a file is of another data set, clip length or depth than the row; any
    `classes` are right where None are asked for."""
    network, name = plan.network, plan.data.name
    wrong = []
    if classes is not None and found.classes not in (None, classes):
        wrong.append(f"it has {found.classes} classes, and {name} has {classes}")
    if found.segments not in (None, network.segments):
        wrong.append(f"it is of {found.segments} segments, and the row of {network.segments}")
    if found.blocks and list(found.blocks) != network.blocks:
        wrong.append(f"its stages have {found.blocks} blocks, the row's {tuple(network.blocks)}")
    if wrong:
        raise UsageError(
            f"this is not the checkpoint of {plan.row}: {'; '.join(wrong)}",
            where=plan.checkpoint.checkpoint,
            do="put the file there that belongs to the row, or correct the row in manifests/",
        )


def class_order(path: Path, classes: Sequence[str], where: str) -> list[int]:
    """The checkpoint's index of each class of ours; UsageError where the names are others."""
    names = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    odd = sorted(set(names) ^ set(classes))
    if odd or len(names) != len(classes):
        raise UsageError(
            f"{len(names)} class names, the data set has {len(classes)}"
            + (f"; only one of them has '{odd[0]}'" if odd else ""),
            where=where,
            do="give a file with each class of the data set once, one a line",
        )
    return [names.index(name) for name in classes]


def convert(
    state: dict[str, Any], architecture: str, *, where: str, do: str, **options: Any
) -> nn.Module:
    """The network with a file's weights; UsageError that names every key that does not fit."""
    try:
        return import_official(architecture, state, **options)
    except (ValueError, IndexError) as error:  # IndexError: a number for a matrix
        raise UsageError(
            f"not a checkpoint of {architecture}: {error}", where=where, do=do
        ) from None


def read_checkpoint(file: Path) -> dict[str, Any]:
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
    except (*UNREADABLE, *_STUMBLES) as error:
        raise _refused(file, str(error)) from None
    inner = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(inner, dict) or not _named(inner):
        raise UsageError("the file holds no state dict", where=file.name, do="check the file")
    return content


def _named(entries: dict[Any, Any]) -> bool:
    return all(isinstance(key, str) for key in entries)


def _refused(file: Path, reason: str) -> UsageError:
    """What the file is, by what torch says of it; never torch's advice to load it unsafely."""
    if "TorchScript" in reason:
        plain = file.with_name(f"plain-{file.name}")
        program = (
            f"import torch; torch.save(torch.jit.load({str(file)!r}, map_location='cpu')"
            f".state_dict(), {str(plain)!r})"
        )
        return UsageError(
            "the file is a TorchScript program, not a state dict",
            where=file.name,
            do=f"python -c {shlex.quote(program)}; then import {plain}",
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
