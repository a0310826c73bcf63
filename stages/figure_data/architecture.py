"""A network's parts as it is built, found by running it once on the meta device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.reporting.figures.architecture_chart import INPUT, Part, draw_architecture
from pipeline.reporting.figures.canvas import Figure
from pipeline.schema.figure_list import Architecture
from pipeline.schema.network_list import Network
from stages.figure_data.figure_inputs import Context, make_figure
from stages.network_cost import keywords_of, on_meta
from tdn_model.count_cost import evaluation, uncounted

_BACKBONE = ("torch.", "tdn_model.layers.resnet2d")
_Makers = dict[Any, str]
"""From a node of autograd's graph to the part whose output it made."""


def architecture(context: Context, key: str, spec: Architecture) -> Figure:
    """The drawing of a network, or of one of its modules."""
    network, parts = spec.network, parts_of(spec.network, spec.part)
    size = f"{network.segments} segments of {network.side_px} × {network.side_px} pixels"
    total = f"{sum(part.gmacs for part in parts):.2f} G multiply-adds"
    words = (
        f"As {network.title} is built, for a clip of {size}: {total} (G: 10⁹ of them). Blue: what"
    )
    words += " a ResNet does not have. The printed drawing is not copied."
    return make_figure(key, spec, draw_architecture(parts), context.caption(spec, (), found=words))


def parts_of(network: Network, inside: str = "") -> list[Part]:
    """The parts of a network (or of its module `inside`) in the order in which they run, and its
    output; a part reads those (or INPUT) from whose outputs its input is computed directly."""
    model = on_meta(network.architecture, keywords_of(network))
    clips = (1, model.num_segments, model.window, model.in_channels, *[network.side_px] * 2)
    parts: list[Part] = []
    begun: dict[str, tuple[list[str], int]] = {}
    makers: _Makers = {}
    counter = FlopCounterMode(display=False)

    def macs() -> int:
        return int(counter.get_total_flops()) // 2 + sum(extra)

    def before(name: str, inputs: Any) -> None:
        begun[name] = _sources(inputs, makers), macs()

    def after(name: str, module: nn.Module, output: Any) -> None:
        reads, start = begun[name]
        first, *_ = tensors = list(_tensors(output))
        makers.update({tensor.grad_fn: name for tensor in tensors})
        kind, cost, contents = type(module).__name__, (macs() - start) / 1e9, _contents(module)
        ours = bool(set(contents) - {"blocks"}) or not _is(module, *_BACKBONE)
        parts.append(Part(name, kind, contents, list(first.shape), cost, reads, ours))

    def begin(_: nn.Module, inputs: Any) -> None:
        makers.update({tensor.grad_fn: INPUT for tensor in _tensors(inputs)})

    def end(_: nn.Module, __: Any, output: Tensor) -> None:
        reads = _sources(output, makers)
        parts.append(Part("output", "", {}, list(output.shape), 0.0, reads, False))

    whole = model.get_submodule(inside)
    whole.register_forward_pre_hook(begin)
    whole.register_forward_hook(end)
    for name, module in _shown(whole):
        module.register_forward_pre_hook(lambda _, inputs, name=name: before(name, inputs))
        module.register_forward_hook(lambda m, _, output, name=name: after(name, m, output))
    with evaluation(model), uncounted(model) as extra, counter:
        model(torch.empty(clips, device="meta", requires_grad=True).clone())
    return parts


def _sources(value: Any, makers: _Makers) -> list[str]:
    """The parts, or INPUT, on the way back from tensors; none lies behind another."""
    found, seen = dict[str, None](), set[Any]()
    nodes: list[Any] = [tensor.grad_fn for tensor in _tensors(value)]
    while nodes:
        if (node := nodes.pop(0)) in makers:
            found[makers[node]] = None
        elif node is not None and node not in seen:
            seen.add(node)
            nodes += [earlier for earlier, _ in node.next_functions]
    return list(found)


def _tensors(value: Any) -> Iterator[Tensor]:
    for item in [value] if isinstance(value, Tensor) else value:
        yield from [item] if isinstance(item, Tensor) else _tensors(item)


def _shown(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Its children, but norms and the like; of lists and of networks, their own."""
    for name, child in module.named_children():
        named = isinstance(child, nn.Sequential) and not any(n.isdigit() for n in child._modules)
        if isinstance(child, nn.ModuleList) or named or hasattr(child, "res5"):
            yield from _shown(child, f"{prefix}{name}.")
        elif isinstance(child, nn.Sequential | nn.Conv2d | nn.Linear) or not _is(child, "torch."):
            yield f"{prefix}{name}", child


def _contents(module: nn.Module) -> dict[str, int]:
    """A stage's blocks, and the modules that a ResNet does not have, by class."""
    found: Counter[str] = Counter()
    inside = [*module.children()]
    while inside:
        if _is(child := inside.pop(), *_BACKBONE):
            inside += child.children()
        else:
            found[type(child).__name__] += 1
    blocks = {"blocks": len(module)} if isinstance(module, nn.Sequential) else {}
    return blocks | dict(sorted(found.items()))


def _is(module: nn.Module, *packages: str) -> bool:
    return type(module).__module__.startswith(packages)
