"""What this machine computes on, without importing torch: planning must stay light."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Machine:
    """gpus: those that a stage may run on, as CUDA_VISIBLE_DEVICES names them. cores: of the CPU, for this process."""

    gpus: tuple[str, ...]
    cores: int

    def workers(self, threads: int, ranks: int = 1) -> int:
        """How many stages to run side by side: as many as the GPUs hold, or the cores at `threads` for each rank."""
        return max(1, len(self.gpus) // ranks if self.gpus else self.cores // (threads * ranks))

    def memory_bytes(self) -> int | None:
        """Of the smallest GPU where there is one, else of the machine; None where nobody can tell."""
        if self.gpus:
            return _gpu_memory_bytes()
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, OSError, ValueError):  # not every system knows these names
            return None


def this_machine() -> Machine:
    return Machine(gpus=_gpus(Path("/dev"), os.environ), cores=usable_cores())


def usable_cores() -> int:
    """The cores that this process may use; all of the machine where its system, as macOS, keeps no process to some.

    In a task of a cluster those that the task was given: not every cluster keeps its processes to them.
    """
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus(devices: Path, environment: Mapping[str, str]) -> tuple[str, ...]:
    """NVIDIA devices that CUDA_VISIBLE_DEVICES does not hide; none where the build of torch cannot use them."""
    count = sum(path.name.removeprefix("nvidia").isdigit() for path in devices.glob("nvidia*"))
    if not count or not _torch_may_use_gpus():
        return ()
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return tuple(str(number) for number in range(count))  # CUDA renumbers the devices it sees
    names = [name.strip() for name in chosen.split(",")]
    shown = names[: names.index("-1")] if "-1" in names else names  # those after -1 are hidden
    return tuple(name for name in shown if name)


def _gpu_memory_bytes() -> int | None:
    """Of the smallest GPU, as NVIDIA's own tool has it (in MiB); torch would take seconds to import."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return min(int(line) for line in done.stdout.split()) * 2**20
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _torch_may_use_gpus() -> bool:
    try:
        return not metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return True
