"""`tdn bench motion`: what motion costs as optical flow and as RGB differences, and how sparse
those differences are (Wang et al. 2021, sections 1 and 3.2, say so without numbers).

Times are of one segment: a stack of five TV-L1 fields at 340×256, against what S-TDM adds to the
network at 224² (the network with S-TDM less the one without). Frames come from a store and are
enlarged to 340×256: the time of TV-L1 depends on the size, hardly on the content.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.clips.jpeg_decode import decode_frames
from pipeline.clips.transforms import resize
from pipeline.core.benchmark import median_s, paired, write_benchmark
from pipeline.core.errors import UsageError
from pipeline.schema.flow_policy import FlowPolicy
from pipeline.store.index import FrameIndex
from pipeline.store.tvl1 import fields
from stages.bench.measures import fill_, sample_clips
from tdn_model.build import build
from tdn_model.contract import NetworkShape

Pixels = NDArray[np.float32]

FIELDS = 5
SEGMENTS = 8
_STILL = 8
"""Grey levels, of 255, up to which a pixel counts as unchanged."""


def run(
    index: FrameIndex,
    policy: FlowPolicy,
    out: Path,
    *,
    videos: int,
    rounds: int,
    side_px: int,
    width: int | None,
) -> None:
    """Write `motion.json` and `motion.md` into `out`; `width` narrows the networks, for a try."""
    usable = [video for video in index.videos if video.usable and video.n_frames > FIELDS]
    if not usable:
        raise UsageError("no usable video of more than five frames", do="decode a data set first")
    chosen = usable[:: max(1, len(usable) // videos)][:videos]
    store = index.store()
    clips = [store.jpegs(video.video_id, list(range(FIELDS + 1))) for video in chosen]
    stack = [_enlarged(frame) for frame in decode_frames(clips[0])]
    networks = {
        name: fill_(_network(stages, width)).eval()
        for name, stages in (("without", ()), ("with", (1, 2)))
    }
    frames = sample_clips(networks["with"], 1, side_px, torch.device("cpu"))

    def forward(name: str) -> None:
        with torch.inference_mode():
            networks[name](frames)

    samples = paired(
        {
            "TV-L1": lambda: fields(stack, policy),
            "network with S-TDM": lambda: forward("with"),
            "network without": lambda: forward("without"),
        },
        rounds=rounds,
    )
    flow_ms = 1000 * median_s(samples["TV-L1"], "cpu_s")
    pairs = zip(samples["network with S-TDM"], samples["network without"], strict=True)
    added_ms = 1000 * float(np.median([a.cpu_s - b.cpu_s for a, b in pairs])) / SEGMENTS
    rows: list[dict[str, object]] = [
        {"what": "five TV-L1 fields, 340×256", "CPU ms per segment": round(flow_ms, 1)},
        {
            "what": f"S-TDM, {side_px}² ({'full width' if width is None else f'width {width}'})",
            "CPU ms per segment": round(added_ms, 1),
        },
    ]
    rows += [{"what": what, "value": round(value, 4)} for what, value in sparsity(clips).items()]
    write_benchmark(
        out,
        "motion",
        title="Motion as optical flow and as RGB differences",
        settings={"data set": index.about["dataset"], "videos": len(chosen), "rounds": rounds},
        rows=rows,
        targets=[],
    )


def sparsity(clips: Sequence[Sequence[bytearray]]) -> dict[str, float]:
    """How sparse frames and their differences are, over consecutive frames of all clips.

    Hoyer's measure (√n − |x|₁/|x|₂) / (√n − 1): 0 where all pixels are equally large, 1 where one
    alone is not 0. The share of still pixels are those that change by no more than 8 of 255.
    """
    frames: list[float] = []
    differences: list[float] = []
    still: list[float] = []
    for clip in clips:
        pictures = [frame.numpy().astype(np.float32) for frame in decode_frames(clip)]
        frames += [_hoyer(picture) for picture in pictures]
        for before, after in itertools.pairwise(pictures):
            change = after - before
            differences.append(_hoyer(change))
            still.append(float((np.abs(change).max(axis=0) <= _STILL).mean()))
    return {
        "Hoyer sparsity of frames": float(np.mean(frames)),
        "Hoyer sparsity of differences": float(np.mean(differences)),
        "share of pixels that stay": float(np.mean(still)),
    }


def _hoyer(values: Pixels) -> float:
    flat = np.abs(values, dtype=np.float64).ravel()
    largest = float(np.sqrt((flat**2).sum()))
    if largest == 0:
        return 1.0
    root = float(np.sqrt(flat.size))
    return (root - float(flat.sum()) / largest) / (root - 1)


def _enlarged(frame: torch.Tensor) -> bytes:
    # torchvision's own operator, as in pipeline.clips.jpeg_decode: its Python wrapper warns on every call.
    picture: torch.Tensor = torch.ops.image.encode_jpeg(resize(frame, 340, 256).contiguous(), 90)
    return picture.numpy().tobytes()


def _network(s_tdm_stages: tuple[int, ...], width: int | None) -> torch.nn.Module:
    shape = NetworkShape(num_classes=174, num_segments=SEGMENTS, width=width)
    return build("tdn", shape, s_tdm_stages=s_tdm_stages, l_tdm_stages=())
