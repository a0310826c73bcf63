"""Whatever call fails in a chain, the same command afterwards gives the same bytes.

`make test` tries a sample with a fixed seed; `tdn selftest --faults` tries every call of every
stage with every fault (TDN_FAULTS=all).
"""

from __future__ import annotations

import errno
import importlib
import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.chain import STAGES, Fault, in_child, prepare, results, run
from tests.faults.injector import Injector

pytestmark = pytest.mark.slow
ALL = os.environ.get("TDN_FAULTS") == "all"
SAMPLE, SEED = 12, 20
FAULTS: tuple[int | str, ...] = (errno.ENOSPC, errno.EIO, "kill")
NAMED = (
    "TdnError: ",
    "UsageError: ",
    "DataError: ",
    "StoreError: ",
    "RecordError: ",
    "AbsentData: ",
)


@dataclass(frozen=True)
class Material:
    """The chain before each stage, what it makes in the end, and all that can fail."""

    folder: Path
    whole: dict[str, bytes]
    faults: list[Fault]

    def before(self, number: int) -> Path:
        return self.folder / f"before-{number}"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Stage after stage in processes of their own, their calls counted."""
    for stage, _ in STAGES:
        importlib.import_module(f"stages.{stage}")  # once, not in every process
    folder = tmp_path_factory.mktemp("chain")
    prepare(folder / "before-0", videos=12 if ALL else 6)
    faults: list[Fault] = []
    for number, stage in enumerate(STAGES):
        root = folder / f"before-{number + 1}"
        shutil.copytree(folder / f"before-{number}", root)
        earlier = results(root)

        def count(root: Path = root, stage: tuple[str, str] = stage) -> list[str]:
            injector = Injector()
            injector.start()
            failure = run(root, stage)
            injector.stop()
            assert failure == "", failure
            return injector.calls

        status, calls = in_child(count)
        assert status == 0
        faults += [Fault(stage, c, f, at) for at, c in enumerate(calls) for f in FAULTS]
        sizes = {len(data) for place, data in results(root).items() if place not in earlier}
        faults += [
            Fault(stage, "write", "cut", at) for s in sizes for at in {s - 1, s // 2} if s > 1
        ]
    return Material(folder, results(folder / f"before-{len(STAGES)}"), faults)


def outcome(material: Material, fault: Fault, root: Path) -> str:
    """'untouched' when nothing failed, 'named' or 'killed' and then the same bytes; else what is
    wrong."""
    number = STAGES.index(fault.stage)
    shutil.copytree(material.before(number), root)

    def failing() -> str:
        injector = fault.begin()
        injector.start()
        try:
            return run(root, fault.stage)
        finally:
            injector.stop()

    status, failure = in_child(failing)
    done = {
        place: data
        for place, data in material.whole.items()
        if place in results(material.before(number + 1))
    }
    before = results(root)
    if status == 0 and failure == "" and before != done:
        return "a failure that was not noticed"
    if failure and not any(name in failure for name in NAMED):
        return f"no named error: {failure.strip().splitlines()[-1]}"
    status, again = in_child(lambda: run(root, fault.stage))
    if status or again:
        return f"the same command fails: {again}"
    now = results(root)
    wrong = sorted(p for p in {*now, *done} if now.get(p) != done.get(p) and "/.tmp-" not in p)
    if wrong:
        return f"other bytes: {', '.join(wrong)}"
    return "killed" if failure is None else "named" if failure else "untouched"


def test_any_call_may_fail(material: Material, tmp_path: Path) -> None:
    faults = list(material.faults)
    random.Random(SEED).shuffle(faults)
    if not ALL:
        of_kind = {(f.kind, f.fault): f for f in faults}
        faults = [*of_kind.values(), *faults][:SAMPLE]
    counts: Counter[tuple[str, str]] = Counter()
    wrong = []
    for number, fault in enumerate(faults):
        root = tmp_path / str(number)
        found = outcome(material, fault, root)
        shutil.rmtree(root)
        good = found in ("untouched", "named", "killed")
        counts[fault.kind, found if good else "wrong"] += 1
        if not good:
            wrong.append(f"{fault}: {found}")
        if ALL:
            print(f"{number + 1} of {len(faults)}: {fault}: {found}", flush=True)
    print(*(f"{kind}: {found} {n}" for (kind, found), n in sorted(counts.items())), sep="\n")
    assert wrong == []
