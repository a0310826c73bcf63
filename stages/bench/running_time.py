"""`tdn bench timings`: running times of the papers' networks, per video, with and without loading.

Which rows are timed, under which protocol, is what the tables' layouts ask for. Networks are full
size, clips are read from a store through the pipeline's own dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from pipeline.clips.clip_dataset import ClipDataset, EvalRule, collate
from pipeline.clips.transforms import normalise
from pipeline.core.benchmark import Report, median_s, paired
from pipeline.core.errors import UsageError
from pipeline.core.workspace import Workspace, find_root
from pipeline.lineage.resolve_plans import ALL, resolve
from pipeline.schema.protocols import Protocol, load_protocols
from pipeline.schema.table_layouts import load_layouts
from stages.bench.corpus import Corpus, moving_noise
from stages.bench.measures import Pass, pick_device, waiting, ways
from stages.networks import Catalogue
from tdn_model.build import build_from
from tdn_model.inference import fold
from tdn_model.training import predict_step

FRAMES, SIZE_PX = 64, (340, 256)
PREDICTED = "folded, as stage predict calls it"
"""The way that the tables show."""


@dataclass(frozen=True)
class Setting:
    """What is measured and how often; `only` limits the rows."""

    device: str = "cpu"
    threads: int | None = None
    batch: tuple[int, ...] = ()
    """Videos at a time (default: 16 on cuda, 2 on cpu)."""
    rounds: int = 3
    decoders: int = 2
    """Threads that decode frames."""
    side: int | None = None
    """Of the frames, in pixels (default: as each protocol says)."""
    width: int | None = None
    only: tuple[str, ...] = ()

    @property
    def full_size(self) -> bool:
        """Whether networks and frames are the papers': what tables may show."""
        return self.side is None and self.width is None


def run(setting: Setting, say: Callable[[str], None]) -> Report:
    """Time every row that a layout prints a time of.

    Raises UsageError when nothing is to be timed.
    """
    device = pick_device(setting.device, setting.threads)
    work = Workspace(find_root(Path.cwd()), "paper")
    specs = networks_of_rows(work)
    protocols = load_protocols(work.manifests)
    sizes = setting.batch or (16 if device.type == "cuda" else 2,)
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory(prefix="tdn-bench-") as name:
        corpus = moving_noise(Path(name), count=max(sizes), frames=FRAMES, size_px=SIZE_PX)
        for row, protocol in wanted(work, setting.only):
            if row not in specs:
                say(f"{row}: no such row in this profile; left out")
                continue
            say(f"{row}, {protocol}")
            for batch in sizes:
                timed = _measure(setting, device, specs[row], protocols[protocol], corpus, batch)
                rows += [{"row": row, "protocol": protocol, **values} for values in timed]
    settings = {
        "device": setting.device,
        "rounds": setting.rounds,
        "threads of the network": torch.get_num_threads(),
        "threads that decode frames": setting.decoders,
        "store": f"moving noise, {SIZE_PX[0]} × {SIZE_PX[1]}, {FRAMES} frames per video",
        "in the tables": f"rows of '{PREDICTED}', loading included",
    }
    return Report(f"timings.{setting.device}", "Running time per video", settings, rows)


def networks_of_rows(work: Workspace) -> dict[str, dict[str, Any]]:
    """What stage `cost` builds, by row."""
    plan: dict[str, Any] = resolve(work, Catalogue(work.root))["cost", ALL]["params"]
    return dict(plan["rows"])


def wanted(work: Workspace, only: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """The rows and protocols of all layouts' columns of times, each once."""
    entries: dict[tuple[str, str], None] = {}
    for layout in load_layouts(work.manifests / "tables"):
        for name, column in layout.columns.items():
            if column.measure.kind != "timing":
                continue
            for row in layout.rows.values():
                key = row.run_for(name, column.source)
                if key is not None and (not only or key in only):
                    entries[key, row.protocol or column.measure.protocol or ""] = None
    if not entries:
        raise UsageError(
            "no row to time", where="manifests/tables/", do="name rows of a table that prints times"
        )
    return list(entries)


def _measure(
    setting: Setting,
    device: torch.device,
    spec: dict[str, Any],
    protocol: Protocol,
    corpus: Corpus,
    batch: int,
) -> list[dict[str, Any]]:
    """One network under one protocol: a row per form, timed in turns with and without loading."""
    torch.manual_seed(0)
    keywords = {
        "backbone": spec["backbone"],
        "num_classes": spec["num_classes"],
        "num_segments": spec["segments"],
        "width": setting.width,
        **spec["options"],
    }
    model = build_from(spec["architecture"], keywords).eval().to(device)
    rule = EvalRule(
        segments=spec["segments"],
        window=model.window,
        protocol=protocol,
        resize_px=setting.side or protocol.resize_px,
        crop_px=setting.side or protocol.crop_px,
    )
    dataset = ClipDataset(
        corpus.store, corpus.videos[:batch], ["class"], rule, 0, threads=setting.decoders
    )

    def load() -> Tensor:
        clips = collate([dataset[i] for i in range(batch)])
        return normalise(clips.frames.to(device))

    def loaded(way: Pass) -> object:
        return way(load())

    clips = load()
    passes: dict[str, Pass] = {PREDICTED: partial(predict_step, fold(model))}
    passes |= ways(model, device, compiled=False)  # `tdn bench accelerator` has more forms
    calls: dict[str, Callable[[], object]] = {}
    for name, way in passes.items():
        calls[name] = waiting(partial(way, clips), device)
        calls[f"{name}, loading"] = waiting(partial(loaded, way), device)
    with torch.inference_mode():
        samples = paired(calls, rounds=setting.rounds)
    return [
        {
            "way": name,
            "frames": spec["segments"],
            "views": clips.shape[0] // batch,
            "batch": batch,
            "ms per video": 1e3 * median_s(samples[name]) / batch,
            "ms per video, loading included": 1e3 * median_s(samples[f"{name}, loading"]) / batch,
            "in tables": name == PREDICTED and setting.full_size,
        }
        for name in passes
    ]
