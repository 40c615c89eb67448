"""What a person sees while a grid runs."""

import io
import time
from dataclasses import replace
from pathlib import Path

import pytest
from grid_world import plan

from harness.execution.display import Lines, display_on, summary
from harness.execution.driver import Running, View
from harness.progress import ProgressFile, StageProgress, about, duration, read_progress

HALF = StageProgress(step=50, steps=100, loss=0.25, tokens=1000, seconds_left=90.0)


def test_the_last_step_has_nothing_left() -> None:
    done = StageProgress(step=100, steps=100, loss=0.25, tokens=1000, seconds_left=0.0)
    assert str(done) == "step 100 of 100, loss 0.2500"
    assert str(HALF).startswith("step 50 of 100, loss 0.2500, about ")


def running(progress: StageProgress | None, minutes: float = 3.0) -> Running:
    spec = next(iter(plan(tasks=["sst2"], methods=["dense"]).stages.values()))
    return Running(spec, "dense tiny sst2 seed 0", time.time() - 60 * minutes, progress)


def view(*stages: Running, **counts: int) -> View:
    return View(**{"done": 2, "total": 7, "failed": 0, "waiting": 4, "elsewhere": 0, **counts}, running=stages)


def test_the_view_counts_and_says_how_far_each_stage_is() -> None:
    assert summary(view(running(HALF), running(None))).splitlines() == [
        "2 of 7 done, 2 running, 4 waiting",
        "  dense tiny sst2 seed 0: step 50 of 100, loss 0.2500, about 90 s left (3 min 00 s so far)",
        "  dense tiny sst2 seed 0: running (3 min 00 s so far)",
    ]


def test_what_is_left_of_the_run_is_said_where_it_is_known() -> None:
    assert summary(replace(view(), seconds_left=200.0)) == "2 of 7 done, 0 running, 4 waiting; about 3 min left"
    assert "left" not in summary(replace(view(), seconds_left=0.0))


@pytest.mark.parametrize(
    ("seconds", "took", "takes"),
    [
        (0.2, "0 s", "a few seconds"),
        (8, "8 s", "a few seconds"),
        (14, "14 s", "about 10 s"),
        (59.7, "1 min 00 s", "about 60 s"),
        (65, "1 min 05 s", "about 60 s"),
        (100, "1 min 40 s", "about 2 min"),
        (754, "12 min 34 s", "about 13 min"),
        (7500, "2 h 05 min", "about 2 h"),
        (9300, "2 h 35 min", "about 2.5 h"),
        (360_000, "100 h 00 min", "about 100 h"),
    ],
)
def test_times_for_people(seconds: float, took: str, takes: str) -> None:
    assert (duration(seconds), about(seconds)) == (took, takes)


def test_failures_and_other_drivers_are_counted_where_there_are_any() -> None:
    assert summary(view(failed=1, elsewhere=2)) == "2 of 7 done, 0 running, 4 waiting, 1 failed, 2 in other processes"


def test_a_pipe_gets_a_line_for_an_event_and_now_and_then_one_for_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with display_on(stream) as display:
        assert isinstance(display, Lines)
        display.report("started")
        display.show(view(running(HALF)))  # seen for the first time: the event line has just said so
        display.show(view(running(HALF)))
        monkeypatch.setattr("harness.execution.display.LINE_EVERY_SECONDS", 0.0)
        display.show(view(running(HALF)))
        display.show(view(running(None)))
    assert stream.getvalue().splitlines() == ["started", f"    dense tiny sst2 seed 0: {HALF}"]


def test_a_terminal_gets_a_live_view_that_is_gone_at_the_end() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with display_on(stream) as display:
        display.report("started: [not markup]")
        display.show(view(running(HALF)))
    shown = stream.getvalue()
    assert "started: [not markup]" in shown
    assert "step 50 of 100" in shown


def test_progress_is_written_now_and_then_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "1.progress"
    assert read_progress(path) is None
    clock = [0.0]
    monkeypatch.setattr("harness.progress.time.monotonic", lambda: clock[0])
    tell = ProgressFile(path, 2.0)
    tell(HALF)
    later = StageProgress(step=51, steps=100, loss=0.2, tokens=1010, seconds_left=89.0)
    tell(later)
    assert read_progress(path) == HALF, "too early for another one"
    clock[0] += 2.0
    tell(later)
    assert read_progress(path) == later
    path.write_text('{"step": 1}')
    assert read_progress(path) is None


def test_progress_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    ProgressFile(tmp_path / "no such folder" / "1.progress", 2.0)(HALF)
    assert not list(tmp_path.iterdir())
