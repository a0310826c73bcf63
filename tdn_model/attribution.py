"""Where in a clip a network finds its class: class activation maps and Grad-CAM.

Shapes: clips `(B, T, F, C, H, W)`; h, w the sides of a layer's map. Maps say how much each place
speaks for a class; they are in logits, not normalised.

CAM (Zhou et al. 2016; Ng & Davis 2018, section 4.6): the classifier applied at every place of the
last maps instead of to their mean. Grad-CAM (Selvaraju et al. 2017): a layer's channels weighted by
the mean gradient of the class's logit, negative sums cut off.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import Tensor, nn

from tdn_model.layers.resnet2d import SegmentResNet

PARTS = ("image", "difference")
"""The two networks of "featdiff", in which a layer's name may also begin."""
_BESIDE = {"short_term", "laterals"}
"""Parts with stages or their names that are not on the way from frames to logits."""


def layer_names(model: nn.Module) -> list[str]:
    """The layers Grad-CAM can look at, early to late: stages, and a block as `res4.2`."""
    names = []
    for name, _ in model.named_modules():
        head, _, rest = name.rpartition(".")
        stage = rest if rest.startswith(("res", "stem")) else ""
        block = rest if rest.isdigit() and head.rpartition(".")[2].startswith("res") else ""
        if (stage or block) and not set(name.split(".")) & _BESIDE:
            names.append(name)
    return names


def grad_cam(model: nn.Module, clips_BTFCHW: Tensor, layer: str, classes_B: Tensor) -> Tensor:
    """Grad-CAM of `layer` for one class per clip: `(B, T, h, w)`, at least 0.

    In a 2-D network every segment's map has its own channel weights; in a 3-D one the weights are
    the clip's, and a map with fewer times than T is repeated. The network must be in evaluation
    mode. Raises ValueError naming the layers there are.
    """
    known = layer_names(model)
    if layer not in known:
        raise ValueError(f"layer: got {layer!r}; it takes one of {', '.join(known) or 'none'}")
    n_videos, T = clips_BTFCHW.shape[:2]
    method = LayerGradCam(model, model.get_submodule(layer))
    maps: Tensor = method.attribute(clips_BTFCHW, target=classes_B, relu_attributions=True).detach()
    if maps.dim() == 5:  # (B, 1, t, h, w)
        return by_time(maps[:, 0], T)
    return maps.view(n_videos, -1, *maps.shape[2:])


def by_time(maps_Bthw: Tensor, T: int) -> Tensor:
    """Maps at t times repeated so that there is one for each of T segments."""
    t = maps_Bthw.shape[1]
    return maps_Bthw[:, torch.arange(T, device=maps_Bthw.device) * t // T]


def class_activation(
    model: nn.Module, clips_BTFCHW: Tensor, classes_B: Tensor
) -> dict[str, Tensor]:
    """CAM for one class per clip: `{"": (B, T, h, w)}`, or one map per part of "featdiff".

    There "image" has T maps and "difference" T - 1. A part's mean over times and places plus the
    classifier's bias is its logit. Raises ValueError for a network without a mean and one linear
    classifier behind `res5`.
    """
    parts = {name: getattr(model, name) for name in PARTS if hasattr(model, name)} or {"": model}
    seen: dict[str, Tensor] = {}
    handles = []
    for name, part in parts.items():
        if not isinstance(part, SegmentResNet):
            raise ValueError(f"{type(part).__name__} has no linear classifier over pooled maps")

        def keep(_module: nn.Module, _inputs: object, maps_NCHW: Tensor, name: str = name) -> None:
            seen[name] = maps_NCHW.detach()

        handles.append(part.res5.register_forward_hook(keep))
    try:
        with torch.no_grad():
            model(clips_BTFCHW)
    finally:
        for handle in handles:
            handle.remove()
    maps = {}
    for name, part in parts.items():
        maps_BTChw = seen[name].view(clips_BTFCHW.shape[0], -1, *seen[name].shape[1:])
        weights_BC = part.classifier.weight.detach()[classes_B]
        maps[name] = torch.einsum("btchw,bc->bthw", maps_BTChw, weights_BC)
    return maps


def enlarge(maps_BThw: Tensor, height: int, width: int) -> Tensor:
    """Maps at the frames' size, bilinear, as both papers show them."""
    size = (height, width)
    return F.interpolate(maps_BThw.float(), size=size, mode="bilinear", align_corners=False)
