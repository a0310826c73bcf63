from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from pipeline.clips.crops import (
    CROPS,
    Crop,
    center_crop,
    multi_scale_crop,
    scaled_size,
    three_crops,
)
from pipeline.clips.jpeg_decode import Decoding
from pipeline.clips.sampling import rng_for
from pipeline.clips.transforms import (
    MEAN,
    STD,
    crop_views,
    flip_map,
    mirror,
    normalise,
    resize,
    train_view,
)

SIDE = st.integers(8, 400)


def frame(width: int, height: int, seed: int = 0) -> Tensor:
    """(3, H, W) uint8, channels-last in memory, smooth enough to compare resizers on."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def test_training_crops_of_a_340x256_frame() -> None:
    crops = [multi_scale_crop(340, 256, 224, True, rng_for(0, n)) for n in range(4000)]
    assert {crop.width for crop in crops} == {256, 224, 192, 168}
    order = [256, 224, 192, 168]
    steps = {abs(order.index(c.width) - order.index(c.height)) for c in crops}
    assert steps == {0, 1}
    assert len({(crop.width, crop.height) for crop in crops}) == 10
    square = [crop for crop in crops if crop.width == crop.height == 256]
    assert {(crop.left, crop.top) for crop in square} == {(x, 0) for x in (0, 21, 42, 63, 84)}
    inner = {(c.left, c.top) for c in crops if (c.width, c.height) == (224, 224)}
    assert len(inner) == 13
    assert 0.45 < sum(crop.mirrored for crop in crops) / len(crops) < 0.55


def test_a_size_within_two_pixels_becomes_the_crop() -> None:
    sides = {multi_scale_crop(400, 300, 224, False, rng_for(0, n)).width for n in range(200)}
    assert sides == {300, 262, 224, 198}  # 0.75 · 300 = 225


def test_no_flip_means_none() -> None:
    assert not any(multi_scale_crop(64, 48, 32, False, rng_for(0, n)).mirrored for n in range(50))


@given(SIDE, SIDE, st.integers(8, 300), st.integers(0, 2**31))
def test_training_crops_stay_inside(width: int, height: int, size: int, seed: int) -> None:
    crop = multi_scale_crop(width, height, size, True, rng_for(seed))
    assert crop.width > 0
    assert crop.height > 0
    assert 0 <= crop.left <= width - crop.width
    assert 0 <= crop.top <= height - crop.height


def test_test_crops_of_a_340x256_frame() -> None:
    assert center_crop(340, 256, 224) == [Crop(58, 16, 224, 224)]
    left, right, middle = three_crops(340, 256, 256)
    assert (left.left, right.left, middle.left) == (0, 84, 42)
    assert {left.top, right.top, middle.top} == {0}
    ten = CROPS["ten"](340, 256, 224)
    assert [(c.left, c.top) for c in ten[::2]] == [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]
    assert [c.mirrored for c in ten] == [False, True] * 5


def test_three_crops_of_a_portrait_frame_are_one() -> None:
    assert len({(c.left, c.top) for c in three_crops(256, 454, 256)}) == 1


@given(SIDE, SIDE, st.integers(8, 64), st.integers(0, 40), st.sampled_from(sorted(CROPS)))
def test_test_crops_stay_inside(width: int, height: int, crop: int, more: int, kind: str) -> None:
    width, height = scaled_size(width, height, crop + more)
    assert min(width, height) == crop + more
    for box in CROPS[kind](width, height, crop):
        assert 0 <= box.left <= width - crop
        assert 0 <= box.top <= height - crop


@pytest.mark.parametrize(("width", "height"), [(56, 56), (30, 40), (90, 70)])
def test_resize_agrees_with_pil(width: int, height: int) -> None:
    image = frame(72, 56)
    pil = Image.fromarray(image.permute(1, 2, 0).numpy())
    expected = np.asarray(pil.resize((width, height), Image.Resampling.BILINEAR)).astype(int)
    found = resize(image, width, height).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - expected).max() <= 1


def test_train_view_is_the_crop_resized_and_mirrored() -> None:
    frames = [frame(72, 56, seed) for seed in range(3)]
    plain = train_view(frames, Crop(10, 6, 48, 48), 48)
    assert plain.shape == (3, 3, 48, 48)
    assert plain.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain[1], frames[1][:, 6:54, 10:58])
    mirrored = train_view(frames, Crop(10, 6, 48, 48, True), 48)
    assert torch.equal(mirrored, plain.flip(-1))
    small = train_view(frames, Crop(0, 0, 56, 56), 28)
    assert torch.equal(small[2], resize(frames[2][:, :, :56], 28, 28))


@pytest.mark.parametrize(("crops", "count"), [("center", 1), ("three", 3), ("ten", 10)])
def test_views_are_crops_of_the_resized_frame(crops: str, count: int) -> None:
    frames = [frame(72, 56, seed) for seed in range(2)]
    found = crop_views(frames, crops, 40, 32)
    assert found.shape == (count, 2, 3, 32, 32)
    width, height = scaled_size(72, 56, 40)
    whole = resize(frames[1], width, height)
    for view, box in zip(found, CROPS[crops](width, height, 32), strict=True):
        part = whole[:, box.top : box.top + 32, box.left : box.left + 32]
        assert torch.equal(view[1], part.flip(-1) if box.mirrored else part)


def test_frames_of_the_right_size_are_not_touched() -> None:
    image = frame(72, 56)
    assert torch.equal(crop_views([image], "center", None, 56)[0, 0], image[:, :, 8:64])
    assert torch.equal(crop_views([image], "center", 56, 56)[0, 0], image[:, :, 8:64])


def test_frames_smaller_than_the_crop_are_enlarged() -> None:
    assert crop_views([frame(40, 30)], "center", None, 48).shape == (1, 1, 3, 48, 48)


def test_the_whole_frame_is_squeezed() -> None:
    found = crop_views([frame(72, 56)], "full", None, 32)
    assert torch.equal(found[0, 0], resize(frame(72, 56), 32, 32))


def test_flip_map() -> None:
    classes = ["left to right", "other", "right to left"]
    assert flip_map(classes, [["left to right", "right to left"]]) == [2, 1, 0]
    assert flip_map(classes, []) == [0, 1, 2]
    with pytest.raises(ValueError, match="'up', which is no class"):
        flip_map(classes, [["left to right", "up"]])


def test_normalise() -> None:
    frames = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    found = normalise(frames)
    expected = (frames.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
        3, 1, 1
    )
    assert torch.allclose(found, expected, atol=1e-5)
    assert normalise(frames, torch.bfloat16).dtype == torch.bfloat16
    assert Counter(frames.reshape(-1).tolist())[7] == 6  # the input is untouched


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 2, 3, 1)])
def test_normalise_whatever_the_layout_in_memory(order: tuple[int, ...]) -> None:
    frames = torch.stack(noise(4, 3, 6, 5)).permute(order).contiguous()
    frames = frames.permute([order.index(axis) for axis in range(4)]).view(2, 2, 3, 5, 6)
    means, scales = (255 * torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    found = normalise(frames)
    assert torch.equal(found, (frames.float() - means) * scales.reciprocal())
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def noise(n: int, channels: int, width: int, height: int) -> list[Tensor]:
    """Frames (C, H, W) of random pixels, channels-last in memory."""
    generator = torch.Generator().manual_seed(0)
    shape = (n, height, width, channels)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return list(pixels.permute(0, 3, 1, 2))


def one_by_one(frames: list[Tensor], crop: Crop, size_px: int) -> Tensor:
    """The straightforward way to a training view."""
    view = []
    for image in frames:
        part = image[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        whole = resize(part.contiguous(), size_px, size_px)
        view.append(mirror(whole) if crop.mirrored else whole)
    return torch.stack(view)


@pytest.mark.parametrize("group_px", [1, 5000, 2**18])
@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize(
    "crop",
    [Crop(8, 4, 42, 49), Crop(8, 4, 42, 49, True), Crop(5, 3, 48, 48, True), Crop(1, 0, 33, 48)],
)
def test_a_training_view_has_the_pixels_of_the_straightforward_way(
    crop: Crop, channels: int, group_px: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.clips.transforms._GROUP_PX", group_px)
    frames = noise(7, channels, 72, 56)
    found = train_view(frames, crop, 48)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, one_by_one(frames, crop, 48))


def test_a_training_view_of_large_frames_has_the_pixels_of_the_straightforward_way() -> None:
    frames = noise(6, 3, 340, 256)
    for crop in (Crop(84, 0, 256, 224, True), Crop(21, 44, 168, 192), Crop(58, 16, 224, 224)):
        assert torch.equal(train_view(frames, crop, 224), one_by_one(frames, crop, 224))


@pytest.mark.parametrize("crops", ["center", "three", "ten", "full"])
def test_every_frame_is_decoded_once_for_all_its_crops(crops: str) -> None:
    decoded: list[int] = []

    def decode(jpeg: bytearray) -> Tensor:
        decoded.append(jpeg[0])
        return frame(72, 56)

    clip = Decoding({n: bytearray([n]) for n in range(4)}, [0, 1, 1, 3, 2], decode, 1)
    assert crop_views(clip, crops, 40, 32).shape[1] == 5
    assert decoded == [0, 1, 3, 2]


def test_a_squeezed_frame_has_the_pixels_of_a_training_view_of_all_of_it() -> None:
    frames = noise(3, 3, 340, 256)
    whole = train_view(frames, Crop(0, 0, 340, 256), 224)
    assert torch.equal(crop_views(list(frames), "full", None, 224)[0], whole)
