from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.video.jpeg_split import concatenate, image_end, is_one_jpeg, size_px, split
from tests.pipeline.samples import jpeg

HEADER = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00\xff\xda\x00\x02"
# Entropy-coded data: an FF is always followed by 00.
BODY = st.binary(max_size=200).map(lambda data: data.replace(b"\xff", b"\xff\x00"))


@given(st.lists(BODY, max_size=8))
def test_split_undoes_concatenation(bodies: list[bytes]) -> None:
    images = [HEADER + body + b"\xff\xd9" for body in bodies]
    stream, offsets = concatenate(images)
    assert split(stream) == (offsets, False)


@given(st.lists(BODY, min_size=1, max_size=5), st.data())
def test_split_drops_only_a_cut_last_image(bodies: list[bytes], data: st.DataObject) -> None:
    images = [HEADER + body + b"\xff\xd9" for body in bodies]
    stream, offsets = concatenate(images)
    lost = data.draw(st.integers(min_value=1, max_value=len(images[-1]) - 20))
    assert split(stream[:-lost]) == (offsets[:-1], True)


def test_split_of_nothing_and_of_noise() -> None:
    assert split(b"") == ([0], False)
    assert split(b"no jpeg at all") == ([0], True)


def test_size_is_read_from_the_header() -> None:
    assert size_px(jpeg(0, 41, 33)) == (41, 33)


@given(st.binary(max_size=60))
def test_size_of_noise_is_unknown_and_never_an_error(data: bytes) -> None:
    size_px(data)
    size_px(b"\xff\xd8" + data)


def with_thumbnail(image: bytes, thumbnail: bytes) -> bytes:
    """The image with another one inside an application segment, as cameras write it."""
    return image[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + image[2:]


def encoded(seed: int, **options: object) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (24 + seed, 40, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "JPEG", **options)
    return sink.getvalue()


def test_images_of_different_headers_are_told_apart() -> None:
    images = [
        encoded(1), encoded(2, quality=30), with_thumbnail(encoded(3), encoded(4)),
        encoded(5, comment=b"\xff\xd9\xff\xd8\xff"), encoded(6, subsampling=0),
    ]  # fmt: skip
    stream, offsets = concatenate(images)
    assert split(stream) == (offsets, False)
    sizes = [size_px(stream, start) for start in offsets[:-1]]
    assert sizes == [(40, 24 + seed) for seed in (1, 2, 3, 5, 6)]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 2}])
def test_one_whole_jpeg_is_recognised(options: dict[str, object]) -> None:
    image = encoded(7, **options)
    assert image_end(image) == len(image)
    assert image_end(b"xy" + image + b"rest", 2) == len(image) + 2
    assert is_one_jpeg(image)
    assert is_one_jpeg(image + bytes(3))
    assert not is_one_jpeg(image + image)
    assert not is_one_jpeg(image + b"rest")
    for kept in (0, 1, 2, 3, 20, len(image) // 2, len(image) - 1):
        assert not is_one_jpeg(image[:kept])


@given(st.binary(max_size=60))
def test_noise_is_no_jpeg_and_never_an_error(data: bytes) -> None:
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff\xda\x00\x02"):
        image_end(start + data)
        split(start + data)
