"""The chain of one row on a few tiny videos, stage by stage in processes that are made to fail."""

from __future__ import annotations

import json
import os
import shutil
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.core.files import write_json
from pipeline.core.workspace import Workspace
from pipeline.schema.plan_models import CheckPlan, DecodePlan, PretrainPlan
from stages.driver.chains import StageKey
from stages.driver.run_chain import Task, run_chain
from tests.checkout import ROOT
from tests.faults.injector import Injector, limit_files
from tests.pipeline.samples import numbered, own_videos
from tests.stages.conftest import predict_plan, score_plan, train_plan

SET = "own_list"
STAGES: tuple[StageKey, ...] = (
    ("check", SET),
    ("decode", SET),
    ("pretrain", "scratch"),
    ("train", "row"),
    ("predict", "row"),
    ("score", "row"),
)
_NOT_COMPARED = (".tdn/", "made/", "runs/mini/row/resume/", "runs/mini/row/log.jsonl")
"""Caches, what the test began with, a checkpoint and a log, which no later stage reads."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a stage: its call number `at` fails, or files stay below `at` bytes."""

    stage: StageKey
    kind: str
    """What is called, or 'write'."""
    fault: int | str
    at: int

    def __str__(self) -> str:
        what = os.strerror(self.fault) if isinstance(self.fault, int) else self.fault
        return f"{self.stage[0]}: {self.kind} {self.at}: {what}"

    def begin(self) -> Injector:
        """To be called in the process that is to fail."""
        if self.kind == "write":
            limit_files(self.at)
            return Injector()
        return Injector(self.at, self.fault)


def prepare(root: Path, videos: int) -> Workspace:
    """Videos, lists and plans of the chain; nothing has run."""
    made = own_videos(root / "made", numbered(videos), frames=9)
    lines = (made.raw / "train.csv").read_text().splitlines(keepends=True)
    (made.raw / "train.csv").write_text("".join(lines[: videos * 2 // 3]))
    (made.raw / "val.csv").write_text("".join(lines[videos * 2 // 3 :]))
    work = Workspace(root)
    raw = work.raw(SET, generated=False)
    raw.parent.mkdir(parents=True)
    made.raw.rename(raw)
    shutil.copytree(ROOT / "manifests" / "profiles", work.manifests / "profiles")
    dataset = made.dataset
    data = {"name": SET, "generated": False}
    plans: tuple[BaseModel, ...] = (
        CheckPlan(dataset=dataset, generated=False, raw=None),
        DecodePlan(dataset=dataset, generated=False),
        PretrainPlan(kind="scratch"),
        train_plan(data=data, epochs=2, batch=2),
        predict_plan(data=data).model_copy(update={"split": "val"}),
        score_plan(dataset=SET),
    )
    for stage, plan in zip(STAGES, plans, strict=True):
        document = {"params": plan.model_dump(mode="json"), "code": {"digest": "d"}}
        write_json(work.plan(*stage), document)
    return work


def run(root: Path, upto: StageKey) -> str:
    """The chain up to a stage, as a worker of `tdn repro` runs it; why it failed, or ''."""
    stages = STAGES[: STAGES.index(upto) + 1]
    return run_chain(Task(root, "mini", stages, root / ".tdn" / "note", 0)).failure


def in_child(work: Callable[[], Any]) -> tuple[int, Any]:
    """(status, what `work` returns) of a forked process: −9 and None when it was killed."""
    read, write = os.pipe()  # no file: it may be forbidden to write one
    child = os.fork()
    if not child:
        status = 1
        try:
            os.write(write, json.dumps(work()).encode())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(write)
    with open(read, "rb") as answer:
        text = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, json.loads(text) if text else None


def results(root: Path) -> dict[str, bytes]:
    """All files that are compared: everything but caches and what was true of one run."""
    found = {}
    for path in sorted(root.rglob("*")):
        place = path.relative_to(root).as_posix()
        if path.is_file() and not place.startswith(_NOT_COMPARED) and "observed" not in path.name:
            found[place] = path.read_bytes()
    return found
