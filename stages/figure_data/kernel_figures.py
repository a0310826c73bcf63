"""The figure of TANet's kernels along time: V and Θ of test videos, I3D's own weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from pipeline.core.errors import AbsentData
from pipeline.reporting.figures.canvas import Figure
from pipeline.reporting.figures.kernels import Sample, draw_kernels
from pipeline.schema.figure_list import Kernels, Place
from stages.figure_data.clip_maps import Viewer, eval_videos, sample_videos
from stages.figure_data.figure_inputs import Context, reasons
from tdn_model.models.tanet import capture_kernels

_BATCH = 8


def kernels(context: Context, key: str, spec: Kernels) -> list[Figure]:
    """TANet's V and Θ of test videos and I3D's kernels, per place and data set."""
    absent = {row: why for row in spec.rows_named if (why := context.missing(row))}
    rows = [row for row in spec.rows_named if row not in absent]
    if not rows:
        return [context.nothing(key, spec, absent)]
    found: dict[str, dict[str, Sample]] = {place: {} for place in spec.places}
    heads: dict[str, str] = {}
    for row in rows:
        model = context.open(row).model
        blocks = {name: block_of(model, place) for name, place in spec.places.items()}
        heads |= {name: f"{name}\n(here {block})" for name, block in blocks.items()}
        if row in spec.tanet:
            label = spec.tanet[row]
            made = adaptive(context.viewer(row), spec.videos, key, blocks)
        else:
            label = spec.i3d[row]
            made = {name: fixed(model, block) for name, block in blocks.items()}
        for place, sample in made.items():
            found[place][label] = _merge(found[place].get(label, Sample()), sample)
    readings = " ".join(f"{name}: {place.reading}." for name, place in spec.places.items())
    finding = f"{readings} At most {spec.videos} test videos per data set. Half violins: "
    finding += "the data sets; bars from quartile to quartile, white dots at the median."
    protocol = "each row's first"
    caption = context.caption(spec, rows, protocol, found=finding)
    why = reasons(absent)
    figure = draw_kernels(key, spec.title, caption, found, heads=heads, missing=why)
    return [context.note(figure, rows, absent)]


def block_of(model: nn.Module, place: Place) -> str:
    """The name of a place's block, the stage's last when the network has fewer."""
    stage = model.get_submodule(f"res{place.stage}")
    assert isinstance(stage, nn.Sequential)
    return f"res{place.stage}.{min(place.block, len(stage)) - 1}"


def adaptive(viewer: Viewer, count: int, key: str, blocks: Mapping[str, str]) -> dict[str, Sample]:
    """V (videos, C, T) and Θ (videos, C, 3) of `count` drawn test videos at each place."""
    opened = viewer.opened
    videos = sample_videos(eval_videos(opened), count, key)
    if not videos:
        raise AbsentData("no usable test video", do="look at the decode counts in the report")
    local: dict[str, list[np.ndarray]] = {place: [] for place in blocks}
    whole: dict[str, list[np.ndarray]] = {place: [] for place in blocks}
    for start in range(0, len(videos), _BATCH):
        clips = torch.cat([viewer.clip(v).network for v in videos[start : start + _BATCH]])
        with capture_kernels(opened.model) as found, torch.no_grad():
            opened.model(clips.to(opened.device))
        for place, block in blocks.items():
            one = next(made for name, made in found.items() if name.startswith(f"{block}."))
            local[place].append(one.importance.double().cpu().numpy())
            whole[place].append(one.kernel.double().cpu().numpy())
    samples = {}
    for place in blocks:
        v, theta = np.concatenate(local[place]), np.concatenate(whole[place])
        samples[place] = Sample(v if v.size else None, theta if theta.size else None)
    return samples


def fixed(model: nn.Module, block: str) -> Sample:
    """The kernels along time of a 3-D block's first convolution: (pairs of channels, 3)."""
    weight = model.get_parameter(f"{block}.conv1.weight").detach().double().cpu()
    return Sample(i3d=weight.flatten(2).flatten(0, 1).numpy())


def _merge(one: Sample, other: Sample) -> Sample:
    parts = {
        name: getattr(other, name) if getattr(one, name) is None else getattr(one, name)
        for name in ("importance", "kernel", "i3d")
    }
    return Sample(**parts)
