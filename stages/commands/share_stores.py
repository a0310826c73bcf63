"""`tdn store push` and `tdn store pull`: what was decoded, through any URL that fsspec opens.

A data set goes with the run records of the stages that made it, whose digests say what each file
is. So one machine decodes, and the others train from local disks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from pipeline.core.errors import AbsentData, StoreError, UsageError, stage_command
from pipeline.core.files import read_json, sha256_file, sha256_json
from pipeline.core.remote_files import RemoteFiles
from pipeline.core.workspace import Workspace
from pipeline.lineage.records import OBSERVED
from pipeline.schema.profiles import known_dataset, load_profile
from stages import plan
from stages.graph import STAGES, read_plan, stage_lock

_STAGES = ("mini", "check", "decode", "flow")
_AT_ONCE = 8
Files = dict[str, dict[str, Any]]
"""{path below the root: {"sha256": …, "bytes": …}}"""
Progress = Callable[[int, int], None]


def push(
    work: Workspace, url: str, datasets: Sequence[str], progress: Progress | None = None
) -> list[str]:
    """Copy decoded data sets (all that are here, where none is named) to `url`; a line for each.

    What is there already is left. Raises AbsentData for one that was not decoded here, StoreError
    where a file is not what its record says.
    """
    remote = RemoteFiles(url)
    names = datasets or [name for name in _known(work) if _is_decoded(work, name)]
    if not names:
        raise AbsentData(
            f"no data set of profile {work.profile} is decoded here", do="run `tdn decode DATASET`"
        )
    lines = []
    for name in names:
        known_dataset(work.manifests, work.profile, name)
        with _locked(work, name):
            pushed = _what_is_here(work, name)
            new = _side_by_side(
                lambda item: remote.put(work.root / item[0], item[1]["sha256"]),
                list(pushed["files"].items()),
                progress,
            )
            remote.write(f"{work.profile}/{name}.json", pushed)
        lines.append(_line(name, pushed["files"], sum(new), "pushed"))
    return lines


def pull(
    work: Workspace, url: str, datasets: Sequence[str], progress: Progress | None = None
) -> list[str]:
    """Make data sets (all of the profile that are at `url`, where none is named) here what was
    pushed; a line for each.

    Only what is missing or differs is copied, each file under a temporary name until its digest is
    right. Raises UsageError where this checkout would decode otherwise.
    """
    remote = RemoteFiles(url)
    names = datasets or [n for n in remote.names(work.profile) if n in _known(work)]
    if not names:
        raise AbsentData(
            f"{url} has no data set of profile {work.profile}",
            do="`tdn store push URL` where one was decoded",
        )
    lines = []
    for name in names:
        known_dataset(work.manifests, work.profile, name)
        plan.run(work, wanted=("decode", name))
        place = f"{work.profile}/{name}.json"
        with _locked(work, name):
            files = _wanted(work, name, remote.read(place), f"{url}/{place}")
            staged = _stage(work, name, files, remote, progress)
        plan.run(work, wanted=("check", name))  # which knows by the ledger what was checked
        lines.append(_line(name, files, staged, "pulled"))
    return lines


def _known(work: Workspace) -> list[str]:
    return load_profile(work.manifests, work.profile).datasets


def _is_decoded(work: Workspace, name: str) -> bool:
    index = work.frames(name) / "index.json"
    with suppress(ValueError, KeyError, TypeError):  # a damaged one is none
        return index.is_file() and read_json(index)["status"] == "ok"
    return False


def _line(name: str, files: Files, new: int, done: str) -> str:
    size = sum(about["bytes"] for about in files.values()) / 1e6
    return (
        f"{name}: {len(files)} files, {size:,.1f} MB: {new} {done}, {len(files) - new} were there"
    )


def _locked(work: Workspace, name: str) -> ExitStack:
    """The locks of the stages that make the data set."""
    with ExitStack() as stack:
        for stage in _STAGES:
            stack.enter_context(stage_lock(work, stage, name))
        return stack.pop_all()


def _outputs(work: Workspace, name: str, stage: str) -> Iterable[Path]:
    return STAGES[stage].outputs(work, name, None).values()


def _what_is_here(work: Workspace, name: str) -> dict[str, Any]:
    """What is pushed of a data set: the outputs of its stages as their run records have them, the
    records themselves, and a digest of each stage's plan."""
    if not _is_decoded(work, name):
        raise AbsentData(f"{name} is not decoded here", do=f"run `tdn decode {name}`")
    files: Files = {}
    plans, commit = {}, None
    for stage in _STAGES:
        record = work.record(stage, name)
        if not record.is_file() or not all(p.exists() for p in _outputs(work, name, stage)):
            continue
        value, observed = read_json(record), record.with_suffix(OBSERVED)
        for output in value["outputs"]:
            below = output.get("files")
            named = {f"{output['path']}/{n}": about for n, about in (below or {}).items()}
            files |= named if below is not None else {output["path"]: output}
        for path in (record, observed, work.code(value["identity"]["code"]["digest"])):
            if path.is_file():
                about = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
                files[work.relative(path)] = about
        for given in value["identity"]["inputs"]:
            if files.get(given["path"], given)["sha256"] != given["sha256"]:
                raise StoreError(
                    f"{stage} of {name} was run before what it reads changed",
                    where=given["path"],
                    do=f"run {stage_command(stage, name)}, then push again",
                )
        plans[stage] = _digest_of_plan(value["identity"])
        commit = read_json(observed)["commit"] if observed.is_file() else commit
    if "decode" not in plans:
        raise StoreError(
            f"{name} has no run record, so nobody could check what is pushed",
            do=f"run `tdn decode {name}`: finished shards are kept",
        )
    kept = {path: {k: about[k] for k in ("sha256", "bytes")} for path, about in files.items()}
    return {"files": kept, "plans": plans, "commit": commit}


def _digest_of_plan(document: dict[str, Any]) -> str:
    """Of what decides the result, on any machine."""
    params = {name: value for name, value in document["params"].items() if name != "raw"}
    return sha256_json([params, document["code"]])


def _wanted(work: Workspace, name: str, pushed: Any, where: str) -> Files:
    """The files to pull. Raises UsageError where this checkout's plans are others than those of
    what was pushed, StoreError where a file is none of this data set's."""
    places: set[Path] = set()
    for stage in _STAGES:
        record = work.record(stage, name)
        places |= {record, record.with_suffix(OBSERVED), *_outputs(work, name, stage)}
    folders = {work.frames(name), work.flow(name), work.reports / "code"}
    try:
        files: Files = dict(pushed["files"])
        for path, about in files.items():
            whole = work.root / path
            ours = whole in places or (whole.parent in folders and not whole.name.startswith("."))
            if ".." in whole.parts or not ours or not re.fullmatch("[0-9a-f]{64}", about["sha256"]):
                raise ValueError(path)
            int(about["bytes"])
        plans = dict(pushed["plans"])
        if "decode" not in plans or work.relative(work.frames(name) / "index.json") not in files:
            raise ValueError("it has no decoded store")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"it is no list of {name}'s files: {error!s:.200}",
            where=where,
            do="`tdn store push URL DATASET` once more where the data set was decoded",
        ) from None
    for stage, digest in plans.items():
        if _digest_of_plan(read_plan(work, stage, name)) != digest:
            raise UsageError(
                f"{name} was made by another {stage} than this checkout's: code or manifest differ",
                where=where,
                do=f"check out the commit that made it ({pushed.get('commit') or 'not known'}), or "
                "decode and push it at this one",
            )
    return files


def _stage(
    work: Workspace, name: str, files: Files, remote: RemoteFiles, progress: Progress | None
) -> int:
    """Copy what is missing or differs; how many files.

    Shards come before their records, both before the index, run records last; what an outdated
    file is vouched for by is removed first. So whatever stops this, what is here is true.
    """
    found = _side_by_side(lambda item: _differs(work.root / item[0], item[1]), list(files.items()))
    missing = {path for path, new in zip(files, found, strict=True) if new}
    for path in [work.root / path for path in missing]:
        for vouching in (path.with_suffix(".json"), path.with_name("index.json")):
            if work.relative(vouching) in files:
                vouching.unlink(missing_ok=True)
                missing.add(work.relative(vouching))
    for folder in {(work.root / path).parent for path in files if path.endswith("/index.json")}:
        for path in folder.iterdir() if folder.is_dir() else []:
            if work.relative(path) not in files:
                path.unlink()

    def get(path: str) -> None:
        remote.get(files[path]["sha256"], work.root / path)

    for _, group in groupby(sorted(missing, key=_turn), key=_turn):
        _side_by_side(get, list(group), progress)
    return len(missing)


def _differs(path: Path, about: dict[str, Any]) -> bool:
    here = path.is_file() and path.stat().st_size == about["bytes"]
    return not here or sha256_file(path) != about["sha256"]


def _turn(path: str) -> int:
    """When a file's turn comes; the same for those that may come side by side."""
    if path.startswith("reports/"):
        return 3
    return 2 if path.endswith("/index.json") else int(path.endswith(".json"))


def _side_by_side(
    do: Callable[[Any], Any], items: Sequence[Any], progress: Progress | None = None
) -> list[Any]:
    """What `do` gives for each item; after an error no other is begun."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [pool.submit(do, item) for item in items]
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                future.result()
                if progress is not None:
                    progress(number, len(items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [future.result() for future in futures]
