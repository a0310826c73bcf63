"""StoredFrames of a data set's test videos, as they are stored."""

from __future__ import annotations

from typing import Any

from pipeline.core.errors import AbsentData
from pipeline.core.files import sha256_path
from pipeline.reporting.figures.canvas import Drawing, Figure, joined
from pipeline.schema.figure_list import StoredFrames
from pipeline.store.index import read_index
from stages.figure_data.figure_inputs import Context, make_figure


def stored_frames_from(context: Context, dataset: str, spec: StoredFrames) -> Any:
    """All that the figure of a data set is made from, as a JSON value."""
    path = context.work.frames(dataset) / "index.json"
    about = context.plan.datasets[dataset].model_dump(mode="json")
    return [dataset, spec.model_dump(mode="json"), about, sha256_path(path)]


def stored_frames(context: Context, key: str, dataset: str, spec: StoredFrames) -> Figure:
    """The middle frame of `spec.show` drawn test videos: the very JPEGs of the store.

    Raises AbsentData when the data set has no store or no usable test video.
    """
    from stages.figure_data.clip_maps import sample_videos  # loads torch

    index, about = read_index(context.work.frames(dataset)), context.plan.datasets[dataset]
    usable = [video for video in index.split(about.split) if video.usable and video.labels]
    if not usable:
        raise AbsentData("no usable test video", do="look at the decode counts in the report")
    files, videos = dict[str, bytes](), []
    for video in sample_videos(usable, spec.show, key):
        suffix, frame = f"{len(files) + 1}.jpg", video.n_frames // 2
        files[suffix] = bytes(index.store().jpegs(video.video_id, [frame])[0])
        classes = joined([index.classes[label] for label in video.labels])
        size = {"width_px": video.width_px, "height_px": video.height_px}
        named = {"video_id": video.video_id, "class": classes, "frame": frame}
        videos.append({**named, **size, "file": f"{key}.{suffix}"})
    caption = f"The middle frames of {len(videos)} videos of split {about.split}, drawn at random."
    if about.miniature is None:
        caption += " They are their owners': read the data set's licence before you publish them."
    alt = joined([f"{video['class']} ({video['video_id']})" for video in videos])
    drawing = Drawing(files, alt, {"dataset": dataset, "videos": videos})
    titled = spec.model_copy(update={"title": f"{spec.title}, {about.title}"})
    return make_figure(key, titled, drawing, caption)
