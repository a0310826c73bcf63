"""Stage `train`: one row's network, trained on its fold's training split.

By this process, or by several that share each batch (`compute.workers`): those that torchrun
started, else workers of Ray Train. Deterministic for a seed, a thread count, a number of workers
and a machine; a run that was killed goes on from its last checkpoint to the same weights.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import AbsentData, UsageError
from pipeline.core.files import atomic_folder, publish, write_atomic, write_json
from pipeline.core.workspace import Workspace, seed_suffix
from pipeline.schema.plan_models import TrainPlan
from pipeline.schema.profiles import Loader
from stages.rows.device import set_up_device
from stages.rows.row_clips import (
    absent_data,
    advice,
    open_index,
    train_clips,
    validation_clips,
)
from stages.rows.row_network import absent_start, build_network, load_start, weights_file
from stages.rows.tensor_files import save_tensors
from stages.trainer.checkpoints import Checkpoints
from stages.trainer.ray_workers import on_workers
from stages.trainer.training_log import TrainingLog
from stages.trainer.training_run import Training
from stages.trainer.training_setup import (
    fit_batch,
    name_empty_classes,
    prepare_network,
    schedule_of,
)
from stages.trainer.worker_group import Ranks, from_environment, group
from tdn_model.optim import parameter_groups, sgd

Progress = Callable[[int, int], None] | None


@dataclass(frozen=True)
class Job:
    """What every process that trains a row is given."""

    work: Workspace
    key: str
    plan: TrainPlan
    loader: Loader
    identity: str

    @property
    def resume(self) -> Path:
        """What a killed training goes on from; no output of the stage."""
        return self.work.run(self.key) / "resume"


def run(
    work: Workspace,
    key: str,
    plan: TrainPlan,
    *,
    loader: Loader = Loader(),
    identity: str = "",
    record_absent: bool = False,
    progress: Progress = None,
) -> None:
    """Write `runs/P/ROW/train/`: `weights.pt`, `history.json`, `outcome.json`.

    With more than one seed there are `weights.seed1.pt`, `history.seed1.json` … beside them. A
    checkpoint of the same `identity` (plan, start and frames) is taken up where it stopped. Raises
    AbsentData when the frames or the initial weights are not there; with `record_absent` that
    becomes a `not-run` outcome, and checkpoints stay for when they are back. DataError when the
    loss stops being finite or the training split is empty.
    """
    out = work.run(key) / "train"
    job = Job(Workspace(work.root.resolve(), work.profile), key, plan, loader, identity)
    no_data = absent_data(work, plan.data)
    reason = no_data or absent_start(work, plan)
    if reason and not record_absent:
        source = plan.start.source
        command = "train" if plan.start.kind == "row" else "pretrain"
        first = f"run `tdn {command} {source} --profile {work.profile}`"
        do = advice(work, plan.data) if no_data else first
        raise AbsentData(f"cannot train {key}: {reason}", do=do)
    outcome = {"status": "not-run" if reason else "ok", "reason": reason}
    if reason:  # a checkpoint stays, for when the data are back
        with atomic_folder(out) as folder:
            write_json(folder / "history.json", [])
            write_json(folder / "outcome.json", outcome)
        return
    _launch(job, progress)
    write_json(job.resume / "done" / "outcome.json", outcome)
    publish(job.resume / "done", out)
    (out / "identity").unlink(missing_ok=True)  # last: until then a killed run finds it all done
    shutil.rmtree(job.resume, ignore_errors=True)


def _launch(job: Job, progress: Progress) -> None:
    """Train in this process, with the others that torchrun started, or on workers of Ray Train."""
    wanted, started = job.plan.compute.workers, from_environment().size
    if started not in (1, wanted):
        raise UsageError(
            f"torchrun started {started} processes, and {job.key} is trained by {wanted}",
            where=f"manifests/profiles/{job.work.profile}.yaml, compute.workers",
            do=f"start {wanted}, or write `workers: {started}` there: it is part of the result",
        )
    if wanted == 1:
        train_seeds(job, Ranks(), progress)
    elif started == 1:
        compute = job.plan.compute
        on_workers(wanted, train_seeds, job, job.work.run(job.key), compute.device, progress)
    else:
        with group() as ranks:
            train_seeds(ranks.same(job), ranks, progress)


def help_train() -> None:
    """Be one of the processes of torchrun that are not the first: train what that one says."""
    with group() as ranks:
        train_seeds(ranks.same(None), ranks)


def train_seeds(job: Job, ranks: Ranks, progress: Progress = None) -> None:
    """All trainings of a row, one after another: the function that every process runs."""
    for number in range(job.plan.seeds):
        _train_seed(job, number, ranks, progress)


def _train_seed(job: Job, number: int, ranks: Ranks, progress: Progress) -> None:
    """One training from the row's seed plus `number`; its results are left in `resume/done`."""
    plan, folder, suffix = job.plan, job.resume / "done", seed_suffix(number)
    history = folder / f"history{suffix}.json"
    if ranks.first:
        _clear(job, folder)
    if ranks.same(history.is_file()):
        return
    seed = plan.seed + number
    device = set_up_device(plan.compute, workers=ranks.size, local_rank=ranks.local)
    index = open_index(job.work, plan.data)
    classes = len(index.classes)
    model = build_network(plan.row, plan.network, classes, seed=seed, dropout=plan.recipe.dropout)
    load_start(job.work, plan, model, number)
    clips = train_clips(plan, index, model.window, seed, cache_mb=job.loader.cache_mb)
    if ranks.first:
        name_empty_classes(plan.row, clips, index.classes)
    batch, lr = fit_batch(plan, len(clips.dataset), ranks.size)
    schedule = schedule_of(plan, len(clips.dataset) // batch, lr)
    model = prepare_network(plan, model, device)
    recipe = plan.recipe
    groups = parameter_groups(model, recipe.group_rates, recipe.weight_decay)
    validation = None
    if recipe.decay == "plateau":
        validation = validation_clips(plan, index, model.window).dataset
    about: dict[str, str | int] = {"row": job.key, "seed": seed}
    steps = schedule.epochs * schedule.steps_per_epoch
    place = job.work.run(job.key)
    log = TrainingLog(place, about, steps, progress=progress, quiet=not ranks.first)
    every_s = 60.0 * job.loader.checkpoint_minutes
    with Checkpoints(job.resume, f"{job.identity} {seed}", every_s) as checkpoints:
        training = Training(
            plan, clips, model, sgd(groups, recipe.momentum), schedule, batch, device, job.loader,
            seed, ranks, log, checkpoints, validation,
        )  # fmt: skip
        training.run()
    if ranks.first:
        weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
        save_tensors(folder / weights_file(number), weights)
        write_json(history, training.history)
    ranks.same(None)  # until all is written


def _clear(job: Job, folder: Path) -> None:
    """Remove what a killed run left half written, and results of another plan."""
    for left in [*job.resume.glob(".tmp-*"), *folder.glob(".tmp-*")]:
        shutil.rmtree(left, ignore_errors=True)
    identity_file = folder / "identity"
    if folder.is_dir() and (
        not identity_file.is_file() or identity_file.read_text("utf-8") != job.identity
    ):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(identity_file, job.identity.encode())
