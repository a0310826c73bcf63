"""`tdn bench timings`: running times of the papers' networks, per video, with and without loading.

Which rows are timed, under which protocol, is what the tables' layouts ask for. Networks are full
size, clips are read from a store through the pipeline's own dataset.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from pipeline.clips.clip_dataset import ClipDataset, EvalRule, collate
from pipeline.clips.transforms import normalise
from pipeline.core.benchmark import Sample, median_s, paired, write_benchmark
from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace
from pipeline.schema.protocols import Protocol, load_protocols
from pipeline.schema.table_layouts import load_layouts
from pipeline.store.blob import pack
from pipeline.store.index import Video
from pipeline.store.lmdb_store import FrameStore, ShardWriter
from stages.bench.measures import compiler_missing, waiting
from tdn_model.build import build_from
from tdn_model.inference import fold
from tdn_model.training import predict_step

WIDTH_PX, HEIGHT_PX, FRAMES = 340, 256, 64
EVALUATED = "folded, float32"
"""The way that the tables show: what `tdn predict` does."""


@dataclass(frozen=True)
class Entry:
    """A row of a table that prints a time."""

    row: str
    protocol: str


@dataclass(frozen=True)
class Setting:
    """How it is measured; `only` limits the rows."""

    device: torch.device
    batch: int
    rounds: int = 3
    threads: int = 1
    side_px: int | None = None
    width: int | None = None
    only: tuple[str, ...] = ()

    @property
    def full_size(self) -> bool:
        """Whether networks and frames are the papers': what tables may show."""
        return self.side_px is None and self.width is None


def run(
    work: Workspace,
    specs: dict[str, dict[str, Any]],
    setting: Setting,
    folder: Path,
    say: Callable[[str], None],
) -> None:
    """Time every row that a layout prints a time of; write `timings.<device>.{json,md}`.

    `specs`: what the cost stage builds, by row. Raises UsageError when nothing is to be timed.
    """
    entries = wanted(work, setting.only)
    protocols = load_protocols(work.manifests)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        videos, store = synthetic_store(Path(place), max(setting.batch, 2))
        for entry in entries:
            if entry.row not in specs:
                say(f"{entry.row}: no such row in this profile; left out")
                continue
            say(f"{entry.row}, {entry.protocol}")
            timer = _Timer(setting, specs[entry.row], protocols[entry.protocol], videos, store)
            rows += [{"row": entry.row, "protocol": entry.protocol, **r} for r in timer.rows()]
    write_benchmark(
        folder,
        f"timings.{setting.device.type}",
        title="Running time per video",
        settings={
            "device": setting.device.type,
            "batch": setting.batch,
            "rounds": setting.rounds,
            "threads of the network": torch.get_num_threads(),
            "threads that decode frames": setting.threads,
            "store": f"generated, {FRAMES} frames of {WIDTH_PX}×{HEIGHT_PX} per video",
            "in the tables": f"rows of '{EVALUATED}', loading included",
        },
        rows=rows,
        targets=[],
    )


def wanted(work: Workspace, only: tuple[str, ...] = ()) -> list[Entry]:
    """The rows and protocols of all layouts' columns of times, each once."""
    found: dict[Entry, None] = {}
    for layout in load_layouts(work.manifests / "tables"):
        for name, column in layout.columns.items():
            if column.measure.kind != "timing":
                continue
            for row in layout.rows.values():
                key = row.run_for(name, column.source)
                if key is not None and (not only or key in only):
                    found[Entry(key, row.protocol or column.measure.protocol or "")] = None
    if not found:
        raise UsageError(
            "no row to time", where="manifests/tables/", do="name rows of a table that prints times"
        )
    return list(found)


def synthetic_store(place: Path, count: int) -> tuple[list[Video], FrameStore]:
    """`count` videos of smooth moving patterns as JPEGs, in a frame store below `place`."""
    names = [f"video{number:04d}" for number in range(count)]
    with ShardWriter(place / "shard-00000.lmdb") as writer:
        for number, name in enumerate(names):
            stream, offsets = b"", [0]
            for frame in _frames(number):
                stream += _jpeg(frame)
                offsets.append(len(stream))
            writer.put(name, pack(stream, offsets, WIDTH_PX, HEIGHT_PX))
        shard = writer.close()
    videos = [
        Video(name, [0], ["val"], 0, FRAMES, WIDTH_PX, HEIGHT_PX, 12.0, None, None, None, "ok", "")
        for name in names
    ]
    return videos, FrameStore(place, [shard], dict.fromkeys(names, 0), "frames")


def _frames(number: int) -> Tensor:
    """(FRAMES, 3, H, W) uint8: a coarse random texture that drifts, under fine noise."""
    generator = torch.Generator().manual_seed(number)
    coarse = torch.rand(1, 3, HEIGHT_PX // 16, WIDTH_PX // 8, generator=generator)
    size = (HEIGHT_PX, WIDTH_PX + FRAMES)
    wide = nn.functional.interpolate(coarse, size=size, mode="bicubic")[0].clamp(0, 1)
    drift = torch.stack([wide[:, :, t : t + WIDTH_PX] for t in range(FRAMES)])
    return (drift * 240 + 10 * torch.rand(drift.shape, generator=generator)).to(torch.uint8)


def _jpeg(frame_CHW: Tensor) -> bytes:
    out = io.BytesIO()
    pixels = frame_CHW.permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


class _Timer:
    """One network under one protocol: its clips, and the ways it is timed."""

    def __init__(
        self,
        setting: Setting,
        spec: dict[str, Any],
        protocol: Protocol,
        videos: list[Video],
        store: FrameStore,
    ) -> None:
        self.setting = setting
        torch.manual_seed(0)
        keywords = {
            "backbone": spec["backbone"],
            "num_classes": spec["num_classes"],
            "num_segments": spec["segments"],
            "width": setting.width,
            **spec["options"],
        }
        model = build_from(spec["architecture"], keywords)
        self.model = model.eval().to(setting.device)
        self.segments = spec["segments"]
        rule = EvalRule(
            segments=spec["segments"],
            window=model.window,
            protocol=protocol,
            resize_px=setting.side_px or protocol.resize_px,
            crop_px=setting.side_px or protocol.crop_px,
        )
        self.dataset = ClipDataset(
            store, videos[: setting.batch], ["class"], rule, 0, threads=setting.threads
        )

    def rows(self) -> list[dict[str, Any]]:
        """One row per way, timed in turns with and without loading."""
        clips = self.load()
        calls: dict[str, Callable[[], object]] = {}
        ways = self.ways()
        for name, way in ways.items():
            calls[name] = waiting(partial(way, clips), self.setting.device)
            calls[f"{name}, loading"] = waiting(partial(self._loaded, way), self.setting.device)
        samples = paired(calls, rounds=self.setting.rounds)
        return [self._row(name, samples, clips) for name in ways]

    def load(self) -> Tensor:
        """The clips of the batch's videos, normalised, on the device."""
        batch = collate([self.dataset[i] for i in range(len(self.dataset))])
        return normalise(batch.frames.to(self.setting.device))

    def ways(self) -> dict[str, Callable[[Tensor], object]]:
        """The network as trained and with its batch norms folded; more on an accelerator."""
        folded = fold(self.model)
        found: dict[str, Callable[[Tensor], object]] = {
            EVALUATED: partial(predict_step, folded),
            "as trained, float32": partial(predict_step, self.model),
        }
        narrow = fold(self.model).to(torch.bfloat16)
        found["folded, bfloat16"] = partial(_narrow_step, narrow)
        if self.setting.device.type == "cuda" and not compiler_missing():
            found["TF32"] = partial(_tf32_step, folded)
            for name, mode in (("compiled", None), ("CUDA graph", "reduce-overhead")):
                made = torch.compile(narrow, mode=mode, dynamic=False)
                found[f"{name}, bfloat16"] = partial(_narrow_step, made)
        return found

    def _loaded(self, way: Callable[[Tensor], object]) -> object:
        return way(self.load())

    def _row(self, name: str, samples: dict[str, list[Sample]], clips: Tensor) -> dict[str, Any]:
        batch = len(self.dataset.videos)
        return {
            "way": name,
            "frames": self.segments,
            "views": clips.shape[0] // batch,
            "batch": batch,
            "ms per video": 1e3 * median_s(samples[name]) / batch,
            "ms per video, loading included": 1e3 * median_s(samples[f"{name}, loading"]) / batch,
            "in tables": name == EVALUATED and self.setting.full_size,
        }


def _narrow_step(model: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(clips.to(torch.bfloat16)).float()


def _tf32_step(model: nn.Module, clips: Tensor) -> Tensor:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return predict_step(model, clips)
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
