from __future__ import annotations

import io
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from pipeline.clips.clip_dataset import (
    Batch,
    ClipDataset,
    EvalRule,
    Sample,
    TrainRule,
    collate,
)
from pipeline.clips.crops import multi_scale_crop
from pipeline.clips.jpeg_decode import Decoding, decode_frame
from pipeline.clips.sampling import rng_for, train_indices, views, windows
from pipeline.clips.transforms import crop_views, resize
from pipeline.core.errors import StoreError
from pipeline.schema.protocols import load_protocols
from pipeline.store.index import FrameIndex, read_index
from tests.pipeline.samples import MANIFESTS, jpeg, numbered, own_videos

PROTOCOLS = load_protocols(MANIFESTS)
TRAIN = TrainRule(4, 5, "segments_random", 32, "plain")


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> FrameIndex:
    made = own_videos(tmp_path_factory.mktemp("clips"), numbered(7), frames=24)
    made.check()
    made.decode()
    return read_index(made.frames)


def decode_frames(jpegs: Iterable[bytearray]) -> list[Tensor]:
    return [decode_frame(jpeg) for jpeg in jpegs]


def clips(index: FrameIndex, rule: TrainRule | EvalRule = TRAIN, **changes: object) -> ClipDataset:
    videos = index.split("train")
    return ClipDataset(index.store(), videos, index.classes, rule, 0, **changes)


def same(one: Sample, two: Sample) -> bool:
    return torch.equal(one.frames, two.frames) and one[1:] == two[1:]


def test_a_training_clip(index: FrameIndex) -> None:
    sample = clips(index)[3]
    assert sample.frames.shape == (1, 4, 5, 3, 32, 32)
    assert sample.frames.dtype == torch.uint8
    assert (sample.video_id, sample.labels, sample.target.item()) == ("clip003.avi", (1,), 1)


def test_a_training_clip_has_the_pixels_of_the_straightforward_way(index: FrameIndex) -> None:
    source, mirrored = clips(index), 0
    for number, video in enumerate(source.videos):
        rng = rng_for(0, 0, number)
        wanted = windows(train_indices(video.n_frames, 4, 5, rng), 5, video.n_frames)
        crop = multi_scale_crop(64, 48, 32, True, rng)
        mirrored += crop.mirrored
        view = []
        for frame in decode_frames(index.store().jpegs(video.video_id, wanted.flatten().tolist())):
            part = frame[:, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
            view.append(resize(part.contiguous(), 32, 32))
        expected = torch.stack(view).flip(-1) if crop.mirrored else torch.stack(view)
        assert torch.equal(source[number].frames.flatten(0, 2), expected)
    assert 0 < mirrored < 7


def test_training_clips_depend_on_seed_epoch_and_position_alone(index: FrameIndex) -> None:
    one, two = clips(index), clips(index)
    later = [two[n] for n in (6, 3, 0)]
    assert all(same(one[n], sample) for n, sample in zip((6, 3, 0), later, strict=True))
    first = [one[n] for n in range(7)]
    one.set_epoch(1)
    assert not any(torch.equal(one[n].frames, first[n].frames) for n in range(7))
    one.set_epoch(0)
    assert all(same(one[n], first[n]) for n in range(7))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_loader_workers_change_nothing(index: FrameIndex) -> None:
    source = clips(index)
    source.set_epoch(2)
    expected = collate([source[n] for n in range(7)])
    loader: Iterator[Batch] = iter(
        DataLoader(source, batch_size=7, num_workers=2, collate_fn=collate)
    )
    found = next(loader)
    assert torch.equal(found.frames, expected.frames)
    assert found.video_ids == expected.video_ids
    assert list(loader) == []


def test_a_pickled_data_set_gives_the_same_clips(index: FrameIndex) -> None:
    source = clips(index)  # what a spawned loader worker starts from
    source.set_epoch(3)
    assert same(pickle.loads(pickle.dumps(source))[5], source[5])


def test_a_test_clip_is_exactly_what_its_protocol_says(index: FrameIndex) -> None:
    protocol = PROTOCOLS["twice_2x3"]
    source = clips(index, EvalRule(4, 5, protocol, 48, 48))
    assert len(source) == 14
    sample = source[5]
    video = index.split("train")[2]
    assert (sample.video_id, sample.clip) == (video.video_id, 1)
    assert sample.frames.shape == (3, 4, 5, 3, 48, 48)
    _, frames = views(protocol, video.n_frames, 4, 5, video.video_id, 0)[1]
    jpegs = index.store().jpegs(video.video_id, frames.reshape(-1).tolist())
    expected = crop_views(decode_frames(jpegs), "three", 48, 48)
    assert torch.equal(sample.frames.reshape(expected.shape), expected)


def test_a_protocol_may_fix_the_number_of_segments(index: FrameIndex) -> None:
    source = clips(index, EvalRule(4, 2, PROTOCOLS["snippets_25x10"], 40, 32))
    assert source[0].frames.shape == (10, 25, 2, 3, 32, 32)


def test_label_aware_flips_swap_the_label(index: FrameIndex) -> None:
    rule = TrainRule(4, 5, "segments_random", 32, "label_aware", (("a", "b"),))
    plain, aware = clips(index), clips(index, rule)
    flipped = 0
    for epoch in range(6):
        plain.set_epoch(epoch)
        aware.set_epoch(epoch)
        for n in range(7):
            one, two = plain[n], aware[n]
            assert torch.equal(one.frames, two.frames)
            assert one.labels == two.labels
            flipped += one.target.item() != two.target.item()
    assert 10 < flipped < 32


def test_several_labels_become_a_row_of_zeros_and_ones(index: FrameIndex) -> None:
    assert clips(index, multi_label=True)[1].target.tolist() == [0.0, 1.0]


def test_a_cache_changes_nothing_and_keeps_to_its_budget(index: FrameIndex) -> None:
    per_video = 3 * 64 * 48 * 26
    cached, plain = clips(index, cache_mb=1), clips(index)
    for n in (0, 1, 0, 6):
        assert same(cached[n], plain[n])
    assert list(cached._cache) == ["clip000.avi", "clip001.avi", "clip006.avi"]
    for n in range(7):
        cached[n]
    assert cached._cached_bytes <= 1 << 20 < cached._cached_bytes + per_video
    assert pickle.loads(pickle.dumps(cached))._cache == {}


def test_a_batch_puts_the_crops_of_a_clip_side_by_side(index: FrameIndex) -> None:
    source = clips(index, EvalRule(4, 5, PROTOCOLS["center_1x3"], 48, 48))
    batch = collate([source[0], source[1]])
    assert batch.frames.shape == (6, 4, 5, 3, 48, 48)
    assert batch.frames.stride()[-3:] == (1, 3 * 48, 3)
    assert batch.video_ids == ["clip000.avi"] * 3 + ["clip001.avi"] * 3
    assert (batch.clips, batch.crops) == ([0] * 6, [0, 1, 2] * 2)
    assert batch.target.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(batch.frames[4], source[1].frames[1])


def test_a_video_without_frames_is_the_callers_to_leave_out(tmp_path: Path) -> None:
    made = own_videos(tmp_path, numbered(2), max_failed_fraction=1.0)
    (made.raw / "videos" / "clip001.avi").unlink()
    made.check()
    made.decode()
    with pytest.raises(StoreError, match=r"clip001\.avi has no frames: missing"):
        clips(read_index(made.frames))


def test_grey_frames_become_colour() -> None:
    sink = io.BytesIO()
    Image.new("L", (16, 12), 77).save(sink, "JPEG")
    (grey,) = decode_frames([bytearray(sink.getvalue())])
    assert grey.shape == (3, 12, 16)
    (colour,) = decode_frames([bytearray(jpeg(0))])
    assert colour.permute(1, 2, 0).is_contiguous()


def test_dense_training(index: FrameIndex) -> None:
    rule = TrainRule(8, 1, "dense", 32, "none")
    assert clips(index, rule)[0].frames.shape == (1, 8, 1, 3, 32, 32)


def test_positions_outside_are_errors(index: FrameIndex) -> None:
    with pytest.raises(IndexError):
        clips(index)[7]


def test_threads_change_nothing(index: FrameIndex) -> None:
    alone, pooled = clips(index), clips(index, threads=3)
    assert all(same(alone[n], pooled[n]) for n in range(7))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_threads_survive_a_fork(index: FrameIndex) -> None:
    pooled = clips(index, threads=2)
    expected = collate([pooled[n] for n in range(4)])  # the parent's threads are running
    loader: Iterator[Batch] = iter(
        DataLoader(pooled, batch_size=4, num_workers=1, collate_fn=collate)
    )
    assert torch.equal(next(loader).frames, expected.frames)


def test_each_distinct_frame_is_decoded_once(index: FrameIndex) -> None:
    seen: list[int] = []
    jpegs = index.store().jpegs("clip003.avi", range(4))
    names = {bytes(jpeg): number for number, jpeg in enumerate(jpegs)}

    def spy(jpeg: bytearray) -> torch.Tensor:
        seen.append(names[bytes(jpeg)])
        return decode_frame(jpeg)

    expected = decode_frames([jpegs[number] for number in (2, 1, 2, 0, 1, 1)])
    frames = Decoding(dict(enumerate(jpegs)), [2, 1, 2, 0, 1, 1], spy, 1)
    assert len(frames) == 6
    assert all(torch.equal(a, b) for a, b in zip(frames, expected, strict=True))
    assert seen == [2, 1, 0]
