"""Which accelerators this machine offers, asked without importing torch."""

from __future__ import annotations

import os
import subprocess


def cuda_devices() -> tuple[str, ...]:
    """Names for CUDA_VISIBLE_DEVICES, one for each GPU that may be used; empty on a machine without one."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(word.strip() for word in chosen.split(",") if word.strip() and word.strip() != "-1")
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(str(number) for number, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU "))


def default_workers(devices: tuple[str, ...], threads: int) -> int:
    """How many stages to run side by side: one for each GPU, or as many as the cores hold at `threads` each."""
    return len(devices) or max(1, (os.cpu_count() or 1) // threads)
