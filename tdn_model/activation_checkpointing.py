"""Activation checkpointing: blocks keep their input alone and are computed again going backward.

The maps inside a block are most of what training keeps. Weights and statistics come out the same to
the bit: the second pass leaves running statistics alone, and dropout draws what it drew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute_blocks_(model: nn.Module) -> None:
    """Have every member of the network's stages (its outermost `nn.Sequential`s) computed twice."""
    for child in model.children():
        if not isinstance(child, nn.Sequential):
            recompute_blocks_(child)
            continue
        for block in child:
            if any(True for _ in block.parameters()):
                once: Callable[[Tensor], Tensor] = block.forward
                block.forward = partial(_twice, block, once)


def _twice(block: nn.Module, once: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    if not block.training:
        return once(x)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(block)

    y: Tensor = checkpoint(once, x, use_reentrant=False, context_fn=contexts)
    return y


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Inside it, a pass in training mode leaves running statistics and their counts as they are."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.training]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
