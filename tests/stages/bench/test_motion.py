from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from stages.bench.motion import sparsity


def clip(*frames: np.ndarray) -> list[bytearray]:
    found = []
    for frame in frames:
        jpeg = io.BytesIO()
        Image.fromarray(frame.transpose(1, 2, 0)).save(jpeg, "jpeg", quality=100)
        found.append(bytearray(jpeg.getvalue()))
    return found


def test_an_object_on_a_still_ground_has_sparse_differences() -> None:
    before = np.full((3, 64, 64), 90, np.uint8)
    after = before.copy()
    after[:, 8:16, 8:16] = 200  # one sixty-fourth of the picture
    found = sparsity([clip(before, after)])
    assert found["share of pixels that stay"] == pytest.approx(63 / 64, abs=0.002)
    assert found["Hoyer sparsity of differences"] > 0.8
    assert found["Hoyer sparsity of frames"] < 0.1


def test_a_picture_that_does_not_change_is_as_sparse_as_can_be() -> None:
    still = np.full((3, 32, 32), 90, np.uint8)
    found = sparsity([clip(still, still)])
    assert found["share of pixels that stay"] == 1
    assert found["Hoyer sparsity of differences"] == 1
