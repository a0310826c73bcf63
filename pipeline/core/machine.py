"""What this machine is: its processor, its cores, its accelerators."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0))


def accelerators() -> list[dict[str, str]]:
    """The CUDA devices, by name; none unless torch is in use."""
    torch = sys.modules.get("torch")  # asked only where a stage already uses it
    if torch is None or not torch.cuda.is_available():
        return []
    return [{"name": torch.cuda.get_device_name(i)} for i in range(torch.cuda.device_count())]


def accelerator_files() -> list[Path]:
    """The device files of NVIDIA accelerators: whether there are any is known without torch."""
    return sorted(Path("/dev").glob("nvidia[0-9]*"))


def cpu_model() -> str:
    """The processor as the system names it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
