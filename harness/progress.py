"""How far a running stage is, as a small file beside its attempt, for whoever watches: this machine or another."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

EVERY_SECONDS = 2.0


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
        return f"step {self.step} of {self.steps}{loss}, about {self.seconds_left / 60:.1f} min left"


@dataclass
class ProgressFile:
    """Writes the newest progress now and then. It only informs: a disk that is full does not end the stage."""

    path: Path
    _written: float = field(default=float("-inf"))

    def __call__(self, progress: StageProgress) -> None:
        now = time.monotonic()
        if now - self._written < EVERY_SECONDS:
            return
        self._written = now
        beside = self.path.with_suffix(".progress.new")
        with contextlib.suppress(OSError):
            beside.write_text(json.dumps(asdict(progress)))
            beside.replace(self.path)


def read_progress(path: Path) -> StageProgress | None:
    """The newest progress; None where there is none."""
    try:
        return StageProgress(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
