"""Why SLURM ended a task, read from the task's log: lines as SLURM printed them."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurm.task import BEGIN, how_it_ended

BY_THE_GATHERER = "slurmstepd-n1: error: StepId=1.0 exceeded memory limit (788439040 > 419430400), being killed"
BY_THE_KERNEL = "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.0. Some of your processes may have been killed"
OF_THE_STEP = "srun: error: n1: task 0: Out Of Memory"


def log(folder: Path, *lines: str) -> Path:
    path = folder / "task.log"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("line", [BY_THE_GATHERER, BY_THE_KERNEL, OF_THE_STEP])
def test_a_task_above_its_memory_says_so_in_slurms_words(tmp_path: Path, line: str) -> None:
    outcome, words = how_it_ended(log(tmp_path, f"2026-01-01 00:00:00 {BEGIN} name: 2 stages", line))
    assert outcome == "out-of-memory"
    assert line in words


def test_what_the_batch_shell_says_of_the_task_after_that_begins_none(tmp_path: Path) -> None:
    begin = f"2026-01-01 00:00:00 {BEGIN} name: 2 stages"
    after = ("srun: error: n1: task 0: Killed", "batch: the task ended with 137 on n1; it is to run again")
    assert how_it_ended(log(tmp_path, begin, BY_THE_GATHERER, *after))[0] == "out-of-memory"


def test_only_the_last_start_counts(tmp_path: Path) -> None:
    begin = f"2026-01-01 00:00:00 {BEGIN} name: 2 stages"
    assert how_it_ended(log(tmp_path, begin, BY_THE_GATHERER, begin, "srun: error: n1: task 0: Killed"))[0] == "killed"


def test_without_a_log_the_task_was_killed(tmp_path: Path) -> None:
    assert how_it_ended(tmp_path / "none.log")[0] == "killed"
