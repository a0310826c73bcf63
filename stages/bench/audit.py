"""What the audit costs: level 1 against bare hashing, level 2 whole, memory over many videos."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.audit import level1_hashes as hashing
from pipeline.audit.context import Context, Tools, open_context
from pipeline.audit.level2_recompute import files_below
from pipeline.core.benchmark import median_s, paired, peak_mib, ratio, timed, write_benchmark
from pipeline.core.errors import UsageError
from pipeline.core.files import sha256_bytes, sha256_file
from pipeline.core.parquet import write_table
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import Evidence
from pipeline.lineage.records import write_record
from pipeline.sources.ledger import LEDGER
from stages.commands.audit_results import tools

_PLAN = {"params": {"dataset": {"options": {}}}, "code": {"digest": ""}}


@dataclass(frozen=True)
class Setting:
    """How much is measured: `mib` of generated shards, ledgers of `videos` rows."""

    rounds: int = 5
    mib: int = 512
    shards: int = 8
    videos: tuple[int, ...] = (1_000, 10_000, 100_000)


def run(work: Workspace, setting: Setting, out: Path, say: Callable[[str], None]) -> None:
    """Write `audit.json` and `audit.md` into `out`; changes nothing of the profile."""
    rows, targets = [], []
    with tempfile.TemporaryDirectory(prefix="tdn-bench-") as folder:
        say(f"level 1 of {setting.mib} MiB in {setting.shards} files …")
        big = _shards(Workspace(Path(folder) / "shards"), setting)
        rows.append(_against_hashlib("generated shards", big, setting.rounds))
        targets.append(_level1(rows[-1]))
        say(f"memory over {max(setting.videos):,} videos …")
        peaks = [_in_child(Path(folder) / f"{n}", n) for n in setting.videos]
    named = zip(setting.videos, peaks, strict=True)
    rows += [{"what": f"peak memory, {n:,} videos", "peak_mib": peak} for n, peak in named]
    growth = peaks[-1] / peaks[0]
    targets.append(
        {
            "what": f"peak memory of {setting.videos[-1]:,} over that of {setting.videos[0]:,}",
            "at_most": 1.2,
            "measured": growth,
        }
    )
    if (work.reports / "records").is_dir():
        say(f"profile {work.profile} …")
        real = open_context(work, tools(work))
        rows.append(_against_hashlib(f"profile {work.profile}", real, setting.rounds))
        targets.append(_level1(rows[-1]))
        seconds = [_command(work) for _ in range(setting.rounds)]
        whole = sorted(seconds)[len(seconds) // 2]
        rows.append({"what": f"tdn audit --profile {work.profile} (level 2)", "audit_s": whole})
        what = "level 2 over everything, s"
        targets.append({"what": what, "at_most": 30.0, "measured": whole})
    settings = {"rounds": setting.rounds, "threads": os.cpu_count()}
    title = "Audit: level 1 against bare hashing, level 2, memory"
    write_benchmark(out, "audit", title=title, settings=settings, rows=rows, targets=targets)


def _level1(row: dict[str, Any]) -> dict[str, Any]:
    what = f"level 1 over hashlib in as many threads, {row['what']}"
    return {"what": what, "at_most": 1.3, "measured": row["ratio"]["median"]}


def _against_hashlib(what: str, context: Context, rounds: int) -> dict[str, Any]:
    """Level 1 and the same files through hashlib, in turns."""
    files = _files(context)
    contenders = {"audit": lambda: list(hashing.check(context)), "hashlib": lambda: _bare(files)}
    samples = paired(contenders, rounds=rounds)
    return {
        "what": what,
        "files": len(files),
        "mib": sum(file.stat().st_size for file in files) / 2**20,
        "audit_s": median_s(samples["audit"]),
        "hashlib_s": median_s(samples["hashlib"]),
        "ratio": ratio(samples, "audit", "hashlib"),
    }


def _files(context: Context) -> list[Path]:
    """What level 1 reads, each file once, the largest first."""
    found: set[Path] = set()
    for run in context.runs():
        for item in (*run.inputs, *run.outputs):
            place = context.place(item.path)
            found.update(files_below(place) if place.is_dir() else [place])
        if any(made.role == "ledger" for made in run.outputs):
            raw = context.work.raw(run.key)
            found.update(files_below(raw) if raw.is_dir() else [])
    return sorted((f for f in found if f.is_file()), key=lambda f: -f.stat().st_size)


def _bare(files: list[Path]) -> int:
    """hashlib alone: small files in groups, so that handing them out costs the baseline nothing."""
    groups: list[list[Path]] = [[]]
    for file in files:
        groups[-1].append(file)
        if file.stat().st_size > 2**20 or len(groups[-1]) == 64:
            groups.append([])
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return sum(pool.map(lambda group: len([sha256_file(file) for file in group]), groups))


def _command(work: Workspace) -> float:
    """`tdn audit` in a process of its own, in seconds."""
    words = [sys.executable, "-m", "stages", "audit", "--profile", work.profile]
    done: list[int] = []
    run = partial(subprocess.run, words, cwd=work.root, capture_output=True)
    sample = timed(lambda: done.append(run().returncode))
    if done[0] not in (0, 1):
        raise UsageError("tdn audit could not run", do="run `tdn audit` and read what it says")
    return sample.wall_s


def _context(work: Workspace) -> Context:
    return Context(work, Tools(plans=lambda _: {}, lock=work.root / "dvc.lock"), Evidence(work))


def _shards(work: Workspace, setting: Setting) -> Context:
    """A store of random bytes and its record."""
    folder = work.frames("toy")
    folder.mkdir(parents=True)
    for number in range(setting.shards):
        path = folder / f"shard-{number:05d}.lmdb"
        path.write_bytes(os.urandom(setting.mib * 2**20 // setting.shards))
    _record(work, "decode", {"store": folder})
    return _context(work)


def _record(work: Workspace, stage: str, outputs: dict[str, Path]) -> None:
    write_record(work, stage, "toy", plan=_PLAN, inputs={}, outputs=outputs, observed={})


def _in_child(root: Path, videos: int) -> float:
    _ledger(Workspace(root), videos)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_peak_mib, root).result()


def _peak_mib(root: Path) -> float:
    """Peak memory of this process once it has been through level 1, in MiB (Linux)."""
    list(hashing.check(_context(Workspace(root))))
    return peak_mib()


def _ledger(work: Workspace, videos: int) -> None:
    """A ledger of `videos` rows that share a hundred files, and its record."""
    raw = work.raw("toy")
    raw.mkdir(parents=True)
    digests = []
    for number in range(100):
        data = f"video {number}".encode() * 64
        (raw / f"{number}.mp4").write_bytes(data)
        digests.append(sha256_bytes(data))
    ledger = work.sources("toy").with_suffix(".parquet")
    write_table(ledger, pa.Table.from_batches([_rows(videos, digests)], schema=LEDGER))
    _record(work, "check", {"ledger": ledger})


def _rows(videos: int, digests: list[str]) -> pa.RecordBatch:
    numbers = range(videos)
    columns = [
        pa.array([f"{n:08d}" for n in numbers]),
        pa.array([f"{n % 100}.mp4" for n in numbers]),
        pa.array([[0]] * videos, LEDGER.field("labels").type),
        pa.array([["val"]] * videos),
        pa.array([1] * videos, pa.int32()),
        pa.array([512] * videos, pa.int64()),
        pa.array([digests[n % 100] for n in numbers]),
        pa.array(["ok"] * videos),
        pa.array([""] * videos),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=LEDGER)
