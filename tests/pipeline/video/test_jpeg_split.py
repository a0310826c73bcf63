from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.video.jpeg_split import concatenate, size_px, split
from tests.pipeline.samples import jpeg

HEADER = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00"
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
