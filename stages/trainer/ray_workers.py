"""Workers of Ray Train that run one function together: `compute.workers` of a row's training."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.core.errors import DataError, TdnError, UsageError
from pipeline.core.ray_pool import Pool
from pipeline.core.ray_start import cluster_address
from stages.trainer.training_log import Progress, follow
from stages.trainer.worker_group import LOOPBACK, TIMEOUT_S, Ranks, backend, from_environment

ATTEMPTS = 4
"""Starts of the workers: as often a worker may die, and the rest go on from the last checkpoint."""

_ENVIRONMENT = {
    "RAY_TRAIN_V2_ENABLED": "1",
    # Rows that train side by side wait for each other's workers.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "604800",
}

Function = Callable[[Any, Ranks], None]


def on_workers(
    workers: int, function: Function, job: Any, folder: Path, device: str, progress: Progress
) -> None:
    """Run `function(job, ranks)` in so many processes that can talk to each other.

    On a private Ray of this machine, on the one that this process is a worker of, or on the cluster
    of RAY_ADDRESS, whose machines must all see `folder`, absolute. What is written to its log is
    shown meanwhile. Raises what a process raised, where starting again cannot mend it; DataError
    when processes keep dying.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with Pool(workers) as pool:
        pool.start(workers)
        accelerated = device.startswith("cuda") or (device == "auto" and pool.accelerators > 0)
        slots, kind = (pool.accelerators, "accelerators") if accelerated else (pool.slots, "cores")
        if slots < workers:
            raise UsageError(
                f"{workers} workers need {workers} {kind}, and Ray has {slots}",
                where="manifests/profiles/, compute.workers",
                do=f"write `workers: {max(1, slots)}` there, or give `tdn repro` --jobs {workers}",
            )
        from ray.train import TrainingFailedError

        over = threading.Event()
        watch = threading.Thread(target=follow, args=(folder, progress, over), daemon=True)
        watch.start()
        reason = ""
        try:
            for attempt in range(ATTEMPTS):
                name = f"ray-{os.getpid()}-{attempt}"
                try:
                    _trainer(workers, function, job, folder / "resume", name, accelerated).fit()
                    return
                except TrainingFailedError as error:
                    failures = getattr(error, "worker_failures", {}).values()
                    for failure in failures:
                        if (lasting := _lasting(failure)) is not None:
                            raise lasting from (None if isinstance(lasting, TdnError) else failure)
                    reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
                finally:
                    shutil.rmtree(folder / "resume" / name, ignore_errors=True)
        finally:
            over.set()
            watch.join()
    raise DataError(
        f"the {workers} workers were started {ATTEMPTS} times and died: {reason:.300}",
        where=f"{folder.name}/resume, which the next run goes on from",
        do="look whether memory or accelerators are used up (`nvidia-smi`, `free -g`); between "
        "machines, name their network interface in GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME",
    )


def _trainer(
    workers: int, function: Function, job: Any, storage: Path, name: str, accelerated: bool
) -> Any:
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    environment = {} if cluster_address() else LOOPBACK
    return TorchTrainer(
        _in_worker,
        train_loop_config={"function": function, "job": job},
        torch_config=TorchConfig(backend=backend(), timeout_s=TIMEOUT_S),
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=accelerated),
        # Ray's own notes of the run: nothing here reads them.
        run_config=RunConfig(  # type: ignore[call-arg]  # typed as the first API; _ENVIRONMENT chooses the second
            name=name, storage_path=str(storage), worker_runtime_env={"env_vars": environment}
        ),
    )


def _in_worker(config: dict[str, Any]) -> None:
    config["function"](config["job"], from_environment())


def _lasting(error: BaseException | None) -> BaseException | None:
    """What `function` itself raised, in what Ray Train wraps: the same at every further start.

    A process whose partner died raises RuntimeError or OSError: those may pass.
    """
    while error is not None and not isinstance(error, TdnError):
        inner = getattr(error, "_base_exc", None)
        if isinstance(inner, Exception) and not isinstance(inner, RuntimeError | OSError):
            return inner
        error = inner if isinstance(inner, BaseException) else error.__cause__
    return error
