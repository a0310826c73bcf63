"""What every network takes and gives, and the checks of its shape and options.

Shapes: B videos, T segments, F consecutive frames in a segment's window, C channels, H and W
pixels, K classes. A network takes clips `(B, T, F, C, H, W)`, float and normalised, and gives
logits `(B, K)`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

AXES = ("B", "T", "F", "C", "H", "W")
"""The axes of clips."""
PUBLISHED_WIDTH = 64
"""Channels after the stem of every published network."""
Counts = tuple[int, int, int, int]
"""Blocks in stages 2 to 5."""


@dataclass(frozen=True)
class NetworkShape:
    """The arguments that all networks have in common; each has its own options beside them.

    Raises ValueError, naming the field and what it takes.
    """

    num_classes: int
    num_segments: int
    """T: segments of a 2-D network's clips, frames of a 3-D network's."""
    backbone: str | None = None
    """The backbone's name; None is the one of the network's paper."""
    width: int | None = None
    """Channels after the stem; None is the published 64. Other layers scale with it."""
    blocks: Sequence[int] | None = None
    """Blocks in stages 2 to 5, four integers; None is what the backbone has."""
    dropout: float = 0.5
    """Before the classifier."""
    in_channels: int | None = None
    """C; None is 3, for RGB frames, and 2 in a network that is meant for optical flow."""

    def __post_init__(self) -> None:
        check_at_least("num_classes", self.num_classes, 1)
        check_at_least("num_segments", self.num_segments, 1)
        for name in ("width", "in_channels"):
            if (value := getattr(self, name)) is not None:
                check_at_least(name, value, 1)
        check_dropout(self.dropout)
        if self.blocks is not None:
            counts = self.blocks if isinstance(self.blocks, Sequence) else ()
            if len(counts) != 4 or not all(isinstance(n, int) and n >= 1 for n in counts):
                raise ValueError(
                    f"blocks: got {self.blocks!r}; it takes four integers of at least 1"
                )
            object.__setattr__(self, "blocks", tuple(counts))

    @property
    def channels(self) -> int:
        """C of a network that is not meant for optical flow."""
        return 3 if self.in_channels is None else self.in_channels


class ClipNetwork(nn.Module):
    """The base of every network: the shape of its clips and what training asks of it."""

    classifier: nn.Linear

    def __init__(self, shape: NetworkShape, *, window: int = 1, min_size_px: int = 32) -> None:
        super().__init__()
        self.num_classes = shape.num_classes
        self.num_segments = shape.num_segments
        self.in_channels = shape.channels
        self.window = window
        self.min_size_px = min_size_px

    def check(self, clips_BTFCHW: Tensor) -> None:
        """Raise ValueError, before any arithmetic, for clips of another rank, type or shape."""
        shape = tuple(clips_BTFCHW.shape)
        fixed = {"T": self.num_segments, "F": self.window, "C": self.in_channels}
        least = {"H": self.min_size_px, "W": self.min_size_px}
        takes = "it takes a float tensor (B, " + ", ".join(
            [f"{axis}={size}" for axis, size in fixed.items()]
            + [f"{axis}>={size}" for axis, size in least.items()]
        )
        if len(shape) != len(AXES):
            raise ValueError(f"clips: got rank {len(shape)}, shape {shape}; {takes})")
        if not clips_BTFCHW.is_floating_point():
            raise ValueError(f"clips: got dtype {clips_BTFCHW.dtype}; {takes})")
        for axis, size in zip(AXES, shape, strict=True):
            if size != fixed.get(axis, size) or size < least.get(axis, 0):
                raise ValueError(f"clips: got {axis}={size} in shape {shape}; {takes})")

    def classifiers(self) -> list[nn.Linear]:
        """The layers whose outputs are class scores; some trainers give them a higher rate."""
        return [self.classifier]

    def streams_for_partial_bn(self) -> list[nn.Module]:
        """The networks whose first batch norm keeps learning under partial BN."""
        return [self]


def chosen_width(shape: NetworkShape, multiple: int = 1) -> int:
    """`shape.width` or the published 64; ValueError unless it is a multiple of `multiple`."""
    width = PUBLISHED_WIDTH if shape.width is None else shape.width
    if width % multiple:
        raise ValueError(f"width: got {width}; it takes a multiple of {multiple}")
    return width


def chosen_blocks(shape: NetworkShape, published: Counts, *, at_most: bool = False) -> Counts:
    """`shape.blocks` or the published ones, of which there can be no more where `at_most` is set.

    `at_most` is for networks whose units differ from one another, which keep the last ones.
    """
    two, three, four, five = published if shape.blocks is None else shape.blocks
    got = (two, three, four, five)
    if at_most and any(n > most for n, most in zip(got, published, strict=True)):
        raise ValueError(
            f"blocks: got {list(got)}; it takes four integers from 1 up to {list(published)}"
        )
    return got


def check_backbone(shape: NetworkShape, own: str) -> None:
    """Refuse a backbone other than `own`, the network's only one."""
    if shape.backbone is not None:
        check_choice("backbone", shape.backbone, (own,))


def check_choice(name: str, got: object, allowed: Iterable[object]) -> None:
    """Refuse an option that is not one of the listed values."""
    choices = list(allowed)
    if got not in choices:
        raise ValueError(f"{name}: got {got!r}; it takes one of {choices}")


def check_at_least(name: str, got: object, least: int) -> None:
    """Refuse an option that is not an integer of at least `least`."""
    if not isinstance(got, int) or isinstance(got, bool) or got < least:
        raise ValueError(f"{name}: got {got!r}; it takes an integer of at least {least}")


def check_dropout(got: object) -> None:
    """Refuse what is no probability below 1."""
    if not isinstance(got, int | float) or isinstance(got, bool) or not 0 <= got < 1:
        raise ValueError(f"dropout: got {got!r}; it takes a number from 0 up to, not including, 1")


def check_flag(name: str, got: object) -> None:
    """Refuse an option that is not a bool."""
    if not isinstance(got, bool):
        raise ValueError(f"{name}: got {got!r}; it takes true or false")


def check_stages(name: str, got: Collection[int], allowed: Collection[int]) -> tuple[int, ...]:
    """`got` as a sorted tuple; refuses repeated stages and stages outside `allowed`."""
    if isinstance(got, str) or not isinstance(got, Collection):
        raise ValueError(f"{name}: got {got!r}; it takes a list of stages of {list(allowed)}")
    stages = tuple(got)
    if len(set(stages)) != len(stages) or not set(stages) <= set(allowed):
        raise ValueError(f"{name}: got {list(stages)}; it takes distinct stages of {list(allowed)}")
    return tuple(sorted(stages))
