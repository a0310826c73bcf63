"""What a forger who seals again with the project's own means changes in records, JSON, code and
signatures, and level 0 finds; and the honest twin of each, of which it is silent."""

from __future__ import annotations

import importlib.util
import os
import py_compile
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.audit.links import Level, Status
from pipeline.audit.run_levels import Result, audit, find
from pipeline.core.errors import TdnError
from pipeline.core.files import read_json, sha256_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.records import describe
from stages import graph as harness
from stages import profile_graph
from stages.commands import audit_results
from tests.pipeline.audit.project import AFTER, ROWS, Project

pytestmark = pytest.mark.slow
ROW, OTHER = ROWS
TRAIN, SCORE = f"reports/mini/records/train/{ROW}.json", f"reports/mini/records/score/{ROW}.json"
CELLS, COST = "reports/mini/tables/cells.json", "reports/mini/records/cost/all.json"
Record = dict[str, Any]


@pytest.fixture(scope="module")
def look(pristine: Project) -> Callable[..., Result]:
    """An audit at level 0; the manifests, which these cases leave alone, are resolved once."""
    made = audit_results.tools(pristine.work)
    plans = made.plans(pristine.work)

    def look(project: Project, level: int = 0, **given: Any) -> Result:
        tools = replace(audit_results.tools(project.work), plans=lambda work: plans)
        return audit(find(project.work, tools), Level(level), **given)

    return look


def seal(project: Project, path: str, change: Callable[[Record], object]) -> None:
    """Change a record and make its own digests fit."""
    record = read_json(project.root / path)
    change(record)
    identity = record["identity"]
    identity["params_sha256"] = sha256_json(identity["params"])
    record["identity_sha256"] = sha256_json(identity)
    record.pop("record_sha256")
    write_json(project.root / path, {**record, "record_sha256": sha256_json(record)})


def claim_metrics(project: Project) -> None:
    """The runs of a row never were: the costs' record says that it made the row's metrics."""
    metrics = project.work.metrics(ROW)
    value = read_json(metrics)
    value["protocols"]["center_1x1"]["top1_pct"] = 99.0
    write_json(metrics, value)
    entry = describe(project.work, "metrics", metrics)
    seal(project, COST, lambda record: record["outputs"].append(entry))
    path = project.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text("utf-8"))
    for stage in ("train", "predict", "score"):
        (project.root / f"reports/mini/records/{stage}/{ROW}.json").unlink()
        del lock["stages"][f"{stage}@{ROW}"]
    path.write_text(yaml.safe_dump(lock, sort_keys=False), "utf-8")


def forget_a_row(project: Project) -> None:
    """A row whose training was never recorded and is in no lock; its weights are there."""
    (project.root / TRAIN).unlink()
    path = project.root / "dvc.lock"
    lock = yaml.safe_load(path.read_text("utf-8"))
    del lock["stages"][f"train@{ROW}"]
    path.write_text(yaml.safe_dump(lock, sort_keys=False), "utf-8")


def second_maker(project: Project) -> None:
    """Another key's record says that it made the metrics of a row."""
    seal(project, SCORE, lambda record: record["identity"].update(key="tsn_other"))
    (project.root / SCORE).rename(project.root / SCORE.replace(ROW, "tsn_other"))
    shutil.copy(project.root / SCORE.replace(ROW, OTHER), project.root / SCORE)


def unknown_stage(project: Project) -> None:
    target = project.root / "reports/mini/records/invent" / f"{ROW}.json"
    target.parent.mkdir()
    shutil.copy(project.root / SCORE, target)
    place = project.work.relative(target)
    seal(project, place, lambda record: record["identity"].update(stage="invent"))


def of(path: str, change: Callable[[Record], object]) -> Callable[[Project], None]:
    return lambda project: seal(project, path, change)


def text(path: str, before: str, after: str) -> Callable[[Project], None]:
    return lambda project: project.checkout.edit(path, before, after)


def content(path: str, data: bytes) -> Callable[[Project], None]:
    def write(project: Project) -> None:
        (project.root / path).write_bytes(data)

    return write


def huge(project: Project) -> None:
    with (project.root / TRAIN).open("r+b") as file:
        file.truncate(1 << 30)  # a hole: takes no room


def first(items: list[Record]) -> Record:
    return items[0]


def input_of(record: Record, role: str) -> Record:
    return next(item for item in record["identity"]["inputs"] if item["role"] == role)


def grow(record: Record) -> None:
    """A folder that is said to hold another file than its digest covers."""
    made = first(record["outputs"])
    made["files"]["extra.pt"] = {"sha256": "0" * 64, "bytes": 0}


CHECK, TABLES = (f"reports/mini/records/{name}.json" for name in ("check/ssv1", "tables/all"))
PROSE, FIGURES = "reports/mini/tables/prose.json", "reports/mini/figures/figures.json"
SIGNED, ROOT = "reports/mini/signed.json", "reports/mini/root.json"
CELL = "tdn-iclr2021/1d/tsn/top1"
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
DIGEST = {"sha256": "0" * 64, "bytes": 1}


def without(role: str) -> Callable[[Record], None]:
    return lambda record: record["identity"]["inputs"].remove(input_of(record, role))


def made(**about: Any) -> Callable[[Record], None]:
    return lambda record: first(record["outputs"]).update(about)


def read(role: str, /, **about: Any) -> Callable[[Record], None]:
    return lambda record: input_of(record, role).update(about)


TAMPERED: dict[str, tuple[Callable[[Project], None], str]] = {
    "inputs emptied": (of(TRAIN, lambda r: r["identity"].update(inputs=[])), TRAIN),
    "chain cut before the store": (of(TRAIN, without("frames")), TRAIN),
    "start left out": (of(TRAIN, without("start")), TRAIN),
    "ledger of no raw data": (of(CHECK, without("generated")), CHECK),
    "another role": (of(TRAIN, read("frames", role="flow")), TRAIN),
    "another row's predictions": (
        of(SCORE, read("predictions", path=f"runs/mini/{OTHER}/predict")),
        SCORE,
    ),
    "another row's weights": (
        of(
            TRAIN.replace("train", "predict", 1),
            read("train", path=f"runs/mini/{OTHER}/train"),
        ),
        TRAIN.replace("train", "predict", 1),
    ),
    "an input twice": (
        of(TRAIN, lambda r: r["identity"]["inputs"].append(input_of(r, "start"))),
        TRAIN,
    ),
    "no outputs": (of(SCORE, lambda r: r.update(outputs=[])), SCORE),
    "outputs of another stage": (claim_metrics, COST),
    "two makers": (second_maker, SCORE.replace(ROW, "tsn_other")),
    "a stage that does not exist": (unknown_stage, f"reports/mini/records/invent/{ROW}.json"),
    "another profile": (of(TRAIN, lambda r: r["identity"].update(profile="paper")), TRAIN),
    "a folder with a file more": (of(TRAIN, grow), TRAIN),
}
DAMAGED: dict[str, tuple[Callable[[Project], None], str]] = {
    "unknown field": (of(TRAIN, lambda r: r.update(note="believe me")), TRAIN),
    "unknown field of the identity": (of(TRAIN, lambda r: r["identity"].update(note=1)), TRAIN),
    "unknown field of a file": (of(TRAIN, made(note=1)), TRAIN),
    "later schema": (of(TRAIN, lambda r: r.update(schema="tdn.run/2")), TRAIN),
    "path above the project": (of(TRAIN, read("start", path="../secret")), TRAIN),
    "absolute path": (of(TRAIN, read("start", path="/etc/passwd")), TRAIN),
    "path with a detour": (of(TRAIN, made(path=f"runs/mini/{ROW}/../{ROW}/train")), TRAIN),
    "file above its folder": (of(TRAIN, made(files={"../x": DIGEST})), TRAIN),
    "digest that is none": (of(TRAIN, made(sha256="abc")), TRAIN),
    "key twice in a record": (text(TRAIN, '"identity": {', '"identity": {}, "identity": {'), TRAIN),
    "key twice in the cells": (text(CELLS, '"cells": {', '"cells": {}, "cells": {'), CELLS),
    "key twice in the lock": (text("dvc.lock", "stages:", "stages: {}\nstages:"), "dvc.lock"),
    "NaN in a record": (text(TRAIN, '"bytes": [0-9]+', '"bytes": NaN'), TRAIN),
    "NaN in the cells": (text(CELLS, '"measured": [0-9.]+', '"measured": NaN'), CELLS),
    "nested record": (content(TRAIN, DEEP), TRAIN),
    "nested cells": (content(CELLS, DEEP), CELLS),
    "nested verdicts": (content(PROSE, DEEP), PROSE),
    "nested figures": (content(FIGURES, DEEP), FIGURES),
    "nested lock": (content("dvc.lock", b"[" * 100_000), "dvc.lock"),
    "a lock of other kinds": (content("dvc.lock", b"stages: {a: 1}"), "dvc.lock"),
    "nested lines of the lock": (content("dvc.lock", b"- " * 100_000), "dvc.lock"),
    "record that is not UTF-8": (content(TRAIN, b'{"schema": "\xff"}'), TRAIN),
    "half a character": (
        content(TRAIN, b'{"schema": "tdn.run/1", "identity": "\\ud800"}'),
        TRAIN,
    ),
    "record that is a list": (content(TRAIN, b"[]"), TRAIN),
    "record that is a word": (content(TRAIN, b'"x"'), TRAIN),
    "cells that are a list": (content(CELLS, b"[1]"), CELLS),
    "cell without a lineage": (text(CELLS, '"lineage": {', '"other": {'), CELLS),
    "cell under another's name": (text(CELLS, '"cell_id": "', '"cell_id": "x'), CELLS),
    "cell from above the project": (text(CELLS, '"path": "', '"path": "../'), CELLS),
    "huge record": (huge, TRAIN),
    "what was signed is garbage": (content(SIGNED, b"{}"), SIGNED),
}
OTHERS: dict[str, tuple[Callable[[Project], None], str, Status]] = {
    "runs of a row that were never recorded": (claim_metrics, SCORE, Status.UNRECORDED),
    "a run that nothing knows": (forget_a_row, TRAIN, Status.UNRECORDED),
    "a metric that the tables leave out": (
        of(TABLES, without(f"metrics:{ROW}")),
        TABLES,
        Status.STALE_INPUT,
    ),
    "root of other kinds": (content(ROOT, b'{"root": "x", "reads": 7}'), ROOT, Status.MISSING),
    "root from above the project": (
        content(ROOT, b'{"root": "x", "reads": ["../x"]}'),
        ROOT,
        Status.MISSING,
    ),
    "nested root": (content(ROOT, DEEP), ROOT, Status.MISSING),
    "garbage for a signature": (content(f"{ROOT}.sig", b"x"), f"{ROOT}.sig", Status.ROOT_MISMATCH),
    "an empty signature": (content(f"{SIGNED}.sig", b""), f"{SIGNED}.sig", Status.ROOT_MISMATCH),
}
FORGERIES = {
    **{name: (*case, Status.RECORD_TAMPERED) for name, case in TAMPERED.items()},
    **{name: (*case, Status.UNREADABLE) for name, case in DAMAGED.items()},
    **OTHERS,
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_of_structure_is_found_at_level_0(
    copy: Project, pristine: Project, look: Callable[..., Result], name: str
) -> None:
    forge, path, status = FORGERIES[name]
    try:
        forge(copy)
        result = look(copy)
    finally:
        copy.restore(pristine)
    named = [link for link in result.broken if (link.path, link.status) == (path, status)]
    assert named, [(str(link.status), link.path, link.detail) for link in result.broken]
    assert all(link.level == 0 for link in named)
    assert result.verdict == "broken"
    if name == "later schema":
        assert "tdn.run/2" in named[0].detail and "reads tdn.run/1" in named[0].detail


def stray_files(project: Project) -> None:
    """What editors, file managers and another reader of LMDB leave."""
    for place in (
        "data/mini/frames/ssv1/shard-00000.lmdb-lock",
        "data/mini/frames/ssv1/.DS_Store",
        f"runs/mini/{ROW}/train/history.json~",
        "reports/mini/tables/tdn-iclr2021/.1d.csv.swp",
        "reports/mini/index.html~",
        "reports/mini/Thumbs.db",
    ):
        (project.root / place).write_bytes(b"stray")


def touched(project: Project) -> None:
    for path in project.files().values():
        os.utime(path, (1, 1))
        path.chmod(0o755)


def failed_check(project: Project) -> None:
    """A check that finds too little, and the files put back."""
    raw = project.one("data/mini/raw/ssv1/20bn-*")
    raw.rename(project.root / "away")
    with pytest.raises(TdnError):
        harness.execute(project.work, "check", "ssv1")
    (project.root / "away").rename(raw)


def collected(project: Project) -> None:
    project.checkout.git("stash")
    project.checkout.git("gc", "-q")


@pytest.mark.parametrize("change", [stray_files, touched, failed_check, collected])
def test_honest_work_is_clean(
    project: Project, look: Callable[..., Result], change: Callable[[Project], None]
) -> None:
    change(project)
    result = look(project, 1)
    assert [(link.status, link.path, link.detail) for link in result.broken] == []
    assert result.verdict == "clean"


def test_two_audits_at_once_without_git_see_all_but_the_commit(
    project: Project, look: Callable[..., Result]
) -> None:
    (project.root / ".git").rename(project.root / "no.git")
    try:
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda _: look(project, 1), range(2)))
    finally:
        (project.root / "no.git").rename(project.root / ".git")
    for result in results:
        absent = [link for link in result.links if link.status is not Status.OK]
        assert [(link.path, link.status) for link in absent] == [(".git", Status.UNAVAILABLE)]
        assert result.verdict == "incomplete"


def test_a_clone_with_other_ends_of_lines_is_the_same(pristine: Project, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    config = ["-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run(["git", *config, "clone", "-q", pristine.root, clone], check=True)
    assert audit_results.run(Workspace(clone), level=1).broken == []


def test_a_row_that_is_gone_is_a_hint_with_a_command_that_works(project: Project) -> None:
    pattern = f"  {ROW}:.*?(?=\n  [a-z]|$)"
    project.checkout.edit("manifests/experiments.yaml", pattern, "")
    profile_graph.use(project.work)
    project.make("cost", *AFTER)
    project.relock()
    project.checkout.git("add", "-A")
    project.checkout.git("commit", "-qm", "without it")
    try:
        result = audit_results.run(project.work, level=1)
        assert [(link.status, link.path, link.detail) for link in result.broken] == []
        hints = [link for link in result.links if link.status is Status.LEFTOVER]
        assert f"train/{ROW}" in " ".join(link.detail for link in hints)
        for hint in hints:
            command = hint.do.partition("`")[2].rstrip("`")
            subprocess.run(["sh", "-c", command], cwd=project.root, check=True)
        after = audit_results.run(project.work, level=0)
        assert {link.status for link in after.links} <= {Status.OK}
        assert not (project.work.run(ROW) / "train").exists()
    finally:
        project.checkout.git("reset", "-q", "HEAD~1")


def isolated(project: Project, *words: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """`python -m stages audit` as a shell would run it in the project."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", "stages", "audit", "--level", "0", *words],
        cwd=project.root,
        env=env | variables,
        capture_output=True,
        timeout=300,
        check=False,
    )


def test_what_is_audited_cannot_change_the_auditor(project: Project, tmp_path: Path) -> None:
    (project.root / TRAIN).unlink()
    links = project.root / "pipeline" / "audit" / "links.py"
    forged = tmp_path / "links.py"
    text = links.read_text("utf-8")
    assert "self.status not in HARMLESS" in text
    forged.write_text(text.replace("self.status not in HARMLESS", "False"), "utf-8")
    cached = importlib.util.cache_from_source(str(links))
    py_compile.compile(
        str(forged), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("raise SystemExit(0)", "utf-8")
    seen = tmp_path / "seen"
    (tmp_path / "sitecustomize.py").write_text(
        f"import sys; open({str(seen)!r}, 'a').write(str(sys.flags.isolated))", "utf-8"
    )
    done = isolated(project, PYTHONPATH=f"{project.root}{os.pathsep}{tmp_path}")
    Path(cached).unlink()
    assert done.returncode == 1, done
    assert f"unrecorded: {TRAIN}".encode() in done.stdout
    assert b"auditor " in done.stdout
    assert seen.read_text("utf-8") == "0", "by the shell's interpreter, not by the auditor's"


def test_a_terminal_of_few_characters_and_names_of_other_bytes_stop_nothing(
    project: Project,
) -> None:
    name = os.fsencode(project.root / "reports" / "mini") + b"/\xff\xfe.md"
    with open(name, "wb") as file:
        file.write(b"x")
    try:
        for words in ((), ("--json",), ("--cell", CELL)):
            done = isolated(project, *words, LC_ALL="C", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
            broken = words != ("--cell", CELL)  # which is about its own files
            assert done.returncode == (1 if broken else 0), done.stderr
            assert b"Traceback" not in done.stderr
            assert not broken or b"udcff" in done.stdout
    finally:
        os.unlink(name)


def test_an_error_is_none_of_the_outcomes(project: Project) -> None:
    assert isolated(project, "--cell", "none").returncode == 2
    records = project.root / "reports" / "mini" / "records"
    records.rename(records.with_name("away"))
    try:
        assert isolated(project).returncode == 2
    finally:
        records.with_name("away").rename(records)
