"""`tdn bench clips`: reading clips and training samples against PIL, torchcodec and decord."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from pipeline.clips.clip_dataset import ClipDataset, TrainRule
from pipeline.clips.crops import multi_scale_crop
from pipeline.clips.jpeg_decode import Decoding, decode_frame
from pipeline.clips.sampling import rng_for, train_indices, windows
from pipeline.core.benchmark import Report, compare
from pipeline.store.index import Video
from pipeline.store.lmdb_store import FrameStore
from pipeline.video.ffmpeg import binary, build
from stages.bench import authors_reader
from stages.bench.corpus import PLAIN, Corpus, generate, own, write_store

SEGMENTS, WINDOW, CROP_PX = 8, 5, 224
RULE = TrainRule(SEGMENTS, WINDOW, "segments_random", CROP_PX, "plain")
ARRAYS, READ = "PIL to arrays", "store to tensors"
AUTHORS, SAMPLE = "authors' sample", "our sample"
DECODERS = {"torchcodec": authors_reader.torchcodec, "decord": authors_reader.decord}
Pick = tuple[Video, list[int]]
"""A video and the frames of a clip of it."""


@dataclass(frozen=True)
class Setting:
    """What is measured and how often."""

    rounds: int = 7
    clips: int = 12
    """Clips per round."""
    videos: Path | None = None
    most: int = 4
    frames: int | None = None
    """Shortens the generated videos."""


def run(setting: Setting, say: Callable[[str], None]) -> Report:
    """Measure on one thread, but for the rows that say more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with TemporaryDirectory(prefix="tdn-bench-") as folder:
            say("preparing videos")
            corpus = prepare(setting, Path(folder))
            say("reading and sampling")
            rows, missing = _measure(corpus, Path(folder) / "jpg", setting)
    finally:
        torch.set_num_threads(threads)
    size = corpus.videos[0]
    settings = {
        "ffmpeg": build(binary()),
        "rounds": setting.rounds,
        "clips per round": setting.clips,
        "clip": f"{SEGMENTS} windows of {WINDOW} frames of {size.width_px}x{size.height_px}",
        "videos": "the user's own" if setting.videos else "generated, a key frame in 250",
        "threads": "1, but where a row says more",
        "samples": "ours end at uint8, to be normalised on the device; the authors' are floats",
    }
    if missing:
        settings["not measured"] = missing
    return Report("clips", "Reading clips and training samples", settings, rows)


def prepare(setting: Setting, folder: Path) -> Corpus:
    """Videos, their store and, in `folder/jpg`, a folder of .jpg files of each."""
    if setting.videos is None:
        sources = generate(PLAIN, folder / "videos", binary(), frames=setting.frames)
    else:
        sources = [path for paths in own(setting.videos, setting.most).values() for path in paths]
    corpus = write_store(sources, folder / "store", binary())
    for video in corpus.videos:
        place = folder / "jpg" / video.video_id
        place.mkdir(parents=True)
        for number, jpeg in enumerate(corpus.store.jpegs(video.video_id), start=1):
            (place / authors_reader.TEMPLATE.format(number)).write_bytes(jpeg)
    return corpus


def _measure(
    corpus: Corpus, folder: Path, setting: Setting
) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows, and which decoder could not be measured, with the reason."""
    videos, count = corpus.videos, setting.clips
    picks = [_pick(videos[n % len(videos)], n) for n in range(count)]
    reads: dict[str, Callable[[], object]] = {
        ARRAYS: lambda: [authors_reader.arrays(folder / v.video_id, f) for v, f in picks],
        READ: partial(read, corpus.store, picks),
        f"{READ}, 2 threads": partial(read, corpus.store, picks, threads=2),
    }
    missing = []
    for name, reader in DECODERS.items():
        files = [(corpus.files[video.video_id], frames) for video, frames in picks]
        if reason := _unusable(name, partial(reader, *files[0])):
            missing.append(reason)
        else:
            reads[name] = partial(_each, reader, files)
    samples = {
        AUTHORS: partial(_authors_samples, corpus, folder, count),
        SAMPLE: partial(_our_samples, corpus, count, 1),
        f"{SAMPLE}, 2 threads": partial(_our_samples, corpus, count, 2),
    }
    rows = compare(reads, against=ARRAYS, rounds=setting.rounds, count=count, unit="clip")
    rows += compare(samples, against=AUTHORS, rounds=setting.rounds, count=count, unit="clip")
    return rows, missing


def _each(reader: Callable[..., object], files: list[tuple[Path, list[int]]]) -> None:
    for path, frames in files:
        reader(path, frames)


def _authors_samples(corpus: Corpus, folder: Path, count: int) -> None:
    for number in range(count):
        epoch, place = divmod(number, len(corpus.videos))
        video, rng = corpus.videos[place], rng_for(0, epoch, place)
        frames = _frames(video, rng)
        crop = multi_scale_crop(video.width_px, video.height_px, CROP_PX, True, rng)
        authors_reader.sample(folder / video.video_id, frames, crop, CROP_PX)


def _our_samples(corpus: Corpus, count: int, threads: int) -> None:
    clips = ClipDataset(corpus.store, corpus.videos, ["a"], RULE, 0, threads=threads)
    for number in range(count):
        epoch, place = divmod(number, len(corpus.videos))
        clips.set_epoch(epoch)
        clips[place]


def read(store: FrameStore, picks: list[Pick], *, threads: int = 1) -> None:
    """Decode every frame of every pick into a tensor."""
    for video, frames in picks:
        jpegs = store.jpegs(video.video_id, frames)
        list(Decoding(dict(enumerate(jpegs)), range(len(jpegs)), decode_frame, threads))


def _unusable(library: str, attempt: Callable[[], object]) -> str:
    """Why a decoder cannot be measured here; empty where it can."""
    if importlib.util.find_spec(library) is None:
        return f"{library} is not installed"
    try:
        attempt()
    except (ImportError, OSError, RuntimeError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"{library} does not run here: {first[:80]}"
    return ""


def _pick(video: Video, number: int) -> Pick:
    return video, _frames(video, rng_for(0, "pick", number))


def _frames(video: Video, rng: np.random.Generator) -> list[int]:
    first = train_indices(video.n_frames, SEGMENTS, WINDOW, rng)
    return [int(frame) for frame in windows(first, WINDOW, video.n_frames).reshape(-1)]
