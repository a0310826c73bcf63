"""Miniature → a folder that looks like the official distribution.

Clips are written beside the destination, in `<destination>.partial`, each one whole or absent; the
folder takes its name when everything is in it. Interrupted, the next call goes on where this one
stopped. The bytes do not depend on the number of workers or on interruptions.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.files import sha256_file, sha256_json, write_atomic
from pipeline.mini.encode import encode, write_frames
from pipeline.mini.layouts import LAYOUTS, Layout
from pipeline.mini.motion_plan import ScenePlan, draw_scene, plan_scenes
from pipeline.mini.render import Frames, render
from pipeline.schema.base import nearest
from pipeline.schema.miniature import Miniature

_SCENES_PER_JOB = 16
_RECIPE = ".recipe"

Digests = dict[str, str]
"""Path inside the data set's folder → sha256 of the file."""


def generate(
    dataset: str,
    miniature: Miniature,
    destination: Path,
    workers: int,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, object]:
    """Make the miniature at `destination` (replacing what is there) and say what was written.

    `workers`: processes; 0 works in this one. `progress(done, total)` counts clips. Returns
    `dataset`, `recipe` (digest of what was asked for), `content` (digest of every file's path and
    bytes), `files`, `bytes`, `clips`, `subsets` (rows of each annotation) and `classes`.
    """
    layout = _layout(dataset)
    recipe = sha256_json({"dataset": dataset, "miniature": miniature.model_dump(mode="json")})
    folder = destination.with_name(destination.name + ".partial")
    _open_folder(folder, recipe)
    todo = plan_scenes(dataset, miniature)
    total = sum(len(plan.clips) for plan in todo)
    jobs = [todo[i : i + _SCENES_PER_JOB] for i in range(0, len(todo), _SCENES_PER_JOB)]
    files: Digests = {}
    done = 0
    with _mapping(workers) as run:
        for part in run(partial(_film, dataset, miniature, folder), jobs):
            files.update(part[1])
            done += part[0]
            if progress is not None:
                progress(done, total)
    clips = [clip for plan in todo for clip in plan.clips]
    for name, data in layout.annotate(miniature, clips).items():
        write_atomic(folder / name, data)
        files[name] = sha256_file(folder / name)
    size = sum((folder / name).stat().st_size for name in files)
    _publish(folder, destination)
    return {
        "dataset": dataset,
        "recipe": recipe,
        "content": sha256_json(files),
        "files": len(files),
        "bytes": size,
        "clips": total,
        "subsets": miniature.count_clips(),
        "classes": dict(sorted(Counter(name for clip in clips for name in clip.labels).items())),
    }


def _layout(dataset: str) -> Layout:
    if dataset not in LAYOUTS:
        raise UsageError(
            f"no miniature of '{dataset}' can be made",
            where="pipeline/mini/layouts.py",
            do=nearest(dataset, list(LAYOUTS)),
        )
    return LAYOUTS[dataset]


def _film(
    dataset: str, miniature: Miniature, folder: Path, job: list[ScenePlan]
) -> tuple[int, Digests]:
    """Write the clips of some scenes; returns how many and their files' digests."""
    layout, count, found = LAYOUTS[dataset], 0, Digests()
    for plan in job:
        places = [folder / layout.place(clip) for clip in plan.clips]
        if not all(place.exists() for place in places):
            frames = render(draw_scene(miniature, plan), miniature.width_px, miniature.height_px)
            for clip, place in zip(plan.clips, places, strict=True):
                if not place.exists():
                    _write(frames[::-1] if clip.reverse else frames, place, layout, miniature)
        for place in places:
            files = sorted(place.iterdir()) if place.is_dir() else [place]
            found.update({f.relative_to(folder).as_posix(): sha256_file(f) for f in files})
        count += len(places)
    return count, found


def _write(frames: Frames, place: Path, layout: Layout, miniature: Miniature) -> None:
    """Write one clip under a passing name, then give it its own."""
    place.parent.mkdir(parents=True, exist_ok=True)
    passing = place.with_name(f".tmp-{os.getpid()}-{place.name}")
    if layout.codec == "jpeg":
        write_frames(frames, passing, miniature.quality)
    else:
        encode(frames, passing, layout.codec, miniature.fps, miniature.quality)
    if layout.finish is not None:
        passing.write_bytes(layout.finish(passing.read_bytes()))
    os.replace(passing, place)


def _open_folder(folder: Path, recipe: str) -> None:
    """Go on with an interrupted run of the same recipe; throw away any other."""
    mark = folder / _RECIPE
    if folder.exists() and (not mark.is_file() or mark.read_text() != recipe):
        shutil.rmtree(folder)
    write_atomic(mark, recipe.encode())
    for left in folder.rglob(".tmp-*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def _publish(folder: Path, destination: Path) -> None:
    (folder / _RECIPE).unlink()
    if destination.exists():
        shutil.rmtree(destination)
    os.replace(folder, destination)


Run = Callable[
    [Callable[[list[ScenePlan]], tuple[int, Digests]], list[list[ScenePlan]]],
    Iterator[tuple[int, Digests]],
]


@contextmanager
def _mapping(workers: int) -> Iterator[Run]:
    """A map over jobs that yields results as they come: in this process or in `workers` others."""
    if workers < 1:
        yield lambda work, jobs: map(work, jobs)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        try:
            yield lambda work, jobs: (
                f.result() for f in as_completed([pool.submit(work, job) for job in jobs])
            )
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
