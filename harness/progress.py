"""How far a running stage is, as a small file beside its attempt, for whoever watches: this machine or another."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.identity import parse_json


@dataclass(frozen=True, kw_only=True)
class StageProgress:
    """step of steps: optimizer steps, or batches that are scored. seconds_left: at the pace so far.

    loss: mean of the last steps; None where nothing is trained. tokens: trained on so far.
    """

    step: int
    steps: int
    seconds_left: float
    loss: float | None = None
    tokens: int | None = None

    def __str__(self) -> str:
        loss = "" if self.loss is None else f", loss {self.loss:.4f}"
        left = f", {about(self.seconds_left)} left" if self.step < self.steps else ""
        return f"step {self.step} of {self.steps}{loss}{left}"


@dataclass
class ProgressFile:
    """Writes the newest progress, at most every `seconds`. It only informs: a full disk does not end the stage."""

    path: Path
    seconds: float
    _written: float = field(default=float("-inf"))

    def __call__(self, progress: StageProgress) -> None:
        now = time.monotonic()
        if now - self._written < self.seconds:
            return
        self._written = now
        beside = self.path.with_suffix(".progress.new")
        with contextlib.suppress(OSError):
            beside.write_text(json.dumps(asdict(progress)))
            beside.replace(self.path)


def read_progress(path: Path) -> StageProgress | None:
    """The newest progress; None where there is none."""
    try:
        return StageProgress(**parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def duration(seconds: float) -> str:
    """What something took: "8 s", "1 min 05 s", "2 h 05 min"."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def about(seconds: float) -> str:
    """What something will take, as roughly as one can tell: "a few seconds", "about 20 s", "about 3 min"."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 95:
        return f"about {round(seconds / 10) * 10} s"
    if seconds < 95 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {round(seconds / 1800) / 2:g} h"
