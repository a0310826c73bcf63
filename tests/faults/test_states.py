"""Edits, runs, kills, tampering and repair in any order: the audit is clean exactly when the
results are those of a fresh run.

`make test` makes a few steps; `tdn selftest --states` makes thousands (TDN_STATES: how many).
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from pipeline.core.errors import TdnError
from pipeline.lineage import code_digest
from pipeline.lineage.code_definitions import Module, module_file, read_module
from stages import graph as harness
from stages import plan, profile_graph
from stages.commands import audit_results as audit
from tests.checkout import ROOT, copy_to
from tests.e2e.test_graph import one_network_and_figure
from tests.faults.chain import in_child
from tests.faults.injector import Injector
from tests.pipeline.audit.project import Project, shrink

pytestmark = pytest.mark.slow
STEPS = int(os.environ.get("TDN_STATES", "12"))
PER_RUN = 12
ROWS = "manifests/experiments.yaml"
EDITS = ("nothing", "a row less", "another title")
COMPARED = ("reports/mini/metrics/", "reports/mini/records/", "reports/mini/tables/",
            "reports/mini/root.json", "reports/mini/index.html", "runs/mini/")  # fmt: skip


def edit(project: Project, which: str, pristine: Project) -> None:
    """The manifests of one state of the project."""
    for place in (ROWS, "manifests/documents.yaml"):
        shutil.copyfile(pristine.root / place, project.root / place)
    if which == "a row less":
        path = project.root / ROWS
        value = yaml.safe_load(path.read_text("utf-8"))
        del value["experiments"]["tconv_r50_8f_ssv1"]
        path.write_text(yaml.safe_dump(value, sort_keys=False), "utf-8")
    elif which == "another title":
        project.checkout.edit("manifests/documents.yaml", r"title: (\S)", r"title: A \1")


def repro(project: Project) -> None:
    """As `tdn repro` does it, one stage after another and without DVC's seconds."""
    work = project.work
    profile_graph.use(work)
    plan.run(work)
    for stage in harness.STAGES:
        for path in sorted((work.data / "plan").glob(f"{stage}.*.json")):
            key = path.name.split(".")[1]
            if not harness.up_to_date(work, stage, key):
                harness.execute(work, stage, key, in_graph=True, workers=0)
    project.relock()


def make(folder: Path) -> Project:
    """A project that ran; of the networks to be counted and the figures to be drawn one each."""
    checkout = copy_to(folder)
    shrink(folder)
    one_network_and_figure(checkout)
    checkout.git("init", "-q")
    project = Project(checkout)
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n", "utf-8")
    repro(project)
    locked = checkout.run("commit", "--force", "--quiet", module="dvc")
    assert locked.returncode == 0, locked.stderr
    checkout.git("add", "-A")
    checkout.git("commit", "-qm", "it ran")
    return project


def results(project: Project) -> dict[str, bytes]:
    return {
        place: path.read_bytes()
        for place, path in project.files().items()
        if place.startswith(COMPARED) and "observed" not in place and "/.tmp-" not in place
    }


class States(RuleBasedStateMachine):
    pristine: Project
    folder: Path
    fresh: ClassVar[dict[str, dict[str, bytes]]] = {}
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.project = self.pristine.copy(self.folder / f"project-{States.steps}")
        self.edited = EDITS[0]

    def teardown(self) -> None:
        shutil.rmtree(self.project.root)

    @rule(which=st.sampled_from(EDITS))
    def edit(self, which: str) -> None:
        edit(self.project, which, self.pristine)
        self.edited = which

    @rule()
    def run(self) -> None:
        repro(self.project)
        assert results(self.project) == self.expected(), "a run ends where a fresh one does"

    @rule(at=st.integers(0, 200), fault=st.sampled_from([errno.ENOSPC, errno.EIO, "kill"]))
    def run_that_fails(self, at: int, fault: int | str) -> None:
        def failing() -> None:
            injector = Injector(at, fault)
            injector.start()
            with suppress(OSError, TdnError):
                repro(self.project)

        in_child(failing)

    @rule(pick=st.integers(0, 10_000), how=st.sampled_from(["flip", "cut", "remove"]))
    def tamper(self, pick: int, how: str) -> None:
        places = sorted(results(self.project))
        path = self.project.root / places[pick % len(places)]
        data = path.read_bytes()
        if how == "remove" or not data:
            path.unlink()
        elif how == "cut":
            path.write_bytes(data[: len(data) // 2])
        else:
            middle = len(data) // 2
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])

    @rule()
    def forget(self) -> None:
        """What `dvc gc` and a cleaning of our own notes remove at most."""
        for place in (".dvc/cache", ".dvc/tmp", ".tdn"):
            shutil.rmtree(self.project.root / place, ignore_errors=True)

    @invariant()
    def clean_exactly_when_fresh(self) -> None:
        States.steps += 1
        try:
            clean = audit.run(self.project.work, level=1).verdict == "clean"
        except TdnError:
            clean = False
        assert clean == (results(self.project) == self.expected())

    def expected(self) -> dict[str, bytes]:
        """What a fresh run gives in this state of the manifests."""
        if self.edited not in self.fresh:
            made = self.pristine.copy(self.folder / "fresh")
            edit(made, self.edited, self.pristine)
            repro(made)
            self.fresh[self.edited] = results(made)
            shutil.rmtree(made.root)
        return self.fresh[self.edited]


@functools.cache
def read_once(name: str) -> Module:
    path = module_file(ROOT, name)
    assert path is not None
    return read_module(ROOT, name, path)


def test_the_audit_is_clean_exactly_when_results_are_those_of_a_fresh_run(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All copies have this checkout's code: reading it again would take most of the time.
    monkeypatch.setattr(code_digest, "read_module", lambda _root, name, _path: read_once(name))
    States.folder = tmp_path_factory.mktemp("states")
    States.pristine = make(States.folder / "pristine")
    runs: Any = settings(
        max_examples=max(1, STEPS // PER_RUN),
        stateful_step_count=PER_RUN,
        deadline=None,
        derandomize=True,  # the same steps each time: a failure can be had again
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(States, settings=runs)
    print(f"{States.steps} steps")
