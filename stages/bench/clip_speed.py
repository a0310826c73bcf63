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

from pipeline.clips.clip_dataset import ClipDataset, TrainRule
from pipeline.clips.crops import multi_scale_crop
from pipeline.clips.jpeg_decode import Decoding, decode_frame
from pipeline.clips.sampling import rng_for, train_indices, windows
from pipeline.core.benchmark import Clock, Sample, median_s, paired, ratio, target, write_benchmark
from pipeline.store.blob import pack
from pipeline.store.index import Video
from pipeline.store.lmdb_store import FrameStore, ShardWriter
from pipeline.video.decode_video import decode
from pipeline.video.ffmpeg import binary, build
from stages.bench import authors_reader
from stages.bench.corpus import KINDS, POLICY, generate, own

SEGMENTS, WINDOW, CROP_PX = 8, 5, 224
RULE = TrainRule(SEGMENTS, WINDOW, "segments_random", CROP_PX, "plain")
ARRAYS, IMAGES, READ = "PIL to arrays", "PIL to images", "store to tensors"
READ_POOLED = "store to tensors, 2 threads"
READ_EIGHTH = "store to arrays, an eighth of the size"
"""The floor: the transform yields a pixel per block, so Huffman decoding is all but all of it."""
AUTHORS, SAMPLE, POOLED = "authors' sample", "our sample", "our sample, 2 threads"
CODEC = "torchcodec"
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
        rows=_rows(samples, setting.clips),
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
    blobs: dict[str, bytes] = {}
    for source in sources:
        made = decode(source, POLICY, program)
        size = made.width_px, made.height_px
        blobs[source.name] = pack(made.stream, made.offsets, *size)
        folders[source.name] = place / "jpg" / source.name
        folders[source.name].mkdir(parents=True)
        for number, (first, end) in enumerate(pairwise(made.offsets), start=1):
            path = folders[source.name] / authors_reader.TEMPLATE.format(number)
            path.write_bytes(made.stream[first:end])
        videos.append(
            Video(
                source.name, [0], ["train"], 0, made.n_frames, *size,
                made.fps, source.name, None, None, "ok", "",
            )
        )  # fmt: skip
    store = _store(place / "store", blobs)
    return Corpus({source.name: source for source in sources}, folders, store, videos)


def _store(folder: Path, blobs: dict[str, bytes]) -> FrameStore:
    folder.mkdir()
    with ShardWriter(folder / "shard-00000.lmdb") as writer:
        for name, blob in blobs.items():
            writer.put(name, blob)
        shard = writer.close()
    return FrameStore(folder, [shard], dict.fromkeys(blobs, 0))


def _contenders(
    corpus: Corpus, count: int
) -> tuple[dict[str, Callable[[], object]], dict[str, str]]:
    """What is timed, and why what is not is not."""
    picks = [_pick(corpus.videos[n % len(corpus.videos)], n) for n in range(count)]

    def theirs() -> None:
        for number in range(count):
            video = corpus.videos[number % len(corpus.videos)]
            rng = rng_for(0, number // len(corpus.videos), number % len(corpus.videos))
            frames = _frames(video, rng)
            crop = multi_scale_crop(video.width_px, video.height_px, CROP_PX, True, rng)
            authors_reader.sample(corpus.folders[video.video_id], frames, crop, CROP_PX)

    contenders: dict[str, Callable[[], object]] = {
        ARRAYS: lambda: [authors_reader.arrays(corpus.folders[v.video_id], f) for v, f in picks],
        IMAGES: lambda: [authors_reader.images(corpus.folders[v.video_id], f) for v, f in picks],
        READ: partial(read, corpus.store, picks),
        READ_POOLED: partial(read, corpus.store, picks, threads=2),
        READ_EIGHTH: partial(_read_eighth, corpus.store, picks),
        AUTHORS: theirs,
        **_our_samples(corpus, count),
    }
    missing = {}
    decoders = (
        (CODEC, "torchcodec", authors_reader.torchcodec, picks),
        (DECORD, "decord", authors_reader.decord, picks),
        (DECORD_SEEKING, "decord", authors_reader.decord, [_any_order(*pick) for pick in picks]),
    )
    for name, library, reader, wanted in decoders:
        reason = _unusable(library, reader, corpus, picks[0])
        if reason:
            missing[name] = reason
        else:
            contenders[name] = _random_access(reader, corpus, wanted)
    return contenders, missing


def _our_samples(corpus: Corpus, count: int) -> dict[str, Callable[[], object]]:
    def sample(threads: int) -> None:
        clips = ClipDataset(corpus.store, corpus.videos, ["a"], RULE, 0, threads=threads)
        for number in range(count):
            clips.set_epoch(number // len(corpus.videos))
            clips[number % len(corpus.videos)]

    return {SAMPLE: partial(sample, 1), POOLED: partial(sample, 2)}


Reader = Callable[[Path, list[int]], object]
Pick = tuple[Video, list[int]]


def read(store: FrameStore, picks: Sequence[Pick], *, threads: int = 1) -> None:
    """Decode every frame of every pick into a tensor."""
    for video, frames in picks:
        jpegs = store.jpegs(video.video_id, frames)
        list(Decoding(dict(enumerate(jpegs)), range(len(jpegs)), decode_frame, threads))


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


def _rows(samples: dict[str, list[Sample]], clips: int) -> list[dict[str, Any]]:
    rows = []
    for name, found in samples.items():
        against = AUTHORS if name in (SAMPLE, POOLED) else ARRAYS
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

    whole, sample = times(ARRAYS, READ), times(AUTHORS, SAMPLE)
    goals = [
        ("clip read: PIL from .jpg files to arrays / store to tensors, CPU", whole, 2.0, ""),
        ("the same, stretch", whole, 4.0, ""),
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
