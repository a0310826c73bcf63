"""What every network promises its caller, and the words in which it refuses.

Shapes: B videos, T segments, F consecutive frames in a segment's window, C channels, H and W
pixels, K classes. A network takes clips `(B, T, F, C, H, W)`, float and normalised, and gives
logits `(B, K)`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import Tensor, nn

AXES = ("B", "T", "F", "C", "H", "W")


def check_clips(
    clips_BTFCHW: Tensor, *, num_segments: int, window: int, channels: int, min_size_px: int = 1
) -> None:
    """Refuse, before any arithmetic, a batch of clips that the network cannot take."""
    shape = tuple(clips_BTFCHW.shape)
    takes = (
        f"it takes a float tensor (B, T={num_segments}, F={window}, C={channels}, "
        f"H>={min_size_px}, W>={min_size_px})"
    )
    if len(shape) != len(AXES):
        raise ValueError(f"clips: got rank {len(shape)}, shape {shape}; {takes}")
    if not clips_BTFCHW.is_floating_point():
        raise ValueError(f"clips: got dtype {clips_BTFCHW.dtype}; {takes}")
    for axis, want in ((1, num_segments), (2, window), (3, channels)):
        if shape[axis] != want:
            raise ValueError(f"clips: got {AXES[axis]}={shape[axis]} in shape {shape}; {takes}")
    for axis in (4, 5):
        if shape[axis] < min_size_px:
            raise ValueError(f"clips: got {AXES[axis]}={shape[axis]} in shape {shape}; {takes}")


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
    if not isinstance(got, int | float) or isinstance(got, bool) or not 0 <= got < 1:
        raise ValueError(f"dropout: got {got!r}; it takes a number from 0 up to, not including, 1")


def check_flag(name: str, got: object) -> None:
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


def window_of(model: nn.Module) -> int:
    """F, the consecutive frames that a network takes per segment."""
    window = model.window
    if not isinstance(window, int):
        raise TypeError(f"{type(model).__name__}.window: got {window!r}; it must be an integer")
    return window
