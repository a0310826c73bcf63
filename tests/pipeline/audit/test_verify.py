"""`reports/verify.py` shares no code with the audit, and says what the audit says."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.audit.context import Plans
from pipeline.audit.links import Level
from pipeline.audit.run_levels import audit, find
from stages.commands import audit_results
from tests.checkout import ROOT
from tests.pipeline.audit.project import Project
from tests.pipeline.audit.test_matrix import CASES, name_of, tamper

VERIFIER = ROOT / "reports" / "verify.py"
EXIT = {"clean": 0, "broken": 1, "incomplete": 3}
FLIPS = int(os.environ.get("TDN_FLIPS", "40"))
CHAIN = ("data/mini/", "runs/mini/", "reports/mini/", "manifests/tables/", "manifests/claims.csv")
BESIDE = re.compile(r"^data/mini/(plan|code)/|\.observed\.json$|\.problems\.csv$|/log\.jsonl$")
"""What no result rests on: plans as they are resolved anew, what was true of one run, lists and
logs for a person."""
SEEN = [case for case in CASES if case["level"] <= 1 and case["do"] in ("flip", "delete", "swap")]
SEEN = [case for case in SEEN if case["path"].startswith(CHAIN[:3])]


def verify(project: Project) -> tuple[int, str]:
    """Exit status and output of the verifier, in an interpreter that knows nothing of ours."""
    words = [sys.executable, "-I", str(VERIFIER), str(project.work.reports)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def placed(copy: Project, pristine: Project) -> Iterator[Project]:
    yield copy
    copy.restore(pristine)


def test_it_is_one_short_file_of_the_standard_library() -> None:
    text = VERIFIER.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
        assert all(name.partition(".")[0] in sys.stdlib_module_names for name in names)


def test_what_ran_is_clean_and_every_part_of_it_is_looked_at(pristine: Project) -> None:
    status, text = verify(pristine)
    assert status == 0, text
    records = [*(pristine.work.reports / "records").glob("*/*.json")]
    records = [path for path in records if not path.name.endswith(".observed.json")]
    videos = pristine.work.root.glob("data/mini/frames/*/shard-*.json")
    count = sum(len(json.loads(path.read_text("utf-8"))["videos"]) for path in videos)
    assert re.search(
        rf"^verify: {len(records)} records, \d+ files, {count} raw videos: clean", text
    )


@pytest.mark.slow
def test_it_agrees_with_the_audit_on_random_bytes(
    placed: Project, pristine: Project, plans: Plans
) -> None:
    """Any byte of any file of the chain; the kinds of files by turns, for most are frames."""
    chance = random.Random(20210)
    kinds: dict[str, list[str]] = {}
    for place, path in sorted(placed.files().items()):
        if place.startswith(CHAIN) and not BESIDE.search(place) and path.stat().st_size:
            depth = 1 if place.startswith("manifests/") else 3
            kinds.setdefault("/".join(place.split("/")[:depth]), []).append(place)
    assert len(kinds) > 10
    seen = {0: 0, 1: 0}
    for number in range(FLIPS):
        place = chance.choice(kinds[sorted(kinds)[number % len(kinds)]])
        path = placed.root / place
        before = path.read_bytes()
        at, mask = chance.randrange(len(before)), chance.randrange(1, 256)
        path.write_bytes(before[:at] + bytes([before[at] ^ mask]) + before[at + 1 :])
        status, text = verify(placed)
        wanted = EXIT[verdict(placed, plans)]
        path.write_bytes(before)
        assert status == wanted, f"{place} byte {at} ^ {mask}: the audit says {wanted}\n{text}"
        seen[status] += 1
        if status == 1:
            named = re.findall(r"^broken: (\S+?):? ", text, re.M)
            assert any(place.startswith(name) for name in named), f"{place} is not named:\n{text}"
    assert seen[1] > FLIPS // 2
    assert verify(placed)[0] == 0


def verdict(project: Project, plans: Plans) -> str:
    """What `tdn audit --level 1` says; plans are given where no manifest that they rest on is
    another."""
    context = find(project.work, audit_results.tools(project.work))
    if not context.problem:
        context.__dict__["plans"] = plans
    return audit(context, Level.HASH).verdict


@pytest.mark.slow
@pytest.mark.parametrize("case", SEEN, ids=name_of)
def test_tampering_is_found_and_named(
    placed: Project, pristine: Project, case: dict[str, Any]
) -> None:
    try:
        place = tamper(placed, case)
        status, text = verify(placed)
    finally:
        placed.restore(pristine)
    assert status == 1, text
    assert Path(case.get("names", place).partition("/0000")[0]).stem in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gone", "status", "words"),
    [
        (["data", "runs"], 3, "absent: data/mini"),
        (["data/mini/raw/ssv1"], 3, "absent: data/mini/raw/ssv1"),
        (["data/mini/frames/ssv1"], 3, "absent: data/mini/frames/ssv1"),
        (["runs/mini/tsn_r50_8f_ssv1"], 1, "missing: "),
        (["reports/mini/index.html"], 1, "broken: reports/mini/index.html"),
        (["reports/mini/records"], 2, "no run records"),
    ],
)
def test_what_is_not_here_is_absent_or_missing(
    placed: Project, pristine: Project, gone: list[str], status: int, words: str
) -> None:
    try:
        for place in gone:
            path = placed.root / place
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        found, text = verify(placed)
    finally:
        placed.restore(pristine)
    assert (found, words in text) == (status, True), text
