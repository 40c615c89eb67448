"""What a person sees while a grid runs: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from harness.execution.driver import Running, View
from harness.progress import about, duration

LINE_EVERY_SECONDS = 60.0


class Display(Protocol):
    """report: prints a line. show: displays the state of the run, called often."""

    def report(self, line: str) -> None: ...

    def show(self, view: View) -> None: ...


@dataclass
class Lines:
    """For logs and pipes: a line for every event, and one a minute for the progress of every running stage."""

    stream: TextIO
    _last: dict[str, float] = field(default_factory=dict)

    def report(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the reader went away, or the disk is full: the run goes on
            print(line, file=self.stream, flush=True)

    def show(self, view: View) -> None:
        now = time.monotonic()
        for stage in view.running:
            if now - self._last.setdefault(stage.spec.stage_id, now) >= LINE_EVERY_SECONDS and stage.progress:
                self._last[stage.spec.stage_id] = now
                self.report(f"    {stage.label}: {stage.progress}")


@contextmanager
def display_on(stream: TextIO) -> Iterator[Display]:
    """The display that fits the stream."""
    if not stream.isatty():
        yield Lines(stream)
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(file=stream)
    with Live(console=console, refresh_per_second=4, transient=True) as live:

        class Terminal:
            def report(self, line: str) -> None:
                live.console.print(line, markup=False, highlight=False)

            def show(self, view: View) -> None:
                live.update(Text(summary(view)))

        yield Terminal()


def summary(view: View) -> str:
    """The view in a few lines of plain text: counts, then a line for each running stage."""
    counts = [f"{view.done} of {view.total} done", f"{len(view.running)} running", f"{view.waiting} waiting"]
    counts += [f"{view.failed} failed"] if view.failed else []
    counts += [f"{view.elsewhere} in other processes"] if view.elsewhere else []
    left = f"; {about(view.seconds_left)} left" if view.seconds_left else ""
    return "\n".join([", ".join(counts) + left, *(_line(stage) for stage in view.running)])


def _line(stage: Running) -> str:
    return f"  {stage.label}: {stage.progress or 'running'} ({duration(time.time() - stage.since)} so far)"
