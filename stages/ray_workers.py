"""Workers of Ray Train that run one function together: `compute.workers` of a row's training."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, TdnError
from pipeline.core.ray_pool import Pool
from stages.training_log import Progress, follow
from stages.worker_group import LOOPBACK, TIMEOUT_S, Ranks, backend, from_environment

ATTEMPTS = 4
"""Starts of the workers: as often a worker may die, and the rest go on from the last checkpoint."""

Function = Callable[[Any, Ranks], None]


def on_workers(
    workers: int, function: Function, job: Any, folder: Path, device: str, progress: Progress
) -> None:
    """Run `function(job, ranks)` in so many processes that can talk to each other.

    On a private Ray of this machine, on the one that this process is a worker of, or on the cluster
    of RAY_ADDRESS, whose machines must all see `folder`, absolute. What is written to its log is
    shown meanwhile. Raises the TdnError that a process raised; DataError when processes keep dying.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with Pool(workers) as pool:
        pool.start(workers)
        from ray.train import TrainingFailedError

        local = not pool.cluster
        over = threading.Event()
        watch = threading.Thread(target=follow, args=(folder, progress, over), daemon=True)
        watch.start()
        try:
            for attempt in range(ATTEMPTS):
                try:
                    _fit(workers, function, job, folder / "resume", device, attempt, local=local)
                    return
                except TrainingFailedError as error:
                    failures = getattr(error, "worker_failures", {}).values()
                    own = [known for e in failures if (known := _known(e)) is not None]
                    if own:
                        raise own[0] from None
                    reason = str(error).strip().splitlines()[-1]
        finally:
            over.set()
            watch.join()
    raise DataError(
        f"the {workers} workers were started {ATTEMPTS} times and died: {reason:.300}",
        where=f"{folder.name}/resume, which the next run goes on from",
        do="look whether memory or accelerators are used up (`nvidia-smi`, `free -g`); between "
        "machines, name their network interface in GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME",
    )


def _fit(
    workers: int,
    function: Function,
    job: Any,
    storage: Path,
    device: str,
    attempt: int,
    *,
    local: bool,
) -> None:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    environment = dict(LOOPBACK) if local else {}
    name = f"ray-{os.getpid()}-{attempt}"
    trainer = TorchTrainer(
        _in_worker,
        train_loop_config={"function": function, "job": job},
        torch_config=TorchConfig(backend=backend(), timeout_s=TIMEOUT_S),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=_accelerated(device)),
        # Ray's own notes of the run: nothing here reads them.
        run_config=RunConfig(  # type: ignore[call-arg]  # of the API that is chosen above
            name=name, storage_path=str(storage), worker_runtime_env={"env_vars": environment}
        ),
    )
    try:
        trainer.fit()
    finally:
        shutil.rmtree(storage / name, ignore_errors=True)


def _accelerated(device: str) -> bool:
    import torch

    return device != "cpu" and torch.cuda.is_available()


def _in_worker(config: dict[str, Any]) -> None:
    config["function"](config["job"], from_environment())


def _known(error: BaseException | None) -> TdnError | None:
    """The error of ours in what Ray Train wraps."""
    while error is not None and not isinstance(error, TdnError):
        inner = getattr(error, "_base_exc", None) or error.__cause__
        error = inner if isinstance(inner, BaseException) else None
    return error
