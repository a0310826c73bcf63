"""What the audit says of honest work, of what is absent, and on the command line."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from pipeline.audit import stage_runner
from pipeline.audit.links import Status
from pipeline.audit.provenance_export import FORMS
from pipeline.core.errors import UsageError
from pipeline.core.files import read_json, sha256_file, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.root import read_root
from stages.cli.main import app
from stages.commands import audit_results as audit
from tests.pipeline.audit.project import AFTER, ROWS, Project

pytestmark = pytest.mark.slow
ROW = "tsn_r50_8f_ssv1"
CELL = "tdn-iclr2021/1d/tsn/top1"


@pytest.fixture
def tdn(project: Project, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line in the project's folder."""
    monkeypatch.chdir(project.root)
    runner = CliRunner()

    def call(*words: str) -> Result:
        return runner.invoke(app, list(words))

    return call


def cells(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = read_json(project.work.reports / "tables" / "cells.json")["cells"]
    return found


def test_several_processes_find_what_one_finds(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled = project.copy(tmp_path / "spoiled")
    costs = spoiled.work.reports / "costs.json"
    write_json(costs, {**read_json(costs), "made up": 1})
    one = audit.run(spoiled.work, cached=True)
    monkeypatch.setattr(stage_runner, "MANY", 1)
    monkeypatch.setattr(stage_runner, "cores", lambda: 2)
    assert audit.run(spoiled.work, cached=True).links == one.links
    assert one.broken


def test_what_ran_honestly_is_clean_and_every_number_traces_back(tdn: Any) -> None:
    done = tdn("audit")
    assert done.exit_code == 0, done.output
    assert "audit of mini at level 2: clean" in done.output
    assert "broken" not in done.output
    assert "not seen: level 2" in done.output, "honest limits"
    assert re.search(r"rows   2: 2 scored again, 0 replayed, 0 rerun\n", done.output), done.output
    assert re.search(r"intact \((\d+) of these back to their raw files", done.output)
    done = tdn("audit", "--level", "0")
    assert "intact (no raw file was read)" in done.output
    assert "rows   2: 0 scored again, 0 replayed, 0 rerun" in done.output


def test_one_cell_is_a_tree_from_the_claim_to_the_raw_files(tdn: Any) -> None:
    done = tdn("audit", "--cell", CELL)
    assert done.exit_code == 0, done.output
    for place in (
        "claim: printed 19.7",
        "reports/mini/tables/cells.json",
        f"reports/mini/metrics/{ROW}.json",
        f"runs/mini/{ROW}/predict",
        f"runs/mini/{ROW}/train",
        "data/mini/frames/ssv1",
        "data/mini/sources/ssv1.parquet",
        "data/mini/raw/ssv1 ",
    ):
        assert re.search(rf"(✓ ok  [0-9a-f·]{{12}}  )?{re.escape(place)}", done.output), place
    lines = [
        line
        for line in done.output.splitlines()
        if "─ " in line and "claim" not in line and "measured" not in line
    ]
    assert all("✓ ok" in line for line in lines), done.output
    assert "tconv" not in done.output


def test_a_verdict_is_a_tree_from_its_rules_to_the_files_of_every_cell(tdn: Any) -> None:
    done = tdn("trace", "prose/tdn-iclr2021/nine_percent_flops")
    assert done.exit_code == 0, done.output
    for text in (
        "prose/tdn-iclr2021/nine_percent_flops",
        "around 9%",
        "In the printed numbers: holds: around(100 * (36 / 33 - 1), 9)",
        "In ours: holds: around(100 * (35.6",
        "(counted, not sampled)",
        "tdn-iclr2021/1d/tdm/flops: printed 36, measured 35.6",
        "tdn-iclr2021/1d/tsn/flops: printed 33, measured 32.",
        "reports/mini/costs.json",
        "by cost/all, see above",
    ):
        assert text in done.output, text
    found = json.loads(tdn("trace", "prose/tdn-iclr2021/nine_percent_flops", "--json").stdout)
    assert found["prose"]["kind"] == "number"
    assert set(found["rests_on"]) == {f"tdn-iclr2021/1d/{row}/flops" for row in ("tdm", "tsn")}


def test_a_figure_is_a_tree_to_the_files_of_every_row(tdn: Any) -> None:
    done = tdn("trace", "figure/training_modules")
    assert done.exit_code == 0, done.output
    for text in (
        "figure/training_modules",
        ": partial",
        "reports/mini/figures/training_modules.png  (figures)  by figures/all",
        "reports/mini/records/figures/all.json",
        f"runs/mini/{ROW}/train",
        "data/mini/raw/ssv1 ",
    ):
        assert text in done.output, text


def test_what_an_earlier_version_wrote_or_is_damaged_is_said_in_words(
    project: Project, tdn: Any
) -> None:
    asked = {
        "tables/prose.json": ("prose/tdn-iclr2021/nine_percent_flops", "ours_cells"),
        "figures/figures.json": ("figure/training_modules", "rows"),
    }
    for name, (number, field) in asked.items():
        path = project.work.reports / name
        whole = path.read_text("utf-8")
        for text in (whole.replace(f'"{field}":', '"other":'), whole[:2000], "[]", "[1]"):
            path.write_text(text, "utf-8")
            error = tdn("trace", number).exception
            assert isinstance(error, UsageError), (name, text[:20], error)
            assert f"{path.name} was made by an earlier version or is damaged" in error.what
            assert f"run `tdn {path.parent.name} --profile mini`" in error.do
            assert tdn("trace", CELL).exit_code == 0, "a cell needs neither file"
        path.write_text(whole, "utf-8")


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("prose/tdn-iclr2021/nine_percent_flop", "prose/tdn-iclr2021/nine_percent_flops"),
        ("tdn-iclr2021/nine_percent_flops", "prose/tdn-iclr2021/nine_percent_flops"),
        ("figure/training_module", "figure/training_modules"),
        (CELL.replace("top1", "tpo1"), CELL),
    ],
)
def test_an_unknown_number_names_the_nearest(tdn: Any, wrong: str, near: str) -> None:
    error = tdn("trace", wrong).exception
    assert isinstance(error, UsageError)
    assert near in error.do


def test_verdicts_are_counted_and_those_of_a_broken_cell_are_not_intact(
    project: Project, tdn: Any
) -> None:
    assert re.search(
        r"prose  (\d+) verdicts by rule: \1 follow, their measured cells intact\n",
        tdn("audit").output,
    )
    assert audit.run(project.work, level=0, cell=CELL).prose == {}
    (project.work.reports / "costs.json").unlink()
    found = audit.run(project.work, level=1).prose
    assert found["tdn-iclr2021/nine_percent_flops"] == Status.MISSING
    assert found["tdn-iclr2021/already_saturates"] == Status.OK, "printed numbers alone"
    project.checkout.edit("reports/mini/tables/prose.json", "around 9%", "around 8%")
    found = audit.run(project.work, level=1).prose
    assert found["tdn-iclr2021/already_saturates"] == Status.HASH_MISMATCH


def test_a_broken_cell_says_so_and_another_does_not(project: Project, tdn: Any) -> None:
    (project.work.run(ROW) / "train" / "weights.pt").unlink()
    done = tdn("audit", "--cell", CELL, "--level", "1")
    assert done.exit_code == 1
    assert "✗ missing" in done.output
    assert f"missing: runs/mini/{ROW}/train/weights.pt" in done.output
    assert tdn("audit", "--cell", CELL.replace("tsn", "tconv"), "--level", "1").exit_code == 0
    assert tdn("audit", "--table", "tdn-iclr2021/1d", "--level", "1").exit_code == 1
    assert tdn("audit", "--table", "tdn-ng2018/1", "--level", "1").exit_code == 0


def test_json_holds_every_link_and_every_cell(project: Project, tdn: Any) -> None:
    found = json.loads(tdn("audit", "--level", "1", "--json").stdout)
    assert found["verdict"] == "clean"
    assert sum(found["counts"].values()) == len(found["links"]) > 50
    assert {link["level"] for link in found["links"]} == {0, 1}
    measured = {name for name, cell in cells(project).items() if cell["measured"] is not None}
    assert set(found["cells"]) == measured
    assert str(project.root) not in json.dumps(found)


def test_what_cannot_run_says_why(tdn: Any, project: Project) -> None:
    for words in (
        ("audit", "--cell", "tdn-iclr2021/1d/tsm/top"),
        ("audit", "--table", "tdn-iclr2021/1"),
        ("audit", "--level", "4"),
        ("audit", "--against", "abc"),
        ("audit", "--export", "xml"),
        ("trace", "nothing"),
        ("why", "tsn_r50"),
    ):
        error = tdn(*words).exception
        assert isinstance(error, UsageError), words
        assert error.exit_code == 2 and error.do, words
    shutil.rmtree(project.work.reports / "records")
    assert isinstance(tdn("audit").exception, UsageError)


def test_the_root_is_published_and_compared(project: Project, tdn: Any) -> None:
    stated = read_root(project.work)
    assert stated is not None
    root = stated["root"]
    for suffix in ("md", "tex"):
        text = (project.work.reports / f"tables/tdn-iclr2021/1d.{suffix}").read_text("utf-8")
        assert root in text
    assert root in (project.work.reports / "index.html").read_text("utf-8")
    assert root in (project.work.reports / "trace/tdn-iclr2021/1d.html").read_text("utf-8")
    assert tdn("audit", "--level", "0", "--against", root).exit_code == 0
    done = tdn("audit", "--level", "0", "--against", "0" * 64)
    assert done.exit_code == 1 and "root-mismatch" in done.output


needs_ssh = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="no ssh-keygen on this machine"
)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """An SSH key; `allowed` beside it names it as the author's, `others` names another."""
    for name in ("key", "other"):
        path = tmp_path / name
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "author", "-f", str(path))
        public = path.with_suffix(".pub").read_text("utf-8")
        (tmp_path / f"{name}.allowed").write_text(f"author {public}", "utf-8")
    return tmp_path / "key"


@needs_ssh
def test_what_was_signed_is_verified_and_every_change_of_it_is_named(
    project: Project, tdn: Any, key: Path
) -> None:
    def level0(*words: str) -> Result:
        return tdn("audit", "--level", "0", *words)

    ours, others = (str(key.with_name(f"{name}.allowed")) for name in ("key", "other"))
    assert "nothing is signed here" in level0("--signers", ours).output
    assert tdn("sign", "--key", str(key)).exit_code == 0
    assert level0("--signers", ours).exit_code == 0
    assert level0().exit_code == 0, "anybody's, and no orphan"
    assert level0("--signers", others).exit_code == 1
    signed = project.work.reports / "signed.json"
    published = key.with_name("published.json")
    shutil.copy(signed, published)
    assert level0("--against", read_json(signed)["root"]).exit_code == 0
    path = project.work.reports / "figures" / "figures.json"
    path.write_bytes(path.read_bytes() + b"\n")
    project.reseal("figures", "all")
    project.reseal("report", "all")
    done = level0("--signers", ours)
    assert done.exit_code == 1 and "unsigned: reports/mini/signed.json" in done.output
    assert "figures/all" in done.output, "what differs"
    done = level0("--against", str(published))
    assert done.exit_code == 1 and "other figures/all" in done.output
    _, line = audit.closing(project.work)
    assert "1 unsigned" in line, "a remark for whoever works on"
    signed.write_bytes(signed.read_bytes().replace(b"tdn.root", b"tdn.Root"))
    done = level0()
    assert "root-mismatch: reports/mini/signed.json.sig" in done.output


@needs_ssh
def test_what_is_broken_is_not_signed(project: Project, tdn: Any, key: Path) -> None:
    (project.work.reports / "records" / "train" / f"{ROW}.json").unlink()
    error = tdn("sign", "--key", str(key)).exception
    assert isinstance(error, UsageError) and "not signed" in error.what
    assert not (project.work.reports / "signed.json").exists()


def test_a_published_digest_that_git_remembers_says_what_differs(
    project: Project, tdn: Any
) -> None:
    before = read_root(project.work)
    assert before is not None
    project.reseal("train", ROW, seed=7)
    done = tdn("audit", "--level", "0", "--against", before["root"])
    assert f"published {before['root']}: other train/{ROW}" in done.output


def test_the_result_is_stated_in_the_words_of_in_toto(
    project: Project, tdn: Any, tmp_path: Path
) -> None:
    def stated(*words: str) -> list[dict[str, Any]]:
        path = tmp_path / "audit.intoto.jsonl"
        tdn("audit", "--level", "1", "--statement", str(path), *words)
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    test, summary = stated()
    for statement in (test, summary):
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        digests = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
        assert digests["reports/mini/index.html"] == sha256_file(
            project.work.reports / "index.html"
        )
        assert "reports/mini/tables/tdn-iclr2021/1d.csv" in digests
    assert test["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    assert test["predicate"]["result"] == "PASSED"
    assert CELL in test["predicate"]["passedTests"] and not test["predicate"]["failedTests"]
    assert summary["predicate"]["verificationResult"] == "PASSED"
    (project.work.run(ROW) / "train" / "weights.pt").unlink()
    test, summary = stated()
    assert test["predicate"]["result"] == "FAILED" and CELL in test["predicate"]["failedTests"]
    assert summary["predicate"]["verificationResult"] == "FAILED"


def run(
    *words: str, stdin: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    given = stdin.read_bytes() if stdin is not None else None
    return subprocess.run(words, input=given, capture_output=True, check=check)


def test_nothing_that_depends_on_miniature_data_is_verified(project: Project) -> None:
    context = audit.run(project.work, level=0).context
    smoke = [c for c in context.measured() if context.evidence.smoke(context.behind(c))]
    assert smoke
    assert {cell["status"] for cell in smoke} == {"smoke"}
    counted = [c for c in context.measured() if not context.evidence.smoke(context.behind(c))]
    assert "verified" in {cell["status"] for cell in counted}, "operations need no data"


def test_a_shallow_clone_without_data_is_unavailable_and_not_ok(
    pristine: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = tmp_path / "clone"
    run("git", "clone", "-q", "--depth", "1", f"file://{pristine.root}", str(clone))
    found = audit.run(Workspace(clone))
    assert found.broken == [] and found.verdict == "incomplete"
    monkeypatch.chdir(clone)
    done = CliRunner().invoke(app, ["audit", "--level", "1"])
    assert done.exit_code == 3 and "at level 1: incomplete" in done.output
    words = ["audit", "--level", "1", "--require-complete"]
    assert CliRunner().invoke(app, words).exit_code == 1
    by_cell = {name: status for name, status in found.cells.items() if name == CELL}
    assert by_cell == {CELL: Status.UNAVAILABLE}
    for link in found.links:
        if link.path.startswith(("data/", "runs/")) and link.level > 0:
            assert link.status is Status.UNAVAILABLE, link
    shutil.rmtree(clone / "reports/mini/metrics")
    assert audit.run(Workspace(clone), level=1).broken, "what is in git must be there"


def test_an_honest_edit_is_told_from_tampering_by_the_record_made_after_it(
    project: Project,
) -> None:
    project.checkout.edit("manifests/claims.csv", r",51\.3,", ",51.4,")
    stale = audit.run(project.work).broken
    assert {link.status for link in stale} >= {Status.STALE_INPUT}
    assert any("claims.csv" in link.detail for link in stale)
    project.make(*AFTER)
    project.relock()
    left = audit.run(project.work).broken
    assert [(link.status, link.path) for link in left] == [
        (Status.DIRTY_CODE, "manifests/claims.csv")
    ]


def test_another_machine_gives_no_false_alarm(project: Project) -> None:
    for path in (project.work.reports / "records").rglob("*.observed.json"):
        write_json(path, {**read_json(path), "cpu": "another", "cores": 64})
    for row in ROWS:
        metrics = project.work.metrics(row)
        value = read_json(metrics)
        value["protocols"]["center_1x1"]["top1_pct"] += 1e-9
        write_json(metrics, value)
        project.reseal("score", row)
    project.make_report()
    project.relock()
    found = audit.run(project.work)
    assert found.broken == []
    said = {link.path: link.detail for link in found.links if link.relation == "recomputed"}
    assert "within" in said[f"reports/mini/metrics/{ROW}.json"]
    assert said[f"runs/mini/{ROW}/scores"] == "equal byte for byte"


def test_trace_prints_the_walk_and_verifies_nothing(project: Project, tdn: Any) -> None:
    (project.work.run(ROW) / "train" / "weights.pt").unlink()
    done = tdn("trace", CELL)
    assert done.exit_code == 0
    assert f"runs/mini/{ROW}/train  (train)  by train/{ROW}" in done.output
    assert "✓" not in done.output
    steps = json.loads(tdn("trace", CELL, "--json").stdout)["steps"]
    assert steps[0]["path"] == f"reports/mini/metrics/{ROW}.json"


def test_why_names_the_parameter_the_module_and_the_file(project: Project, tdn: Any) -> None:
    assert "8 of 8 runs" in tdn("why", ROW).output or "would not run" in tdn("why", ROW).output
    project.checkout.edit("manifests/experiments.yaml", "options: {}", "options: {}\n    seed: 3")
    said = tdn("why", ROW).output
    assert re.search(rf"train/{ROW} would run:\n(  .*\n)*?  seed 0 → 3", said), said
    assert f"  follows train/{ROW}, unless that makes the same again" in said
    assert "tables/all would run" in said
    assert "decode/ssv1 would run" not in said
    project.checkout.edit("dvc.yaml", "stages/run predict", "stages/run -x predict")
    said = tdn("why", ROW).output
    assert re.search(rf"predict/{ROW} would run:\n(  .*\n)*?  its command in dvc.yaml", said), said
    project.checkout.edit("pipeline/scores/scoring.py", "np.float64", "np.float32")
    (project.work.run(ROW) / "predict" / "center_1x1.parquet").write_bytes(b"other")
    said = tdn("why", ROW).output
    assert re.search(r"code \w+ changed \(pipeline/scores/scoring\.py\)", said), said
    assert f"its output runs/mini/{ROW}/predict changed" in said


def test_costs_made_to_fit_are_counted_again_and_rerun(project: Project) -> None:
    path = project.work.reports / "costs.json"
    value = read_json(path)
    for network in value.values():
        network["params"] += 1
    write_json(path, value)
    project.reseal("cost", "all")
    project.make_report()
    project.relock()
    cell = next(
        name
        for name, cell in cells(project).items()
        if cell["lineage"]["metric"] in ("gmacs", "params")
    )
    for level, status in ((2, Status.RECOMPUTE_MISMATCH), (4, Status.RERUN_MISMATCH)):
        found = audit.run(project.work, level=level, cell=cell).broken
        assert (status, "reports/mini/costs.json") in [(link.status, link.path) for link in found]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pyshacl")
@pytest.mark.parametrize("profile", ["ro-crate-1.3", "process-run-crate"])
def test_the_crate_has_no_required_finding(
    tdn: Any, profile: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The validator fetches the JSON-LD context; here it is given the one that `rocrate` brings.

    It knows Process Run Crate up to 0.5, whose own rules 0.6 has too.
    """
    models = pytest.importorskip("rocrate_validator.models", reason="no roc-validator here")
    context = importlib.import_module("rocrate.vocabs").RO_CRATE
    fetched = SimpleNamespace(
        status_code=200,
        headers={"Content-Type": "application/ld+json"},
        json=lambda: context,
    )
    http = importlib.import_module("rocrate_validator.utils.http")
    monkeypatch.setattr(http.HttpRequester, "get", lambda *_, **__: fetched, raising=False)
    crate = json.loads(tdn("audit", "--cell", CELL, "--export", "ro-crate").stdout)
    settings = {
        "rocrate_uri": str(tmp_path),
        "cache_path": tmp_path / "cache",
        "profile_identifier": profile,
        "metadata_only": True,
        "disable_inherited_profiles_issue_reporting": profile == "process-run-crate",
    }

    validator = models.Validator(models.ValidationSettings.parse(settings))

    def findings() -> list[str]:
        issues = validator.validate(metadata_dict=crate).get_issues()
        return [f"{issue.check.identifier}: {issue.message}" for issue in issues]

    assert findings() == []
    for entity in crate["@graph"]:
        entity.pop("instrument" if profile == "process-run-crate" else "license", None)
    assert findings()


def test_exports_name_only_what_they_define(project: Project, tdn: Any) -> None:
    pytest.importorskip("rocrate", reason="no rocrate here: `make install`")
    graph = json.loads(tdn("audit", "--export", "ro-crate").stdout)["@graph"]
    known = {entity["@id"] for entity in graph} | {"https://w3id.org/ro/crate/1.3"}
    known.add("http://schema.org/CompletedActionStatus")
    assert len(known) == len(graph) + 2
    for entity in graph:
        for value in entity.values():
            for item in value if isinstance(value, list) else [value]:
                assert not isinstance(item, dict) or item["@id"] in known, item
    actions = [entity for entity in graph if entity["@type"] == "CreateAction"]
    assert {action["name"] for action in actions} == set(
        audit.run(project.work, level=0).context.evidence.runs
    )
    found = json.loads(tdn("audit", "--export", "prov").stdout)
    for kind in ("used", "wasGeneratedBy"):
        for link in found[kind].values():
            assert link["prov:activity"] in found["activity"]
            assert link["prov:entity"] in found["entity"]
    assert set(FORMS) == {"ro-crate", "prov"}


def test_repro_ends_with_the_audit(project: Project) -> None:
    clean, line = audit.closing(project.work)
    assert clean and re.fullmatch(
        r"audit: (\d+) of \1 links hold, (\d+) of \2 numbers trace back, "
        r"(\d+) of \3 verdicts follow, their measured cells intact",
        line,
    ), line
    path = project.work.metrics(ROW)
    path.write_bytes(path.read_bytes().replace(b"smoke", b"SMOKE"))
    clean, line = audit.closing(project.work)
    assert not clean
    assert f"hash-mismatch: reports/mini/metrics/{ROW}.json" in line


def test_a_forged_cell_and_a_cut_chain_are_not_intact(project: Project) -> None:
    name = "tdn-iclr2021/1d/tsn/top1"
    path = project.root / "reports/mini/tables/cells.json"
    before = path.read_bytes()
    cells = json.loads(before)
    cells["cells"][name]["measured"] = 99.0
    path.write_text(json.dumps(cells), "utf-8")
    try:
        assert audit.run(project.work, level=2).cells[name] != "ok"
    finally:
        path.write_bytes(before)
    record = project.root / "reports/mini/records/train/tsn_r50_8f_ssv1.json"
    before = record.read_bytes()
    record.unlink()
    try:
        assert audit.run(project.work, level=0).cells[name] != "ok"
    finally:
        record.write_bytes(before)
    assert audit.run(project.work, level=2).cells[name] == "ok"


def test_nothing_to_rerun_says_so(project: Project, tdn: Any) -> None:
    error = tdn("audit", "--level", "4", "--cell", "tdn-iclr2021/1d/tea/top1").exception
    assert isinstance(error, UsageError)
    assert error.do
