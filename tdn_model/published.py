"""The authors' published checkpoints: read into our networks and written back, bit for bit.

An architecture has one function in `KEY_MAPS` that names, for each entry of our network's state
dict, the official entry. Both directions follow from it, both strict. The tensors are the same on
both sides; only names differ.

Official files hold the state dict under `state_dict`, every key behind `module.`; both are optional
here. How a file is read (weights only!) is the caller's affair.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tdn_model.build import build_from

KeyMap = Callable[[nn.Module], dict[str, str]]
"""From a network to its keys → the official ones."""
Rules = Sequence[tuple[str, str]]
"""Regular expressions and what replaces them, each tried once, in order."""


class CheckpointMismatch(ValueError):
    """The entries of a checkpoint are not those of the network; carries all their names."""

    def __init__(
        self, unused: Sequence[str], missing: Sequence[str], mismatched: Sequence[str]
    ) -> None:
        self.unused, self.missing, self.mismatched = list(unused), list(missing), list(mismatched)
        parts = [
            f"{len(keys)} {kind}: {', '.join(keys)}"
            for kind, keys in (
                ("unused", self.unused),
                ("missing", self.missing),
                ("mismatched", self.mismatched),
            )
            if keys
        ]
        super().__init__("the checkpoint does not fit the network; " + "; ".join(parts))


@dataclass(frozen=True)
class OfficialShape:
    """What the tensors of an official file tell of its network; None or () where they do not."""

    classes: int | None
    segments: int | None
    """Only TANet's weights depend on T."""
    blocks: tuple[int, ...]
    """Residual blocks per stage."""


def official_shape(state_dict: Mapping[str, Any]) -> OfficialShape:
    """What a file is the checkpoint of, as far as its tensors tell."""
    inner = state_dict.get("state_dict", state_dict)
    tensors = inner.items() if isinstance(inner, Mapping) else ()
    given = {k.removeprefix("module."): v for k, v in tensors if isinstance(v, Tensor)}
    heads = (given.get(f"{head}.weight") for head in ("new_fc", "base_model.fc"))
    classes = next((head.shape[0] for head in heads if head is not None), None)
    found = (re.match(r"base_model\.layer(\d)(?:_bak)?\.(\d+)\.", key) for key in given)
    places = {(int(match[1]), int(match[2])) for match in found if match}
    stages = range(1, max(places, default=(0, 0))[0] + 1)
    kernels = (value for key, value in given.items() if key.endswith(".tam.G.0.weight"))
    segments = next((kernel.shape[1] for kernel in kernels), None)
    blocks = tuple(sum(stage == number for stage, _ in places) for number in stages)
    return OfficialShape(classes, segments, blocks)


def import_official(
    architecture: str,
    state_dict: Mapping[str, Any],
    *,
    backbone: str | None = None,
    num_segments: int,
    num_classes: int | None = None,
    class_permutation: Sequence[int] | None = None,
    **options: Any,
) -> nn.Module:
    """The network with the checkpoint's weights, in evaluation mode and in the checkpoint's dtypes.

    `num_classes` is read off the classifier; given, it must agree. `class_permutation[i]` is the
    checkpoint's index of our class i. `options` are the other fields of `NetworkShape` and the
    network's own. Tensors are copied. Raises CheckpointMismatch, a ValueError, where entries do not
    fit the network, and ValueError for options that it refuses.
    """
    key_map = _key_map(architecture)
    given = _bare(state_dict)
    head = "new_fc" if "new_fc.weight" in given else "base_model.fc"
    if f"{head}.weight" not in given:
        raise CheckpointMismatch([], ["new_fc.weight"], [])
    classes = given[f"{head}.weight"].shape[0]
    if num_classes is not None and num_classes != classes:
        raise ValueError(f"num_classes: got {num_classes}; the checkpoint has {classes} classes")
    if head == "base_model.fc":  # how the authors' networks without dropout name it
        options.setdefault("dropout", 0.0)
    with torch.device("meta"):
        shape = {"backbone": backbone, "num_classes": classes, "num_segments": num_segments}
        model = build_from(architecture, shape | options)
    names = key_map(model)
    _check_entries(model.state_dict(), names, given)
    state = {ours: _laid_out(given[theirs]) for ours, theirs in names.items()}
    if class_permutation is not None:
        _permute_classes(state, _checked_permutation(class_permutation, classes))
    model.load_state_dict(state, assign=True)
    return model.eval()


def _laid_out(tensor: Tensor) -> Tensor:
    """A copy, channels-last where it is a 2-D convolution's weight, as `build` makes them."""
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    return tensor.detach().clone(memory_format=layout)


def export_official(
    model: nn.Module, *, class_permutation: Sequence[int] | None = None
) -> dict[str, Tensor]:
    """The network's weights under the official names, without `module.`; tensors are copied.

    `class_permutation` is that of the import, which is undone. Raises ValueError for a network
    without an official form.
    """
    architecture = getattr(model, "architecture", None)
    if not isinstance(architecture, str):
        raise ValueError("model: it was not made by tdn_model.build, so its layout has no name")
    names = _key_map(architecture)(model)
    ours = {
        key: tensor.detach().clone(memory_format=torch.contiguous_format)
        for key, tensor in model.state_dict().items()
    }
    if class_permutation is not None:
        classes = ours["classifier.weight"].shape[0]
        permutation = _checked_permutation(class_permutation, classes)
        inverse = sorted(range(classes), key=permutation.__getitem__)
        _permute_classes(ours, inverse)
    return {names[key]: tensor for key, tensor in ours.items()}


def _key_map(architecture: str) -> KeyMap:
    if architecture not in KEY_MAPS:
        raise ValueError(f"architecture: got {architecture!r}; it takes one of {sorted(KEY_MAPS)}")
    return KEY_MAPS[architecture]


def _bare(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a file as it was saved: out of `state_dict`, without `module.`."""
    inner = state_dict.get("state_dict", state_dict)
    if not isinstance(inner, Mapping):
        raise ValueError(f"state_dict: got {type(inner).__name__}; it takes a mapping to tensors")
    wrong = [str(key) for key, value in inner.items() if not isinstance(value, Tensor)]
    if wrong:
        raise ValueError(f"state_dict: entries that are not tensors: {', '.join(wrong)}")
    wrapped = bool(inner) and all(key.startswith("module.") for key in inner)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in inner.items()}


def _check_entries(
    ours: Mapping[str, Tensor], names: Mapping[str, str], given: Mapping[str, Tensor]
) -> None:
    wanted = {theirs: ours[key] for key, theirs in names.items()}
    unused = [key for key in given if key not in wanted]
    missing = [key for key in wanted if key not in given]
    mismatched = [
        f"{key} (got {_describe(given[key])}, takes {_describe(tensor)})"
        for key, tensor in wanted.items()
        if key in given and _describe(given[key]) != _describe(tensor)
    ]
    if unused or missing or mismatched:
        raise CheckpointMismatch(unused, missing, mismatched)


def _describe(tensor: Tensor) -> str:
    return f"{'float' if tensor.is_floating_point() else 'integer'} {tuple(tensor.shape)}"


def _checked_permutation(permutation: Sequence[int], classes: int) -> list[int]:
    order = [int(index) for index in permutation]
    if sorted(order) != list(range(classes)):
        raise ValueError(
            f"class_permutation: got {len(order)} entries; "
            f"it takes each of 0..{classes - 1} exactly once"
        )
    return order


def _permute_classes(state: dict[str, Tensor], order: list[int]) -> None:
    for key in ("classifier.weight", "classifier.bias"):
        state[key] = state[key][order]


def _renamed(model: nn.Module, rules: Rules) -> dict[str, str]:
    """Our keys → official keys by regular expressions, each tried once, in order."""
    names = {}
    for key in model.state_dict():
        theirs = key
        for pattern, replacement in rules:
            theirs = re.sub(pattern, replacement, theirs)
        names[key] = theirs
    nameless = [key for key, theirs in names.items() if _OURS.search(theirs)]
    if nameless:
        raise ValueError(f"model: entries without an official name: {', '.join(nameless)}")
    return names


def _head(model: nn.Module) -> tuple[str, str]:
    """The classifier is `new_fc`, or `base_model.fc` in networks trained without dropout."""
    dropout = getattr(model, "dropout", None)
    without = isinstance(dropout, nn.Dropout) and dropout.p == 0
    return (r"^classifier\.", "base_model.fc." if without else "new_fc.")


_OURS = re.compile(r"^(?!base_model\.|new_fc\.)|(before|after)_conv|long_term|shortcut")
_STAGES: Rules = (
    (r"^res2\.", "base_model.layer1."),
    (r"^res3\.", "base_model.layer2."),
    (r"^res4\.", "base_model.layer3."),
    (r"^res5\.", "base_model.layer4."),
)
_TRUNK: Rules = (
    (r"^stem\.conv\.", "base_model.conv1."),
    (r"^stem\.bn\.", "base_model.bn1."),
    *_STAGES,
    (r"\.shortcut\.conv\.", ".downsample.0."),
    (r"\.shortcut\.bn\.", ".downsample.1."),
)
_TDN: Rules = (
    (r"^short_term\.unused_stem\.", "base_model.conv1_temp."),
    (r"^short_term\.stem\.conv\.", "base_model.conv1_5.0."),
    (r"^short_term\.stem\.bn\.", "base_model.conv1_5.1."),
    (r"^short_term\.copies\.res2\.", "base_model.resnext_layer1."),
    *_TRUNK,
    (r"^(base_model\.layer\d)\.", r"\1_bak."),
    (r"\.after_conv1\.temporal\.", ".shift.conv."),
    (r"\.after_conv1\.long_term\.", ".mse."),
    (r"\.mse\.reduce\.", ".mse.conv1."),
    (r"\.mse\.reduce_bn\.", ".mse.bn1."),
    (r"\.mse\.align\.", ".mse.conv2."),
    (r"\.mse\.expand\.", ".mse.conv3."),
    (r"\.mse\.expand_bn\.", ".mse.bn3."),
    (r"\.mse\.scales\.pool2\.conv\.", ".mse.conv3_smallscale2."),
    (r"\.mse\.scales\.pool2\.bn\.", ".mse.bn3_smallscale2."),
    (r"\.mse\.scales\.pool1\.conv\.", ".mse.conv3_smallscale4."),
    (r"\.mse\.scales\.pool1\.bn\.", ".mse.bn3_smallscale4."),
)
_TANET: Rules = (
    *_TRUNK,
    (r"\.after_conv1\.importance\.", ".tam.L."),
    (r"\.after_conv1\.kernel\.", ".tam.G."),
    (r"^(base_model\.layer\d\.\d+)\.(?!tam\.)", r"\1.net."),
)
_TEA: Rules = (
    *_TRUNK,
    (r"\.after_conv1\.", ".me."),
    (r"\.me\.reduce\.", ".me.conv1."),
    (r"\.me\.reduce_bn\.", ".me.bn1."),
    (r"\.me\.align\.", ".me.conv2."),
    (r"\.me\.expand\.", ".me.conv3."),
    (r"\.me\.expand_bn\.", ".me.bn3."),
    (r"\.before_convs\.(\d)\.", r".shifts.\1.conv."),
)


def _tsn(model: nn.Module) -> dict[str, str]:
    return _renamed(model, (_head(model), *_TRUNK))


def _tsm(model: nn.Module) -> dict[str, str]:
    """TSN's names, but a convolution behind a shift sits in a wrapper, at `.net`."""
    shifted = {
        f"{name.removesuffix('.before_conv1')}.conv1."
        for name, module in model.named_modules()
        if name.endswith(".before_conv1") and not isinstance(module, nn.Identity)
    }
    return {
        key: theirs.replace(".conv1.", ".conv1.net.") if key.startswith(tuple(shifted)) else theirs
        for key, theirs in _tsn(model).items()
    }


def _tdn(model: nn.Module) -> dict[str, str]:
    """The published TDN; a network with any switch away from it has no official form."""
    design = getattr(model, "design", None)
    if design is None or not design.is_released:
        raise ValueError("model: only TDN with its default options has an official form")
    return _renamed(model, (_head(model), *_TDN))


def _tanet(model: nn.Module) -> dict[str, str]:
    """A block is the torchvision one, at `.net`, beside its module, at `.tam` (position b)."""
    return _renamed(model, (_head(model), *_TANET))


def _tea(model: nn.Module) -> dict[str, str]:
    return _renamed(model, (_head(model), *_TEA))


KEY_MAPS: dict[str, KeyMap] = {"tdn": _tdn, "tsn": _tsn, "tsm": _tsm, "tanet": _tanet, "tea": _tea}
