"""`tdn bench clips`: reading clips and training samples against PIL, torchcodec and decord."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pipeline.benchmark import Field as Clock
from pipeline.benchmark import Sample, median_s, paired, ratio, target, write_benchmark
from pipeline.blobs import pack
from pipeline.clips import ClipDataset, TrainRule, collate, on_device
from pipeline.crops import multi_scale_crop
from pipeline.decoding import Decoding, decode_frame, decode_half
from pipeline.framestore import FrameStore, ShardWriter
from pipeline.index import Video
from pipeline.sampling import rng_for, train_indices, windows
from pipeline.video import binary, build, decode
from stages.bench import authors
from stages.bench.corpus import KINDS, POLICY, generate, own

SEGMENTS, WINDOW, CROP_PX = 8, 5, 224
HALVES = (0, 1, 3, 4)
"""TDN's frames that are used as differences only: all of a window but its middle."""
RULE = TrainRule(SEGMENTS, WINDOW, "segments_random", CROP_PX, "plain")
ARRAYS, IMAGES, READ = "PIL to arrays", "PIL to images", "store to tensors"
READ_POOLED = "store to tensors, 2 threads"
READ_HALF = "store to tensors, half size"
READ_EIGHTH = "store to arrays, an eighth of the size"
"""The floor: the transform yields a pixel per block, so Huffman decoding is all but all of it."""
AUTHORS, SAMPLE, POOLED = "authors' sample", "our sample", "our sample, 2 threads"
HALF, CODEC = "our sample, half size", "torchcodec"
DECORD, DECORD_SEEKING = "decord", "decord, windows in any order"


@dataclass(frozen=True)
class Setting:
    """What is measured and how often."""

    rounds: int = 7
    clips: int = 12
    """Clips per round."""
    videos: Path | None = None
    most: int = 4
    frames: int | None = None
    """Shortens the generated videos, to try this out."""


@dataclass(frozen=True)
class Corpus:
    """The same videos as files, as folders of .jpg files and as a store."""

    files: dict[str, Path]
    folders: dict[str, Path]
    store: FrameStore
    videos: list[Video]


def run(setting: Setting, folder: Path, say: Callable[[str], None]) -> None:
    """Measure and write `clips.{json,md}` into `folder`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory(prefix="tdn-bench-") as name:
            say("preparing videos")
            corpus = prepare(setting, Path(name))
            say("reading and sampling")
            contenders, missing = _contenders(corpus, setting.clips)
            samples = paired(contenders, rounds=setting.rounds)
            effect = half_size_effect(corpus, setting.clips)
    finally:
        torch.set_num_threads(threads)
    size = corpus.videos[0]
    write_benchmark(
        folder,
        "clips",
        title="Reading clips and training samples",
        settings={
            "ffmpeg": build(binary()),
            "rounds": setting.rounds,
            "clips per round": setting.clips,
            "clip": f"{SEGMENTS} windows of {WINDOW} frames of {size.width_px}x{size.height_px}",
            "videos": "the user's own" if setting.videos else "generated, a key frame in 250",
            "threads": "1, but where a row says more",
            "samples": "ours end at uint8, to be normalised on the device; the authors' are floats",
        },
        rows=[*_rows(samples, setting.clips), effect],
        targets=_targets(samples, missing),
    )


def prepare(setting: Setting, place: Path) -> Corpus:
    """Videos, their .jpg files and their store below `place`."""
    program = binary()
    kind = next(kind for kind in KINDS if kind.name == "h264 340x256")
    if setting.videos is None:
        sources = generate(kind, place / "videos", program, setting.frames)
    else:
        sources = own(setting.videos, setting.most)
    sources = sorted(sources, key=lambda path: path.name.encode("utf-8"))
    videos, folders = [], {}
    with ShardWriter(place / "shard-00000.lmdb") as writer:
        for source in sources:
            made = decode(source, POLICY, program)
            stored = pack(made.stream, made.offsets, made.width_px, made.height_px)
            sha256 = writer.put(source.name, stored)
            folders[source.name] = place / "jpg" / source.name
            folders[source.name].mkdir(parents=True)
            for number, (first, end) in enumerate(pairwise(made.offsets), start=1):
                path = folders[source.name] / authors.TEMPLATE.format(number)
                path.write_bytes(made.stream[first:end])
            videos.append(
                Video(
                    source.name, [0], ["train"], 0, made.n_frames, made.width_px, made.height_px,
                    made.fps, source.name, None, sha256, "ok", "",
                )
            )  # fmt: skip
        shard = writer.close()
    store = FrameStore(place, [shard], {video.video_id: 0 for video in videos})
    return Corpus({source.name: source for source in sources}, folders, store, videos)


def _contenders(
    corpus: Corpus, count: int
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """What is timed, and why what is not is not."""
    picks = [_pick(corpus.videos[n % len(corpus.videos)], n) for n in range(count)]

    def clips(**options: Any) -> ClipDataset:
        return ClipDataset(corpus.store, corpus.videos, ["a"], RULE, 0, **options)

    made = {SAMPLE: clips(), POOLED: clips(threads=2), HALF: clips(half_size=HALVES)}

    def samples(name: str) -> Callable[[], object]:
        def draw() -> None:
            for number in range(count):
                made[name].set_epoch(number // len(corpus.videos))
                made[name][number % len(corpus.videos)]

        return draw

    def read(threads: int, half: bool = False) -> None:
        for video, frames in picks:
            jpegs = dict(enumerate(corpus.store.jpegs(video.video_id, frames)))
            decoder = decode_half if half else decode_frame
            list(Decoding(jpegs, list(jpegs), decoder, threads))

    def theirs() -> None:
        for number in range(count):
            video = corpus.videos[number % len(corpus.videos)]
            rng = rng_for(0, number // len(corpus.videos), number % len(corpus.videos))
            frames = _frames(video, rng)
            crop = multi_scale_crop(video.width_px, video.height_px, CROP_PX, True, rng)
            authors.sample(corpus.folders[video.video_id], frames, crop, CROP_PX)

    contenders: dict[str, Callable[[], object]] = {
        ARRAYS: lambda: [authors.arrays(corpus.folders[v.video_id], f) for v, f in picks],
        IMAGES: lambda: [authors.images(corpus.folders[v.video_id], f) for v, f in picks],
        READ: partial(read, 1),
        READ_POOLED: partial(read, 2),
        READ_HALF: partial(read, 1, half=True),
        READ_EIGHTH: partial(_read_eighth, corpus.store, picks),
        AUTHORS: theirs,
        **{name: samples(name) for name in made},
    }
    missing = {}
    decoders = (
        (CODEC, "torchcodec", authors.torchcodec, picks),
        (DECORD, "decord", authors.decord, picks),
        (DECORD_SEEKING, "decord", authors.decord, [_any_order(*pick) for pick in picks]),
    )
    for name, library, reader, wanted in decoders:
        reason = _unusable(library, reader, corpus, picks[0])
        if reason:
            missing[name] = reason
        else:
            contenders[name] = _random_access(reader, corpus, wanted)
    return contenders, missing


Reader = Callable[[Path, list[int]], object]
Pick = tuple[Video, list[int]]


def _read_eighth(store: FrameStore, picks: Sequence[Pick]) -> None:
    flags = cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_COLOR_RGB
    for video, frames in picks:
        for jpeg in store.jpegs(video.video_id, frames):
            cv2.imdecode(np.frombuffer(jpeg, np.uint8), flags)


def _any_order(video: Video, frames: list[int]) -> Pick:
    """The windows of a clip shuffled, so that a decoder has to go back for most of them."""
    shuffled = rng_for(0, "order", *frames).permutation(np.reshape(frames, (SEGMENTS, WINDOW)))
    return video, [int(frame) for frame in shuffled.reshape(-1)]


def _random_access(reader: Reader, corpus: Corpus, picks: Sequence[Pick]) -> Callable[[], object]:
    return lambda: [reader(corpus.files[v.video_id], f) for v, f in picks]


def _unusable(name: str, reader: Reader, corpus: Corpus, pick: Pick) -> str:
    """Why a decoder cannot be measured here; empty where it can."""
    if importlib.util.find_spec(name) is None:
        return f"{name} is not installed"
    try:
        reader(corpus.files[pick[0].video_id], pick[1])
    except (ImportError, OSError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"{name} does not run here: {first[:80]}"
    return ""


def _pick(video: Video, number: int) -> Pick:
    return video, _frames(video, rng_for(0, "pick", number))


def _frames(video: Video, rng: np.random.Generator) -> list[int]:
    first = train_indices(video.n_frames, SEGMENTS, WINDOW, rng)
    return [int(frame) for frame in windows(first, WINDOW, video.n_frames).reshape(-1)]


def half_size_effect(corpus: Corpus, count: int) -> dict[str, Any]:
    """What decoding at half size does to pixels (grey levels of 255, means over clips).

    To the frames as they reach the network, and to what S-TDM makes of them: differences of
    neighbouring frames, averaged over 2x2 pixels. Both sides see the same even crops.
    """
    nowhere = (-1,)  # no place of a window, but even crops as for the other side
    whole = ClipDataset(corpus.store, corpus.videos, ["a"], RULE, 0, half_size=nowhere)
    half = ClipDataset(corpus.store, corpus.videos, ["a"], RULE, 0, half_size=HALVES)
    frames, differences, size = [], [], []
    for number in range(count):
        for clips in (whole, half):
            clips.set_epoch(number // len(corpus.videos))
        batches = (collate([clips[number % len(corpus.videos)]]) for clips in (whole, half))
        one, two = (on_device(batch, torch.device("cpu"))[0].float() for batch in batches)
        frames.append((one - two)[:, list(HALVES)].abs().mean().item())
        moved = _differences(one), _differences(two)
        differences.append((moved[0] - moved[1]).abs().mean().item())
        size.append(moved[0].abs().mean().item())
    return {
        "what": "half size against whole, grey levels",
        "frames": round(float(np.mean(frames)), 3),
        "pooled differences": round(float(np.mean(differences)), 3),
        "size of pooled differences": round(float(np.mean(size)), 3),
    }


def _differences(clip: Tensor) -> Tensor:
    """(T, F, 3, H, W) → differences of neighbouring frames at half resolution."""
    return avg_pool2d((clip[:, 1:] - clip[:, :-1]).flatten(0, 1), 2)


def _rows(samples: dict[str, list[Sample]], clips: int) -> list[dict[str, Any]]:
    rows = []
    for name, found in samples.items():
        against = AUTHORS if name in (SAMPLE, POOLED, HALF) else ARRAYS
        rows.append(
            {
                "what": name,
                "cpu ms": round(1000 * median_s(found, "cpu_s") / clips, 2),
                "wall ms": round(1000 * median_s(found, "wall_s") / clips, 2),
                "against": against,
                "faster, cpu": ratio(samples, against, name, "cpu_s"),
                "faster, wall": ratio(samples, against, name, "wall_s"),
            }
        )
    return rows


def _targets(samples: dict[str, list[Sample]], missing: dict[str, str]) -> list[dict[str, Any]]:
    def times(over: str, under: str, field: Clock = "cpu_s") -> float | None:
        return ratio(samples, over, under, field)["median"] if over in samples else None

    read, sample = times(ARRAYS, READ), times(AUTHORS, SAMPLE)
    goals = [
        ("clip read: PIL from .jpg files to arrays / store to tensors, CPU", read, 2.0, ""),
        ("the same, stretch", read, 4.0, ""),
        ("the same, ours on two threads, wall", times(ARRAYS, READ_POOLED, "wall_s"), 2.0, ""),
        ("training sample: the authors' PIL pipeline / ours, CPU", sample, 4.0, ""),
        ("the same, stretch", sample, 8.0, ""),
        ("clip read: torchcodec on the video / ours, CPU", times(CODEC, READ), 7.0, CODEC),
        ("clip read: decord on the video / ours, CPU", times(DECORD, READ), 35.0, DECORD),
        ("the same, windows in any order", times(DECORD_SEEKING, READ), 35.0, DECORD_SEEKING),
    ]
    return [
        target(what, found, at_least=least, reason=missing.get(name, ""))
        for what, found, least, name in goals
    ]
