"""A Ray cluster whose nodes are processes of this machine, for a process of its own: Ray takes its
settings from the environment when it is first imported."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_SIZE = {"object_store_memory": 100 << 20}
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # listen on 127.0.0.1 alone
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "10000",  # of a busy machine; one that died refuses at once
    "RAY_health_check_failure_threshold": "3",
}


@contextmanager
def ray_nodes(*names: str, head_cpus: int) -> Iterator[Callable[[Callable[[], bool]], None]]:
    """A head with so many cores, and a node with one core per name; each knows its name from the
    variable TDN_NODE, and RAY_ADDRESS names the cluster.

    The block gets a function that kills the last node without a word once a condition holds.
    """
    short = tempfile.mkdtemp(prefix="tdn-", dir="/tmp")
    os.mkdir(short + "/ray")  # the cluster's address is written there, whether or not it exists
    os.environ |= {"RAY_TMPDIR": short, **_SETTINGS}
    from ray.cluster_utils import Cluster

    def named(name: str, cpus: int) -> dict[str, Any]:
        return {"num_cpus": cpus, "env_vars": {"TDN_NODE": name}, **_SIZE}

    place = {"include_dashboard": False, "temp_dir": short + "/ray"}
    cluster = Cluster(initialize_head=True, head_node_args={**named("head", head_cpus), **place})

    def kill_last(once: Callable[[], bool]) -> None:
        def kill() -> None:
            while not once():
                time.sleep(0.02)
            cluster.remove_node(nodes[-1], allow_graceful=False)
            print("killed", flush=True)

        threading.Thread(target=kill, daemon=True).start()

    try:
        nodes = [cluster.add_node(**named(name, 1)) for name in names]
        os.environ["RAY_ADDRESS"] = cluster.address
        yield kill_last
    finally:
        cluster.shutdown()
        shutil.rmtree(short, ignore_errors=True)
