from __future__ import annotations

import numpy as np

from pipeline.mini.stills import CLASSES, stills


def test_every_class_is_drawn_equally_often_and_images_differ() -> None:
    images, labels = stills(2 * len(CLASSES), 24, seed=0)
    assert images.shape == (2 * len(CLASSES), 24, 24, 3)
    assert np.bincount(labels).tolist() == [2] * len(CLASSES)
    assert len({image.tobytes() for image in images}) == len(images)


def test_an_image_depends_on_its_number_and_the_seed_alone() -> None:
    few, _ = stills(4, 24, seed=0)
    many, _ = stills(8, 24, seed=0)
    other, _ = stills(4, 24, seed=1)
    assert np.array_equal(few, many[:4])
    assert not np.array_equal(few, other)
