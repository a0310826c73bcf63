"""What a network costs: parameters, and multiply-adds of one forward pass.

Counted with torch's own operator counter on the meta device, so nothing is computed: convolutions
and matrix products only, as the papers count ("FLOPs" there are multiply-adds; torch counts two per
multiply-add). A module that does such work in other operators reports it by a method
`uncounted_macs(*inputs) -> int`, as `temporal.TemporalConv` does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Cost:
    """What a network costs."""

    params: int
    gmacs: float
    """10⁹ multiply-adds of one forward pass."""


def measure(model: nn.Module, input_shape: Sequence[int]) -> Cost:
    """Parameters, and 10⁹ multiply-adds of an evaluation pass over clips of `input_shape`.

    The model may live on any device, the meta device included; it is left as it was. Frozen and
    unused parameters count.
    """
    tensors = {
        name: tensor.to("meta")
        for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers())
    }
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    clips = torch.empty(tuple(input_shape), device="meta", dtype=dtype)
    counter = FlopCounterMode(display=False)
    with evaluation(model), uncounted(model) as extra, torch.no_grad(), counter:
        torch.func.functional_call(model, tensors, (clips,))
    macs = counter.get_total_flops() // 2 + sum(extra)
    return Cost(params=sum(p.numel() for p in model.parameters()), gmacs=macs / 1e9)


def saved_bytes(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Bytes of the maps that a training pass over clips of `input_shape` keeps to go backward.

    Weights and buffers are left out; a map that several operators keep counts once. The model lives
    on the meta device and is in training mode afterwards.
    """
    own = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.Tensor] = {}  # alive, so that no other map takes its place

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage()._cdata) not in own:
            kept[place] = tensor
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(torch.empty(tuple(input_shape), device="meta"))
        return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, each module's own mode again afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def uncounted(model: nn.Module) -> Iterator[list[int]]:
    """Collects, while inside, the multiply-adds that modules report of themselves."""
    macs: list[int] = []

    def collect(module: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        macs.append(module.uncounted_macs(*inputs))

    handles = [
        module.register_forward_hook(collect)
        for module in model.modules()
        if hasattr(module, "uncounted_macs")
    ]
    try:
        yield macs
    finally:
        for handle in handles:
            handle.remove()
