"""Clips of which some frames are read at half size: from stored halves, or made when read."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d
from torch.utils.data import DataLoader

from pipeline.clips.clip_dataset import (
    Batch,
    ClipDataset,
    Sample,
    TestRule,
    TrainRule,
    collate,
    on_device,
)
from pipeline.clips.crops import Crop, even, halved, multi_scale_crop
from pipeline.clips.jpeg_decode import decode_frame, decode_half, read_frames
from pipeline.clips.sampling import rng_for, train_indices, windows
from pipeline.clips.transforms import train_view
from pipeline.core.errors import StoreError
from pipeline.schema.protocols import load_protocols
from pipeline.store.index import FrameIndex, read_index
from pipeline.store.lmdb_store import FrameStore
from tests.pipeline.samples import MANIFESTS, numbered, own_videos, policy

PROTOCOLS = load_protocols(MANIFESTS)
PLACES = (0, 1, 3, 4)
TRAIN = TrainRule(4, 5, "segments_random", 32, "plain")
CPU = torch.device("cpu")
FAR = 12
"""Grey levels: two pixels to the side, means of these hard-edged patterns differ by 23 and more."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> FrameIndex:
    """Seven videos stored with halves."""
    root = tmp_path_factory.mktemp("halves")
    made = own_videos(root, numbered(7), frames=24, decode=policy(half_size=True))
    made.check()
    made.decode()
    return read_index(made.frames)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> FrameIndex:
    """The same videos stored without."""
    made = own_videos(tmp_path_factory.mktemp("plain"), numbered(7), frames=24)
    made.check()
    made.decode()
    return read_index(made.frames)


def clips(index: FrameIndex, rule: TrainRule | TestRule = TRAIN, **changes: object) -> ClipDataset:
    videos = index.split("train")
    changes.setdefault("half_size", PLACES)
    return ClipDataset(index.store(), videos, index.classes, rule, 0, **changes)


def whole(sample: Sample) -> Tensor:
    """A sample as the network gets it: (V, T, F, C, H, W)."""
    return on_device(collate([sample]), CPU)


def same(one: Sample, two: Sample) -> bool:
    return torch.equal(whole(one), whole(two)) and one[2:5] == two[2:5]


def test_a_training_clip_keeps_its_halves_at_half_size(index: FrameIndex) -> None:
    sample = clips(index)[3]
    assert sample.halves is not None
    assert sample.frames.shape == (1, 4, 1, 3, 32, 32)
    assert sample.halves.frames.shape == (1, 4, 4, 3, 16, 16)
    assert sample.halves.places == [0, 1, 3, 4]
    assert whole(sample).shape == (1, 4, 5, 3, 32, 32)
    assert whole(sample).movedim(-3, -1).is_contiguous()


def test_the_middle_frame_is_that_of_a_clip_without_halves(index: FrameIndex) -> None:
    nowhere = clips(index, half_size=(-1,))  # even crops, and no half
    one, two = whole(nowhere[3]), whole(clips(index)[3])
    assert nowhere[3].halves is None
    assert torch.equal(one[:, :, 2], two[:, :, 2])
    assert (one != two)[:, :, list(PLACES)].any()


def test_a_training_clip_has_the_halves_of_the_straightforward_way(index: FrameIndex) -> None:
    source, mirrored = clips(index), 0
    for number, video in enumerate(source.videos):
        rng = rng_for(0, 0, number)
        wanted = windows(train_indices(video.n_frames, 4, 5, rng), 5, video.n_frames)
        crop = even(multi_scale_crop(64, 48, 32, True, rng))
        mirrored += crop.mirrored
        frames = [int(frame) for frame in wanted[:, list(PLACES)].reshape(-1)]
        stored = index.store().jpegs(video.video_id, frames, half=True)
        expected = train_view([decode_frame(jpeg) for jpeg in stored], halved(crop), 16)
        found = source[number].halves
        assert found is not None
        assert torch.equal(found.frames.flatten(0, 2), expected)
    assert 0 < mirrored < 7


@pytest.mark.parametrize("epoch", range(3))
def test_halves_have_the_means_of_the_whole_mirrored_or_not(index: FrameIndex, epoch: int) -> None:
    one, two = clips(index, half_size=(-1,)), clips(index)
    for source in (one, two):
        source.set_epoch(epoch)
    for number in range(7):
        means = [avg_pool2d(whole(c[number]).flatten(0, 2).float(), 8) for c in (one, two)]
        assert (means[0] - means[1]).abs().mean() < FAR, "a part, place or side is another"
        assert one[number].target == two[number].target


def test_a_store_without_halves_gives_clips_of_the_same_size(
    index: FrameIndex, plain: FrameIndex
) -> None:
    for rule in (TRAIN, TestRule(4, 5, PROTOCOLS["center_1x3"], 40, 32)):
        stored, made = clips(index, rule)[3], clips(plain, rule)[3]
        assert stored.halves is not None and made.halves is not None
        assert stored.halves.frames.shape == made.halves.frames.shape
        assert torch.equal(stored.frames, made.frames)
        assert 0 < (whole(stored).float() - whole(made).float()).abs().mean() < FAR


def test_colours_of_a_clip_are_jittered_alike(index: FrameIndex) -> None:
    rule = TrainRule(4, 5, "segments_random", 32, "plain", colour_jitter=True)
    calm, first = clips(index)[3], clips(index, rule)[3]
    assert same(clips(index, rule)[3], first)
    ratios = whole(first).float().mean((0, 1, 3, 4, 5)) / whole(calm).float().mean((0, 1, 3, 4, 5))
    assert (ratios - 1).abs().min() > 0.01
    assert ratios.max() - ratios.min() < 0.02


@pytest.mark.parametrize("kind", ["center_1x1", "center_1x3"])
@pytest.mark.parametrize("resize_px", [48, 41])
def test_test_clips_have_halves_of_the_same_parts(
    index: FrameIndex, kind: str, resize_px: int
) -> None:
    rule = TestRule(2, 5, PROTOCOLS[kind], resize_px, 40)
    plain, halved = clips(index, rule, half_size=(-1,))[1], clips(index, rule)[1]
    assert halved.halves is not None
    assert halved.halves.frames.shape[-2:] == (20, 20)
    one, two = whole(plain), whole(halved)
    assert one.shape == two.shape
    assert torch.equal(one[:, :, 2], two[:, :, 2])
    means = [avg_pool2d(view.flatten(0, 2).float(), 8) for view in (one, two)]
    assert (means[0] - means[1]).abs().mean() < FAR


def test_a_batch_holds_the_halves_of_all_its_views(index: FrameIndex) -> None:
    source = clips(index, TestRule(4, 5, PROTOCOLS["center_1x3"], 48, 48))
    batch = collate([source[0], source[1]])
    assert batch.halves is not None
    assert batch.frames.shape == (6, 4, 1, 3, 48, 48)
    assert batch.halves.frames.shape == (6, 4, 4, 3, 24, 24)
    assert batch.halves.frames.stride()[-3:] == (1, 3 * 24, 3)
    found = on_device(batch, CPU)
    assert found.shape == (6, 4, 5, 3, 48, 48)
    assert torch.equal(found[4], whole(source[1])[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_loader_workers_change_nothing(index: FrameIndex) -> None:
    source = clips(index)
    source.set_epoch(2)
    expected = on_device(collate([source[n] for n in range(7)]), CPU)
    loader: Iterator[Batch] = iter(
        DataLoader(source, batch_size=7, num_workers=2, collate_fn=collate)
    )
    assert torch.equal(on_device(next(loader), CPU), expected)


def test_a_pickled_data_set_gives_the_same_clips(index: FrameIndex) -> None:
    source = clips(index, cache_mb=8)
    source.set_epoch(3)
    first = source[5]
    again = pickle.loads(pickle.dumps(source))
    assert again._cache == {}
    assert same(again[5], first)


def test_threads_change_nothing(index: FrameIndex) -> None:
    alone, pooled = clips(index), clips(index, threads=3)
    assert all(same(alone[n], pooled[n]) for n in range(7))


@pytest.mark.parametrize("with_halves", [True, False])
def test_a_cache_changes_nothing_and_keeps_to_its_budget(
    index: FrameIndex, plain: FrameIndex, with_halves: bool
) -> None:
    store = index if with_halves else plain
    cached, fresh = clips(store, cache_mb=1), clips(store)
    for n in (0, 1, 0, 6, 1):
        assert same(cached[n], fresh[n])
    kept = {("clip000.avi", half) for half in (True, False)}
    assert kept < set(cached._cache)
    for n in range(7):
        assert same(cached[n], fresh[n])
    held = sum(image.numel() for images in cached._cache.values() for image in images)
    assert held == cached._cached_bytes <= 1 << 20


def test_reading_halves_falls_back_to_the_whole_frame(index: FrameIndex, plain: FrameIndex) -> None:
    stored = list(read_frames(index.store(), "clip001.avi", [3, 1, 3], half=True))
    made = list(read_frames(plain.store(), "clip001.avi", [3, 1, 3], half=True))
    for (half, other), frame in zip(zip(stored, made, strict=True), (3, 1, 3), strict=True):
        assert half.shape == other.shape == (3, 24, 32)
        expected = index.store().jpegs("clip001.avi", [frame], half=True)[0]
        assert torch.equal(half, decode_frame(expected))
        assert torch.equal(other, decode_half(plain.store().jpegs("clip001.avi", [frame])[0]))


def test_an_odd_crop_cannot_be_halved(index: FrameIndex) -> None:
    with pytest.raises(ValueError, match="even crop_px, not 33"):
        clips(index, TrainRule(4, 5, "segments_random", 33, "plain"))


def test_a_window_keeps_a_whole_frame(index: FrameIndex) -> None:
    with pytest.raises(ValueError, match="leave a place"):
        clips(index, half_size=(0, 1, 2, 3, 4))


def test_fields_cannot_be_halved(index: FrameIndex) -> None:
    store = FrameStore(index.folder, index.store().shards, {}, "flow")
    with pytest.raises(ValueError, match="flow"):
        ClipDataset(store, [], index.classes, TRAIN, 0, half_size=(0,))


@pytest.mark.parametrize("size_px", [(64, 48), (63, 47)])
def test_a_frame_at_half_size_has_the_means_of_the_whole(size_px: tuple[int, int]) -> None:
    width, height = size_px
    ramp = torch.arange(width).mul(3)[None, :].expand(height, width).byte()
    colours = torch.stack([ramp, 255 - ramp, ramp // 2 + 20], dim=-1).numpy()
    sink = io.BytesIO()
    Image.fromarray(colours).save(sink, "JPEG", quality=95)
    stored = bytearray(sink.getvalue())
    half = decode_half(stored).float()
    assert half.shape == (3, 24, 32)
    means = avg_pool2d(decode_frame(stored).float(), 2)
    assert (half[:, :23, :31] - means[:, :23, :31]).abs().mean() < 3


def test_a_grey_frame_at_half_size_becomes_colour() -> None:
    sink = io.BytesIO()
    Image.new("L", (17, 12), 77).save(sink, "JPEG")
    half = decode_half(bytearray(sink.getvalue()))
    assert half.shape == (3, 6, 9)
    assert set(half.unique().tolist()) == {77}


def test_a_frame_that_is_no_image_cannot_be_halved() -> None:
    with pytest.raises(StoreError, match="cannot be decoded"):
        decode_half(bytearray(b"no image"))


def test_halves_of_a_crop_at_the_edge_lie_inside() -> None:
    half = torch.arange(32).byte().expand(3, 24, 32)  # of a frame of 63 x 47
    crop = even(Crop(15, 7, 48, 40))
    found = train_view([half], halved(crop), 16)
    assert found.shape == (1, 3, 16, 16)
    assert (found[0, 0, 0, 0], found[0, 0, 0, -1]) >= (7, 28)
