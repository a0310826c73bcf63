"""Readers of annotation: one function per layout on disk, all with the same signature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.schema.dataset import Dataset
from pipeline.sources import read_kinetics as kinetics
from pipeline.sources import read_lists as lists
from pipeline.sources import read_something as something
from pipeline.sources import read_splits as splits
from pipeline.sources.lister import Listing

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


__all__ = ["READERS", "Listing", "Reader", "read"]
