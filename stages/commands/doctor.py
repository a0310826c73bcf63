"""`tdn doctor`: what this machine has of what the pipeline needs, and what to do where it lacks."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from pipeline.core.errors import TdnError
from pipeline.core.machine import accelerator_files, cores
from pipeline.core.ray_start import cluster_address
from pipeline.core.workspace import Workspace
from pipeline.schema.dataset import load_dataset
from pipeline.schema.profiles import load_profile
from pipeline.video import ffmpeg

OK, WARNING, PROBLEM = "ok", "warning", "problem"
_PYTHONS = ((3, 11), (3, 14))
_LEAST_DISK_GIB = 1.0
_ENOUGH_DISK_GIB = 8.0
"""What packages, data and runs of `mini` take."""
_LEAST_MEMORY_GIB = 4.0
_LEAST_SHARED_MIB = 256.0
"""Of /dev/shm: Ray's objects, and batches that loaders hand over."""
_LEAST_FILES = 1024


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `outcome` is OK, WARNING or PROBLEM; `do` is '' where nothing is."""

    about: str
    outcome: str
    what: str
    do: str = ""


def run(work: Workspace) -> list[Finding]:
    """All findings, in the order in which they matter. Changes nothing; about a second."""
    checks: tuple[Callable[[Workspace], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _ffmpeg,
        _git,
        _disk,
        _memory,
        _files,
        _home,
        _devices,
        _ray,
        _datasets,
    )
    return [finding for check in checks for finding in check(work)]


def _python(work: Workspace) -> Iterator[Finding]:
    least, above = _PYTHONS
    fits = least <= sys.version_info[:2] < above
    do = "" if fits else "make PYTHON=/path/to/python3.13"
    words = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", OK if fits else PROBLEM, words, do)


def _packages(work: Workspace) -> Iterator[Finding]:
    for name in ("torch", "ray", "dvc", "lmdb"):
        try:
            yield Finding(name, OK, version(name))
        except PackageNotFoundError:
            yield Finding(name, PROBLEM, "not installed", "make install")


def _ffmpeg(work: Workspace) -> Iterator[Finding]:
    try:
        program = ffmpeg.binary()
        yield Finding("ffmpeg", OK, ffmpeg.build(program))
    except TdnError as error:
        yield Finding("ffmpeg", PROBLEM, error.what, error.do)


def _git(work: Workspace) -> Iterator[Finding]:
    if shutil.which("git") is None:
        yield Finding("git", PROBLEM, "not installed", "install git: DVC and the audit ask it")
    elif not (work.root / ".git").exists():
        do = "clone the project, or run `dvc config core.no_scm true`"
        yield Finding("git", WARNING, "this is no checkout", do)
    else:
        yield Finding("git", OK, "a checkout")


def _disk(work: Workspace) -> Iterator[Finding]:
    free = shutil.disk_usage(work.root).free / 2**30
    outcome = OK if free >= _ENOUGH_DISK_GIB else WARNING if free >= _LEAST_DISK_GIB else PROBLEM
    do = "" if outcome == OK else "free some, or let `data` and `runs` be links to another disk"
    yield Finding("disk", outcome, f"{free:.1f} GiB free", do)
    shared = Path("/dev/shm")
    if shared.is_dir():
        mib = shutil.disk_usage(shared).free / 2**20
        enough = mib >= _LEAST_SHARED_MIB
        do = "" if enough else "mount it larger (docker: --shm-size=2g), or loader: {workers: 0}"
        yield Finding("/dev/shm", OK if enough else WARNING, f"{mib:,.0f} MiB free", do)


def _memory(work: Workspace) -> Iterator[Finding]:
    free = psutil.virtual_memory().available / 2**30
    enough = free >= _LEAST_MEMORY_GIB
    do = "" if enough else "make repro JOBS=1"
    words = f"{free:.1f} GiB available, {cores()} cores"
    yield Finding("memory", OK if enough else WARNING, words, do)


def _files(work: Workspace) -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else sys.maxsize
    enough = most >= _LEAST_FILES
    do = "" if enough else f"raise the limit: ulimit -n {_LEAST_FILES}"
    yield Finding("open files", OK if enough else WARNING, f"at most {soft}", do)


def _home(work: Workspace) -> Iterator[Finding]:
    home = Path(os.environ.get("HOME", ""))
    usable = os.environ.get("HOME", "") != "" and os.access(home, os.W_OK)
    words = "can be written" if usable else "is not set or cannot be written"
    do = "" if usable else "nothing: caches of libraries go to a temporary folder"
    yield Finding("HOME", OK if usable else WARNING, words, do)


def _devices(work: Workspace) -> Iterator[Finding]:
    wanted = load_profile(work.manifests, work.profile).compute.device != "cpu"
    count = len(accelerator_files())
    words = f"{count} accelerator{'' if count == 1 else 's'}"
    if wanted and not count:
        do = f"profile {work.profile} wants one; on the processor its rows take days"
        yield Finding("accelerator", WARNING, words, do)
    else:
        yield Finding("accelerator", OK, words)


def _ray(work: Workspace) -> Iterator[Finding]:
    address = cluster_address()
    words = (
        f"the cluster at {address}" if address else "started here when it is needed, on loopback"
    )
    yield Finding("RAY_ADDRESS", OK, words)


def _datasets(work: Workspace) -> Iterator[Finding]:
    profile = load_profile(work.manifests, work.profile)
    for name in profile.datasets:
        raw = work.raw(name, generated=profile.generated)
        about = f"data set {name}"
        if work.decoded(name).is_file():
            yield Finding(about, OK, "decoded")
        elif raw.is_dir() and any(raw.iterdir()):
            do = f"`tdn check {name} --profile {work.profile}`"
            yield Finding(about, OK, f"in {work.relative(raw)}, not decoded yet", do)
        elif profile.generated:
            yield Finding(about, OK, "is generated by `make repro`")
        else:
            obtain = " ".join(load_dataset(work.manifests, name).obtain.split())
            yield Finding(about, WARNING, f"not in {work.relative(raw)}", obtain)
