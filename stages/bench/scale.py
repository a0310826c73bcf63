"""`tdn bench scale`: what the measured costs of decoding mean for whole data sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import AbsentData
from pipeline.core.files import read_json
from stages.bench.parallel import BOUND, FREE

CORES = (16, 64, 256)


@dataclass(frozen=True)
class Whole:
    """A data set at its full size, and the measured corpus that is most like it."""

    title: str
    videos: int
    frames: int
    """Per video, on average."""
    corpus: str


DATASETS = (
    Whole("Kinetics-400, 340x256", 240_000, 300, "h264 340x256"),
    Whole("Kinetics-400, 1280x720", 240_000, 300, "h264 1280x720"),
    Whole("Something-Something V2", 220_847, 46, "VP9 427x240"),
)


def run(folder: Path, efficiency: float | None = None) -> list[dict[str, Any]]:
    """One row per data set, from `decode.json` in `folder`; AbsentData when it was not measured.

    Time on n cores is CPU time / n / `efficiency`; without one, it is what two workers on a core
    each reached of twice the speed of one. The write rate is what the disks must take to keep up.
    """
    path = folder / "decode.json"
    if not path.is_file():
        raise AbsentData("decoding was not measured here", do="run `tdn bench decode` first")
    report = read_json(path)
    by_corpus = {row["corpus"]: row for row in report["rows"]}
    if efficiency is None:
        two = by_corpus.get("two workers", {})
        measured = two.get(BOUND, two.get(FREE, {"median": 2.0}))
        efficiency = min(1.0, measured["median"] / 2)
    rows = []
    for whole in DATASETS:
        row = by_corpus.get(whole.corpus)
        if row is None:
            raise AbsentData(
                f"decode.json has no corpus '{whole.corpus}'",
                do="run `tdn bench decode` without --videos",
            )
        rows.append(_extrapolated(whole, row, efficiency))
    return rows


def _extrapolated(whole: Whole, row: dict[str, Any], efficiency: float) -> dict[str, Any]:
    frames = whole.videos * whole.frames
    core_s = frames / row["frames per core-second"]
    store_gb = frames * row["kB per frame"] / 1e6
    found: dict[str, Any] = {
        "data set": whole.title,
        "videos": f"{whole.videos:,}",
        "core hours": round(core_s / 3600, 1),
        "store, GB": round(store_gb),
    }
    for cores in CORES:
        hours = core_s / 3600 / cores / efficiency
        found[f"{cores} cores, hours"] = round(hours, 2)
        found[f"{cores} cores, GB/s written"] = round(store_gb / (hours * 3600), 2)
    return found
