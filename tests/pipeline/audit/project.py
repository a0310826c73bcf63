"""A tiny project that really ran, in this process: made once, copied per case."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.audit.dvc_lock import Ignored, md5_of
from pipeline.core.files import read_json, sha256_json, write_json
from pipeline.core.workspace import Workspace
from pipeline.lineage.records import OBSERVED, describe
from stages import graph as harness
from stages import plan, profile_graph
from tests.checkout import Checkout, copy_to

LOCK = "dvc.lock"
ROW = {
    "dataset": "ssv1",
    "input": "frames",
    "backbone": "resnet50",
    "segments": 8,
    "options": {},
    "recipe": "tsm_sthsth",
    "protocols": ["center_1x1"],
}
ROWS = {
    "tsn_r50_8f_ssv1": {**ROW, "start": "scratch", "architecture": "tsn"},
    "tconv_r50_8f_ssv1": {**ROW, "start": "images", "architecture": "tconv"},
}
FIGURES = ("training_modules", "cost_ssv1", "order", "frames", "gains_ssv1", "gradcam_last")
"""Two that are drawn, and three that say why they are not."""
AFTER = ("tables", "figures", "report")
CLOCK_NS = 50_000_000
"""No less than a step of the clock that files are stamped by."""


@dataclass(frozen=True)
class Project:
    """A copy to tamper with."""

    checkout: Checkout
    equal: dict[str, tuple[int, ...]] = field(default_factory=dict, compare=False)
    """Stamps of the files that were found to have the pristine project's bytes."""

    @property
    def root(self) -> Path:
        return self.checkout.root

    @property
    def work(self) -> Workspace:
        return Workspace(self.root)

    def one(self, pattern: str) -> Path:
        """The first file that a pattern names; fails when there is none."""
        return sorted(self.root.glob(pattern))[0]

    def reseal(self, stage: str, key: str, **params: Any) -> None:
        """Rewrite a run's record so that it fits what is on disk now, as a forger would."""
        path = self.work.record(stage, key)
        record = read_json(path)
        identity = record["identity"]
        record["outputs"] = [self._again(made) for made in record["outputs"]]
        identity["inputs"] = [self._again(read) for read in identity["inputs"]]
        identity["params"] |= params
        identity["params_sha256"] = sha256_json(identity["params"])
        record["identity_sha256"] = sha256_json(identity)
        del record["record_sha256"]
        write_json(path, {**record, "record_sha256": sha256_json(record)})

    def reseal_all(self) -> None:
        """Make every record fit what is on disk, after what it names was changed."""
        for path in sorted((self.work.reports / "records").glob("*/*.json")):
            if not path.name.endswith(OBSERVED):
                self.reseal(path.parent.name, path.stem)

    def run(self, stage: str, key: str) -> None:
        """Run a stage that exists once, as `tdn STAGE KEY` does."""
        harness.execute(self.work, stage, key)

    def _again(self, item: dict[str, Any]) -> dict[str, Any]:
        path = self.root / item["path"]
        return describe(self.work, item["role"], path) if path.exists() else item

    def make(self, *stages: str) -> None:
        """Run stages that exist once, as `tdn STAGE` does."""
        plan.run(self.work)
        for stage in stages:
            harness.execute(self.work, stage, "all", in_graph=True)

    def make_report(self) -> None:
        """Make tables and report again; the figures' record is made to fit, which is quicker."""
        self.make("tables")
        self.reseal("figures", "all")
        self.make("report")

    def relock(self) -> None:
        """What `dvc commit -f` does to the lock, without a process: new md5 and size everywhere."""
        path, ignored = self.root / LOCK, Ignored(self.root)
        lock = yaml.safe_load(path.read_text("utf-8"))
        for stage in lock["stages"].values():
            for entry in [*stage.get("deps", []), *stage.get("outs", [])]:
                place = self.root / entry["path"]
                if place.exists():
                    entry["md5"], entry["size"] = md5_of(place, ignored), _size(place, ignored)
        path.write_text(yaml.safe_dump(lock, sort_keys=False), "utf-8")

    def restore(self, pristine: Project) -> None:
        """Give every file its bytes back; remove what was added."""
        before, after = pristine.files(), self.files()
        for place in after.keys() - before.keys():
            (self.root / place).unlink()
        for place, path in before.items():
            target = self.root / place
            if place in after and self.equal.get(place) == _stamp(target.stat()):
                continue
            if place not in after or target.read_bytes() != path.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
            about = target.stat()
            if time.time_ns() - about.st_ctime_ns > CLOCK_NS:  # else a change might not show
                self.equal[place] = _stamp(about)

    def files(self) -> dict[str, Path]:
        """Every file but git's, DVC's, Python's and our own notes."""
        found, root = {}, str(self.root)
        for folder, folders, files in os.walk(root):
            if folder == root:
                folders[:] = [name for name in folders if name not in (".git", ".dvc", ".tdn")]
            if folder.endswith("__pycache__"):
                continue
            for name in files:
                path = os.path.join(folder, name)
                found[path[len(root) + 1 :]] = Path(path)
        return found

    def copy(self, folder: Path) -> Project:
        """The whole project once more, as files of its own."""
        skip = shutil.ignore_patterns("cache", "tmp", "hashes", "locks")
        shutil.copytree(self.root, folder, ignore=skip)
        return Project(Checkout(folder))


def shrink(root: Path) -> None:
    """Two rows on a few clips of one data set, a network four channels wide, one epoch; a few of
    the figures."""
    rows = {key: deepcopy(row) for key, row in ROWS.items()}
    _rewrite(root / "manifests/experiments.yaml", lambda value: value.update(experiments=rows))

    def profile(value: dict[str, Any]) -> None:
        value.update(datasets=["ssv1"], flow=[])
        value["images"].update(images=120, epochs=1)
        value["backbones"]["resnet50"]["width"] = 4
        for schedule in value["schedules"].values():
            schedule["epochs"] = 2 if "phase1_epochs" in schedule else 1
            schedule.update({"phase1_epochs": 1} if "phase1_epochs" in schedule else {})

    def miniature(value: dict[str, Any]) -> None:
        classes = 2 * len(value["pairs"]) + len(value["stills"])
        value["frames"] = 14
        for name, clips in (("train", 2), ("validation", 2), ("test", 1)):
            value["splits"][name]["clips_per_class"] = clips
            value["expected"][name] = clips * classes

    def figures(value: dict[str, Any]) -> None:
        for name in set(value["figures"]) - set(FIGURES):
            del value["figures"][name]

    _rewrite(root / "manifests/figures.yaml", figures)
    _rewrite(root / "manifests/profiles/mini.yaml", profile)
    _rewrite(root / "manifests/miniatures/ssv1.yaml", miniature)


def _rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = yaml.safe_load(path.read_text("utf-8"))
    change(value)
    path.write_text(yaml.safe_dump(value, sort_keys=False), "utf-8")


def _stamp(about: os.stat_result) -> tuple[int, ...]:
    """What every change of a file's bytes changes: the time of change cannot be set."""
    return about.st_dev, about.st_ino, about.st_size, about.st_ctime_ns


def _size(path: Path, ignored: Ignored) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not ignored(p))


def make(folder: Path) -> Project:
    """Run every stage of two rows on a few generated clips, lock it, commit it."""
    checkout = copy_to(folder)
    shrink(folder)
    checkout.git("init", "-q")
    work = Workspace(folder)
    profile_graph.use(work)
    plan.run(work)
    for stage in harness.STAGES:
        for path in sorted((work.data / "plan").glob(f"{stage}.*.json")):
            harness.execute(work, stage, path.name.split(".")[1], in_graph=True, workers=0)
    locked = checkout.run("commit", "--force", "--quiet", module="dvc")
    assert locked.returncode == 0, locked.stderr
    checkout.git("add", "-A")
    checkout.git("commit", "-qm", "it ran")
    return Project(checkout)
