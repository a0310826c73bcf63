"""From the id of a stored video back to the scene that was rendered for it."""

from __future__ import annotations

from pathlib import PurePosixPath

from pipeline.mini.layouts import LAYOUTS
from pipeline.mini.motion_plan import Clip, ScenePlan, plan_scenes
from pipeline.schema.miniature import Miniature


def scenes_by_id(dataset: str, miniature: Miniature) -> dict[str, tuple[ScenePlan, Clip]]:
    """{video id: (its scene, its clip)} of a generated data set.

    A reader's id is the end of the clip's path from some folder on, with or without the file's
    ending; all of these are keys. `miniature` is a plan's: the order of its keys decides the ids.
    """
    scenes = {}
    for plan in plan_scenes(dataset, miniature):
        for clip in plan.clips:
            path = PurePosixPath(LAYOUTS[dataset].place(clip))
            for name in (path, path.with_suffix("")):
                for first in range(len(name.parts)):
                    scenes["/".join(name.parts[first:])] = plan, clip
    return scenes
