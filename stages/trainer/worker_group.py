"""The processes that train one row together: which one this is, and what they tell each other."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pipeline.core.errors import UsageError
from tdn_model.training import WithLoss

T = TypeVar("T")
LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
"""For processes of one machine: what its name resolves to may be an address of nothing."""
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Ranks:
    """One of `size` processes; alone by default."""

    rank: int = 0
    size: int = 1
    local: int = 0
    """Its number on its machine."""

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def share(self, items: list[T]) -> list[T]:
        """Its part of a batch; all parts are as long."""
        count = len(items) // self.size
        return items[self.rank * count : (self.rank + 1) * count]

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place; every one must ask."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def same(self, value: Any) -> Any:
        """What the first one has, for all; every one must ask."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def align(self, buffers: Iterable[Tensor]) -> None:
        """Give all processes the first one's buffers."""
        if self.size > 1:
            for buffer in buffers:
                dist.broadcast(buffer, src=0)


def from_environment() -> Ranks:
    """Which one this process is, as torchrun and Ray Train tell it; alone where neither does."""
    values = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    rank, size, local = (int(value) if value else None for value in values)
    return Ranks(rank or 0, size or 1, local or 0)


def share_gradients(model: nn.Module) -> DistributedDataParallel:
    """The network with its loss, whose gradients become the mean over all processes.

    `find_unused_parameters` keeps the order of the exchange as it is from the first step on: so a
    training that goes on after a kill adds up in the same order. Batch norms' running statistics
    are the first process's.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of broadcast_buffers, until torch has both
        shared = DistributedDataParallel(
            WithLoss(model), find_unused_parameters=True, broadcast_buffers=False
        )
    warnings.filterwarnings("ignore", message="Grad strides do not match")
    return shared


def backend() -> str:
    """How the processes talk: gloo on processors, NCCL between accelerators."""
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"


@contextmanager
def group() -> Iterator[Ranks]:
    """The processes that torchrun started, connected; UsageError where they find no connection."""
    ranks = from_environment()
    if os.environ.get("MASTER_ADDR") in ("localhost", "127.0.0.1"):
        for name, value in LOOPBACK.items():
            os.environ.setdefault(name, value)
    if torch.cuda.is_available():
        torch.cuda.set_device(ranks.local % torch.cuda.device_count())
    try:
        dist.init_process_group(backend(), timeout=timedelta(seconds=TIMEOUT_S))
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"the {ranks.size} processes do not find each other: {str(error).splitlines()[0]:.200}",
            do="name the network interface between the machines in GLOO_SOCKET_IFNAME and "
            "NCCL_SOCKET_IFNAME (one name of `ip -brief address`, no address and no list)",
        ) from None
    try:
        yield ranks
    finally:
        dist.destroy_process_group()
