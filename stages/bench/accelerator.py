"""`tdn bench accelerator`: running times of the papers' networks against what the device can do.

Networks are those of `tdn bench timings`, clips lie on the device. A pass is held against two
floors: its multiply-adds at the rate of a large matrix product, and the bytes that its layers read
and write once each at the rate of a copy, both measured here. No pass that computes every layer
once, one after another, by direct convolution, is faster than the larger of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.io import ImageReadMode

from pipeline.clips.jpeg_decode import decode_frame
from pipeline.core.benchmark import Report, compare, median_s, paired
from pipeline.core.workspace import Workspace, find_root
from pipeline.schema.protocols import CROP_COUNTS, load_protocols
from stages.bench.corpus import moving_noise
from stages.bench.measures import (
    Pass,
    difference,
    fill_,
    in_tf32,
    pick_device,
    sample_clips,
    waiting,
    ways,
)
from stages.bench.running_time import networks_of_rows, wanted
from tdn_model.build import build_from
from tdn_model.count_cost import measure
from tdn_model.inference import fold

ROUGH, EXACT = 3e-2, 1e-3
"""max|Δ| / max|logit| to the network as trained in float32: of bfloat16 and TF32, of the others."""
TYPES = ("float32", "TF32", "bfloat16")
GRAPH = "CUDA graph"
JPEGS = 128


@dataclass(frozen=True)
class Setting:
    """What is measured and how often; `only` limits the rows."""

    device: str = "cuda"
    batch: tuple[int, ...] = ()
    """Videos at a time (default: 16)."""
    rounds: int = 5
    side: int | None = None
    """Of the frames, in pixels (default: 224)."""
    width: int | None = None
    only: tuple[str, ...] = ()


def run(setting: Setting, say: Callable[[str], None]) -> Report:
    """Each network in each form, then JPEGs decoded on the device and on the processor."""
    device = pick_device(setting.device)
    work = Workspace(find_root(Path.cwd()), "paper")
    specs, protocols = networks_of_rows(work), load_protocols(work.manifests)
    asked = wanted(work, setting.only)
    rates = peak_rates(device)
    say(", ".join(f"{name} {rate:.3g}" for name, rate in rates.items()))
    rows: list[dict[str, Any]] = []
    for row, protocol in asked:
        views = protocols[protocol].clips * CROP_COUNTS[protocols[protocol].crops]
        for batch in setting.batch or (16,):
            found = _times(setting, device, specs[row], views, batch, rates)
            rows += [{"row": row, **timed} for timed in found]
            best = min(found, key=lambda timed: float(timed["ms per video"]))
            say(f"{row}: {best['ms per video']:.3g} ms a video, {best['way']}")
    for values in jpeg_rates(device, setting.rounds):
        say(f"JPEG, {values['way']}: {values['frames per s']:,.0f} frames/s")
        rows.append(values)
    settings = {"device": setting.device, "rounds": setting.rounds, **rates}
    title = "Running time per video, clips on the device, against its floors"
    return Report(f"accelerator.{setting.device}", title, settings, rows)


def peak_rates(device: torch.device, size: int | None = None) -> dict[str, float]:
    """What the device does best: TFLOP/s of a square product by type, TB/s of a copy."""
    size = size or (8192 if device.type == "cuda" else 512)
    rates = {}
    for name in TYPES:
        dtype = torch.bfloat16 if name == "bfloat16" else torch.float32
        one, other = torch.randn(2, size, size, device=device, dtype=dtype)
        product: Pass = partial(torch.matmul, other)
        call = waiting(partial(in_tf32(product) if name == "TF32" else product, one), device)
        seconds = median_s(paired({name: call}, rounds=5)[name])
        rates[f"{name}, TFLOP/s"] = 2 * size**3 / seconds / 1e12
    source = torch.empty(size, size, 4, device=device)
    target = torch.empty_like(source)
    seconds = median_s(
        paired({"copy": waiting(partial(target.copy_, source), device)}, rounds=5)["copy"]
    )
    return rates | {"copy, TB/s": 2 * source.numel() * 4 / seconds / 1e12}


def moved_bytes(model: nn.Module, clips: Tensor) -> int:
    """Bytes that the layers with nothing inside read and write once each in one pass.

    Layers that hand on what they are given (identities, reshapes, dropout at rest) move nothing.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        if output.untyped_storage().data_ptr() == inputs[0].untyped_storage().data_ptr():
            return
        tensors = [t for t in (*inputs, output, *layer.parameters()) if isinstance(t, Tensor)]
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    leaves = [layer for layer in model.modules() if not any(layer.children())]
    handles = [layer.register_forward_hook(count) for layer in leaves]
    try:
        with torch.inference_mode():
            model(clips)
    finally:
        for handle in handles:
            handle.remove()
    return total


def _times(
    setting: Setting,
    device: torch.device,
    spec: dict[str, Any],
    views: int,
    batch: int,
    rates: dict[str, float],
) -> list[dict[str, Any]]:
    """One network: a row per form, all of equal answers."""
    keywords = {
        "backbone": spec["backbone"],
        "num_classes": spec["num_classes"],
        "num_segments": spec["segments"],
        "width": setting.width,
        **spec["options"],
    }
    model = build_from(spec["architecture"], keywords)
    fill_(model).eval().to(device)
    clips = sample_clips(model, batch, setting.side or spec["side_px"], device)
    passes = ways(model, device, compiled=False)
    if device.type == "cuda":
        graphs = {f"{name}, {GRAPH}": _graph(way, clips) for name, way in passes.items()}
        passes |= graphs
    gmacs = measure(model, clips[:1].shape).gmacs
    moved = moved_bytes(fold(model), clips) / batch
    with torch.inference_mode():
        want = model(clips)
        away = {name: difference(way(clips), want) for name, way in passes.items()}
        calls = {name: waiting(partial(way, clips), device) for name, way in passes.items()}
        samples = paired(calls, rounds=setting.rounds)
    rows = []
    for name, found in samples.items():
        narrow = "bfloat16" in name or "TF32" in name
        if away[name] > (ROUGH if narrow else EXACT):
            raise AssertionError(f"{name}: {away[name]:.2g} from the network as trained")
        rate = rates[f"{next((kind for kind in TYPES if kind in name), TYPES[0])}, TFLOP/s"]
        ms = 1e3 * views * median_s(found) / batch
        arithmetic = views * 2 * gmacs / rate  # ms: 10^9 operations over 10^12 a second
        bandwidth = views * moved / (2 if "bfloat16" in name else 1) / rates["copy, TB/s"] / 1e9
        rows.append(
            {
                "way": name, "views": views, "batch": batch, "ms per video": ms,
                "clips per s": 1e3 * views / ms, "arithmetic floor, ms": arithmetic,
                "bandwidth floor, ms": bandwidth, "of the floor": max(arithmetic, bandwidth) / ms,
                "difference": away[name],
            }
        )  # fmt: skip
    return rows


def _graph(way: Pass, clips: Tensor) -> Pass:
    """A pass over clips of this shape, recorded once and launched as a whole."""
    held = clips.clone()
    new_stream: Callable[[], Any] = torch.cuda.Stream  # torch leaves it untyped
    stream = new_stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.inference_mode():
        for _ in range(3):
            way(held)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.inference_mode():
        logits = way(held)

    def call(given: Tensor) -> Tensor:
        held.copy_(given)
        graph.replay()
        return logits.clone()

    return call


def jpeg_rates(device: torch.device, rounds: int) -> Sequence[dict[str, Any]]:
    """Stored frames of 340 × 256 pixels, decoded in one batch: on the device, and here by turns."""
    with TemporaryDirectory(prefix="tdn-bench-") as name:
        corpus = moving_noise(Path(name), count=1, frames=JPEGS, size_px=(340, 256))
        jpegs = corpus.store.jpegs(corpus.videos[0].video_id)
    calls: dict[str, Callable[[], object]] = {
        "processor": lambda: [decode_frame(jpeg) for jpeg in jpegs]
    }
    if device.type == "cuda":
        frames = [torch.frombuffer(jpeg, dtype=torch.uint8) for jpeg in jpegs]
        nvjpeg = partial(torch.ops.image.decode_jpegs_cuda, frames, ImageReadMode.RGB.value, device)
        calls["nvJPEG"] = waiting(nvjpeg, device)
    found = compare(calls, against="processor", rounds=rounds, count=JPEGS, unit="frame")
    return [
        {"row": "JPEG", **values, "frames per s": 1e3 / values["ms per frame"]} for values in found
    ]
