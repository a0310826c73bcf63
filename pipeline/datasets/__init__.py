"""Readers of annotation: one function per layout on disk, all with the same signature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.datasets import kinetics, lists, something, splits
from pipeline.datasets.listing import Item, Listing
from pipeline.manifest_dataset import Dataset

Reader = Callable[[Dataset, Path], Listing]

READERS: dict[str, Reader] = {
    "ssv1": something.read_v1,
    "ssv2": something.read_v2,
    "kinetics": kinetics.read_kinetics,
    "ucf101": splits.read_ucf101,
    "hmdb51": splits.read_hmdb51,
    "weizmann": splits.read_weizmann,
    "list": lists.read_list,
}


def read(dataset: Dataset, raw: Path) -> Listing:
    """The data set's listing, by the reader of its layout.

    Raises AbsentData when lists or videos are not there, DataError when the lists contradict
    themselves. Opens no video.
    """
    return READERS[dataset.layout](dataset, raw)


__all__ = ["READERS", "Item", "Listing", "Reader", "read"]
