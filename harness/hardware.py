"""What this machine computes on, told without importing torch: planning must stay light."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Machine:
    """gpu: whether a stage would run on one. cores: of the CPU, that this process may use."""

    gpu: bool
    cores: int


def this_machine() -> Machine:
    return Machine(gpu=_has_gpu(Path("/dev"), os.environ), cores=len(os.sched_getaffinity(0)))


def _has_gpu(devices: Path, environment: os._Environ[str] | dict[str, str]) -> bool:
    """An NVIDIA device that CUDA_VISIBLE_DEVICES does not hide, and a build of torch that can use it."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and (not visible.strip() or visible.strip().startswith("-1")):
        return False
    if not any(path.name.removeprefix("nvidia").isdigit() for path in devices.glob("nvidia*")):
        return False
    try:
        return not metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return True
