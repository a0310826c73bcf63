"""Paired timing of several ways to do one thing, and the reports of such measurements.

Contenders take turns inside every round, in reverse order every other round, so that other load on
the machine reaches all of them alike. Ratios are formed round by round and summarised by median
and quartiles. No test asserts a time.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pipeline.core.errors import UsageError
from pipeline.core.files import write_atomic, write_json
from pipeline.core.machine import accelerators, cores, cpu_model

SCHEMA = "tdn.benchmark/1"
PACKAGES = ("torch", "torchvision", "numpy", "lmdb", "pyarrow", "ray", "imageio-ffmpeg")
TIMINGS = ("timings.cuda.json", "timings.cpu.json")
"""Running times of the papers' networks, which the tables show."""
Contender = Callable[[], object]
Clock = Literal["wall_s", "cpu_s"]


@dataclass(frozen=True)
class Sample:
    """One call, in seconds: by the clock, and on the processors (waited-for children included)."""

    wall_s: float
    cpu_s: float


def paired(
    contenders: Mapping[str, Contender], *, rounds: int, warmup: int = 1
) -> dict[str, list[Sample]]:
    """`rounds` samples of each contender, interleaved; every other round in reverse order.

    The `warmup` rounds before are not kept. A contender that works on an accelerator waits for it
    before it returns. Raises UsageError without contenders or rounds.
    """
    if not contenders or rounds < 1:
        raise UsageError(
            f"nothing to time: {len(contenders)} contenders, {rounds} rounds",
            do="name at least one contender and one round",
        )
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for index in range(-warmup, rounds):
        order = list(contenders)
        if index % 2:
            order.reverse()
        for name in order:
            sample = timed(contenders[name])
            if index >= 0:
                samples[name].append(sample)
    return samples


def timed(contender: Contender) -> Sample:
    """One call of a contender."""
    cpu, wall = _cpu_s(), time.perf_counter()
    contender()
    return Sample(time.perf_counter() - wall, _cpu_s() - cpu)


def median_s(samples: Sequence[Sample], field: Clock = "wall_s") -> float:
    """The median of a contender's samples, in seconds."""
    return float(statistics.median(getattr(sample, field) for sample in samples))


def ratio(
    samples: Mapping[str, Sequence[Sample]], over: str, under: str, field: Clock = "wall_s"
) -> dict[str, float]:
    """How many times `over` takes what `under` takes: median and quartiles of the rounds' ratios.

    Raises ValueError where the two have unequal numbers of rounds, or none.
    """
    pairs = zip(samples[over], samples[under], strict=True)
    ratios = [getattr(a, field) / max(getattr(b, field), 1e-9) for a, b in pairs]
    if not ratios:
        raise ValueError(f"ratio of {over} to {under}: no rounds")
    if len(ratios) == 1:
        ratios = ratios * 2  # quartiles need two
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {"median": middle, "low": low, "high": high}


def compare(
    contenders: Mapping[str, Contender],
    *,
    against: str,
    rounds: int,
    count: int,
    unit: str,
    warmup: int = 1,
) -> list[dict[str, Any]]:
    """One row per contender, from `paired`: median times per `unit`, and ratios to `against`.

    `count` units are processed in one call of a contender.
    """
    samples = paired(contenders, rounds=rounds, warmup=warmup)
    return [
        {
            "way": name,
            f"ms per {unit}": 1e3 * median_s(found) / count,
            f"cpu ms per {unit}": 1e3 * median_s(found, "cpu_s") / count,
            "against": against,
            "speed-up": ratio(samples, against, name),
            "speed-up, cpu": ratio(samples, against, name, "cpu_s"),
        }
        for name, found in samples.items()
    ]


def timing_files(root: Path) -> list[Path]:
    """The running times that there are, the accelerator's first; often there are none."""
    folder = root / "reports" / "bench"
    return [path for name in TIMINGS if (path := folder / name).is_file()]


def machine() -> dict[str, Any]:
    """What a time belongs to: processor, memory, accelerators, system, versions; no names."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "memory_gib": round(pages / 2**30, 1),
        "accelerators": [device["name"] for device in accelerators()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name)) is not None},
    }


def peak_mib() -> float:
    """The most memory that this process has held, in MiB (Linux).

    Not getrusage: what that reports begins with the parent's memory at the time of the fork.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


@dataclass(frozen=True)
class Report:
    """A finished measurement: `rows` are flat, a value may be a ratio's {median, low, high}."""

    name: str
    title: str
    settings: dict[str, Any]
    rows: list[dict[str, Any]]


def write_benchmark(folder: Path, report: Report) -> str:
    """Write `<name>.json` and `<name>.md` into `folder`; returns the text of the latter."""
    values = {
        "schema": SCHEMA,
        "title": report.title,
        "machine": machine(),
        "settings": report.settings,
        "rows": report.rows,
    }
    text = to_markdown(values)
    write_json(folder / f"{report.name}.json", values)
    write_atomic(folder / f"{report.name}.md", text.encode("utf-8"))
    return text


def to_markdown(report: Mapping[str, Any]) -> str:
    """A benchmark's report as Markdown: machine, settings, one table of rows."""
    host = report["machine"]
    devices = "".join(f", {name}" for name in host["accelerators"])
    versions = ", ".join(f"{name} {version}" for name, version in host["packages"].items())
    parts = [
        f"# {report['title']}",
        f"Measured on {host['cpu']}, {host['cores']} cores, {host['memory_gib']} GiB{devices}; "
        f"Python {host['python']}, {versions}.",
    ]
    if report["settings"]:
        parts.append(table([{"setting": k, "value": v} for k, v in report["settings"].items()]))
    if report["rows"]:
        parts.append(table(report["rows"]))
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Flat rows as a Markdown table; its columns are all keys, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[_text(row.get(column)) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping) and {"median", "low", "high"} <= set(value):
        return f"{_text(value['median'])} ({_text(value['low'])}–{_text(value['high'])})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    return str(value).replace("|", "\\|")


def _cpu_s() -> float:
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
