"""`tdn variance`: how much of a row's spread is its start's seed, its own seed, or both together.

Each cell of the grid is a trial (`tdn repro ROW --set start.seed=2 --set seed=3`); what is there is
not trained again. Results become lines of `reports/reference/PROFILE-grid.csv`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

from pipeline.core.errors import AbsentData, TdnError
from pipeline.core.files import read_json
from pipeline.core.machine import accelerator_files, cores
from pipeline.core.workspace import Workspace
from pipeline.lineage.evidence import environment
from pipeline.lineage.records import OBSERVED
from pipeline.reporting.results import headline
from pipeline.schema.profiles import load_profile
from pipeline.scores.components import (
    Cell,
    Components,
    components,
    grid_path,
    read_cells,
    write_cells,
)
from stages import plan as planning
from stages.driver.trial import START_SEED, check_start, trial_key
from stages.graph import read_plan, say

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Line:
    """One row under one protocol: its parts, None where the grid is not full."""

    row: str
    protocol: str
    trainings: int
    parts: Components | None
    videos_sd_pct: float


def run(work: Workspace, rows: Sequence[str], seeds: int, jobs: int = 0) -> list[Line]:
    """Train every row from each start seed 0 … `seeds` - 1 with each seed of its own, and add the
    results to the file; without rows only read it.

    `jobs` run side by side; 0: as many as there are cores, or one where the profile lets a training
    use all cores or an accelerator.

    Raises UsageError for a row that starts from no image pre-training, TdnError naming what failed,
    AbsentData where there is no file.
    """
    path = grid_path(work.root, work.profile)
    planning.run(work)
    for row in rows:
        check_start(read_plan(work, "train", row)["params"], row, f"--set {START_SEED}=0")
    wanted = [(row, start, seed) for row in rows for start, seed in product(range(seeds), repeat=2)]
    failed: list[str] = []
    compute = load_profile(work.manifests, work.profile).compute
    alone = not compute.threads or (compute.device != "cpu" and accelerator_files())
    jobs = jobs or (1 if alone else cores())
    with ThreadPoolExecutor(jobs) as pool:
        # The first trainings of a row make its starts; two processes cannot make one start at once.
        firsts = [[one for one in wanted if one[0] == row and one[2] == 0] for row in rows]
        for batch in [*firsts, wanted]:
            todo = [one for one in batch if not work.metrics(_key(*one)).is_file()]
            if not failed:
                failed = [text for text in pool.map(lambda one: _train(work, *one), todo) if text]
    found = [cell for one in wanted for cell in _cells(work, *one)]
    if found:
        write_cells(path, [*read_cells(path), *found])
    if failed:
        raise TdnError(
            f"{len(failed)} trainings failed; the first: {failed[0]}",
            do="mend the cause and run the same command again: what is done is not done again",
        )
    cells = read_cells(path)
    if not cells:
        raise AbsentData(
            "there is no grid of trainings yet",
            where=work.relative(path),
            do=f"`tdn variance ROW --profile {work.profile}` trains a row from 5 × 5 seeds",
        )
    return list(_lines(cells))


def _settings(start_seed: int, seed: int) -> list[str]:
    return [f"{START_SEED}={start_seed}", f"seed={seed}"]


def _key(row: str, start_seed: int, seed: int) -> str:
    return trial_key(row, _settings(start_seed, seed))


def _train(work: Workspace, row: str, start_seed: int, seed: int) -> str:
    """Run one trial as a process of its own; its last words where it failed, else ''."""
    command = [sys.executable, "-m", "stages", "repro", row, "--profile", work.profile]
    for text in _settings(start_seed, seed):
        command += ["--set", text]
    done = subprocess.run(command, cwd=work.root, capture_output=True, text=True, check=False)
    say(f"{_key(row, start_seed, seed)}: {'failed' if done.returncode else 'ok'}")
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return "\n  ".join(lines[-3:]) if done.returncode else ""


def _cells(work: Workspace, row: str, start_seed: int, seed: int) -> Iterator[Cell]:
    """The results of one trial, one for each protocol; none where it was not run."""
    key = _key(row, start_seed, seed)
    if not work.metrics(key).is_file():
        return
    metrics, record = read_json(work.metrics(key)), work.record("train", key)
    machine = environment(read_json(record.with_name(record.stem + OBSERVED)))
    for protocol, scored in metrics["protocols"].items():
        name = headline(metrics)
        interval = scored.get(f"{name.removesuffix('_pct')}_ci95_pct")
        low, high = interval or (float("nan"), float("nan"))  # of videos of one cluster
        yield Cell(
            row,
            protocol,
            start_seed,
            seed,
            machine["processor"],
            machine["torch"],
            metrics["identity"],
            round((high - low) / 2 / NORMAL_95, 4),
            scored[name],
        )


def _lines(cells: Sequence[Cell]) -> Iterator[Line]:
    """Each row and protocol, by the data, parameters and machine of most of its trainings."""
    kinds = dict.fromkeys((cell.row, cell.protocol) for cell in cells)
    for row, protocol in kinds:
        own = [cell for cell in cells if (cell.row, cell.protocol) == (row, protocol)]
        found = [cell.kind for cell in own]
        most = max(found, key=found.count)
        alike = [cell for cell in own if cell.kind == most]
        parts = components({(cell.start_seed, cell.seed): cell.value_pct for cell in alike})
        videos = sum(cell.videos_sd_pct for cell in alike) / len(alike)
        yield Line(row, protocol, len(alike), parts, videos)
