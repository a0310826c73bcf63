"""The figure of TANet's kernels along time: V and Θ of test videos, I3D's own weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from pipeline.core.errors import AbsentData
from pipeline.reporting.figures.canvas import Figure
from pipeline.reporting.figures.kernels import Sample, draw_kernels, in_words
from pipeline.schema.figure_list import Kernels, Place
from stages.figure_data.clip_maps import Viewer, eval_videos, sample_videos
from stages.figure_data.figure_inputs import Context, each, make_figure
from tdn_model.models.tanet import capture_kernels

_BATCH = 8


def kernels(context: Context, key: str, spec: Kernels) -> Figure:
    """TANet's V and Θ of test videos and I3D's kernels, per place and data set."""
    rows, absent = each(spec.rows_named, context.row)
    places: dict[str, dict[str, Sample]] = {place: {} for place in spec.places}
    heads: dict[str, str] = {}
    for row in rows:
        model = context.open(row).model
        blocks = {name: block_of(model, place) for name, place in spec.places.items()}
        heads |= {name: f"{name}\n(here {block})" for name, block in blocks.items()}
        if row in spec.tanet:
            samples = adaptive(context.viewer(row), spec.videos, key, blocks)
        else:
            samples = {name: fixed(model, block) for name, block in blocks.items()}
        label = {**spec.i3d, **spec.tanet}[row]
        for place, sample in samples.items():
            places[place][label] = {**sample, **places[place].get(label, {})}
    readings = " ".join(f"{name}: {place.reading}." for name, place in spec.places.items())
    note = f"{readings} At most {spec.videos} test videos per data set. Half violins: "
    note += "the data sets; bars from quartile to quartile, white dots at the median."
    caption = context.caption(spec, rows, "each row's first", found=note)
    drawing = draw_kernels(places, heads)
    found = in_words(drawing.numbers)
    return make_figure(key, spec, drawing, f"{caption} {found}", rows, absent, found=found)


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
    parts: dict[str, list[dict[str, np.ndarray]]] = {place: [] for place in blocks}
    for start in range(0, len(videos), _BATCH):
        clips = torch.cat([viewer.clip(v).network for v in videos[start : start + _BATCH]])
        with capture_kernels(opened.model) as captured, torch.no_grad():
            opened.model(clips.to(opened.device))
        for place, block in blocks.items():
            one = next(made for name, made in captured.items() if name.startswith(f"{block}."))
            tensors = {"importance": one.importance, "kernel": one.kernel}
            parts[place].append({k: t.double().cpu().numpy() for k, t in tensors.items()})
    samples: dict[str, Sample] = {}
    for place, batches in parts.items():
        whole = {kind: np.concatenate([batch[kind] for batch in batches]) for kind in batches[0]}
        samples[place] = {kind: values for kind, values in whole.items() if values.size}
    return samples


def fixed(model: nn.Module, block: str) -> Sample:
    """The kernels along time of a 3-D block's first convolution: (pairs of channels, 3)."""
    weight = model.get_parameter(f"{block}.conv1.weight").detach().double().cpu()
    return {"i3d": weight.flatten(2).flatten(0, 1).numpy()}
