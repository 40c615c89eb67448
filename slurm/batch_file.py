"""Batch file: one array of tasks as the text that sbatch reads, rendered by submitit.

Only submission and dry runs import this. Values reach #SBATCH lines and the shell quoted; what neither can hold is
refused. The batch shell does three things beside starting the task: it names the allocation to it, it queues the task
again where the task's exit code asks for that, and it excludes a node that the task found broken.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit.slurm.slurm import SlurmExecutor

from harness.errors import Problem, Problems
from harness.store.processes import ALLOCATION
from harness.store.slurm_command import say, slurm_environment
from harness.wording import shown
from slurm.cluster import NO_ANSWER
from slurm.exit_codes import BAD_NODE, KILLED, NO_STORE, STOPPED
from slurm.profiles import Profile

MOST_RESTARTS = 5  # by the batch shell for another reason than STOPPED
TEST_SECONDS = 20.0  # sbatch itself waits for a controller that does not respond
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_TASK = re.compile(r"[0-9]+_[0-9]+")

# SLURM ends the job's shell by SIGTERM when it is pre-empted, cancelled or over its limit: then none of this runs.
# $again_file holds a character for each time that this shell queued the task again for another reason than STOPPED:
# SLURM's own count has the limits and pre-emptions too, and serves where the file cannot be written.
AFTER_TASK = rf"""set +eu
task="${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
again=no
[ "$code" = {STOPPED} ] && again=yes
if [ "$code" = {BAD_NODE} ] || [ "$code" = {NO_STORE} ] || [ "$code" -ge {KILLED} ]; then
  counted=$(cat "$again_file" 2>/dev/null)
  count=${{#counted}}
  if [ $count -lt {MOST_RESTARTS} ]; then
    printf x >>"$again_file" || count=${{SLURM_RESTART_COUNT:-0}}
  fi
  [ "$count" -lt {MOST_RESTARTS} ] && again=yes
fi
if [ $again = yes ]; then
  echo "batch: the task ended with $code on $SLURMD_NODENAME; it is to run again" >&2
  [ "$code" = {BAD_NODE} ] && trap '' TERM
  for pause in 5 10 20 40 0; do
    scontrol requeue "$task" && again=queued && break
    sleep $pause
  done
fi
if [ $again = queued ] && [ "$code" = {BAD_NODE} ]; then
  for pause in 3 3 3 3; do
    sleep $pause
    nodes=$(squeue -h -o %x -j "$task")
    case "$nodes" in "(null)" | "N/A") nodes= ;; esac
    scontrol update JobId="$task" ExcNodeList="${{nodes:+$nodes,}}$SLURMD_NODENAME" && break
  done
elif [ $again = queued ]; then
  sleep 60
fi
exit "$code"
"""


class _ArrayExecutor(SlurmExecutor):
    """submitit's executor as far as it renders a file. No function is pickled and none is run by it."""

    @classmethod
    def affinity(cls) -> int:
        return 2  # its own asks for srun on PATH, which a dry run elsewhere does not have

    def text(self, command: str, num_tasks: int, parameters: Mapping[str, Any]) -> str:
        self.update_parameters(**parameters)  # refuses what this version of submitit does not know
        self.parameters["map_count"] = num_tasks
        return self._make_submission_file_text(command, "") + "\n"


def batch_file(
    profile: Profile,
    *,
    name: str,
    log: Path,
    num_tasks: int,
    command: Sequence[str],
    directory: Path,
    after: Sequence[str] = (),
) -> str:
    """The batch file of an array.

    name: of the job; the task finds "NAME_INDEX" as HARNESS_ALLOCATION. log: with %a for the index. after: tasks, as
    "123_4", that must end with exit code 0. command: the task's words, as of `Profile.command`. directory: where it
    starts. Raises UsageError for a path that SLURM cannot hold, ValueError for arguments no user gives.
    """
    if not _NAME.fullmatch(name) or num_tasks < 1 or not command or not all(map(_TASK.fullmatch, after)):
        raise ValueError(f"no array: name={name!r}, num_tasks={num_tasks}, after={after!r}, {len(command)} words")
    if log.name != f"{name}_%a.log":
        raise ValueError(f"log {log.name!r}: expected {name}_%a.log, a file for each task")
    _check_paths(log.parent, directory, command)
    flags = {**dict(profile.extra), "output": str(log), "chdir": str(directory), **_OF_EVERY_ARRAY}
    again_file = f"again_file={shlex.quote(str(log.parent))}/{name}_$SLURM_ARRAY_TASK_ID.again"
    parameters = {
        **_of_profile(profile),
        "dependency": f"afterok:{':'.join(after)}" if after else None,
        "additional_parameters": {key: _held(value) for key, value in flags.items()},
        "job_name": name,
        "array_parallelism": profile.array_parallelism or num_tasks,
        # The first line is ours, so that no line of a profile is taken for a flag.
        "setup": [f'export {ALLOCATION}="{name}_${{SLURM_ARRAY_TASK_ID}}"', *profile.setup],
        "teardown": [again_file, *AFTER_TASK.splitlines()],
    }
    # srun does not take over the cores of the job, and without --export nothing of the shell where sbatch got NONE.
    # One process begins the task; where a stage has several ranks, it starts the others in a step beside its own.
    alone = [] if profile.ranks == 1 else ["--nodes=1", "--ntasks=1", "--overlap"]
    words = ["srun", "--unbuffered", "--export=ALL", f"--cpus-per-task={profile.cpus}", *alone, *command]
    return _ArrayExecutor(log.parent).text(f"code=0; {shlex.join(words)} || code=$?", num_tasks, parameters)


_OF_EVERY_ARRAY = {"requeue": True, "kill-on-invalid-dep": "yes"}


def _check_paths(folder: Path, directory: Path, command: Sequence[str]) -> None:
    """Raises UsageError with all that a batch file cannot hold. folder: of the logs."""
    problems = Problems(store_problems(folder))
    problems.extend(_text_problems("the folder of the submission", str(directory)))
    for word in command:
        problems.extend(_text_problems("the task's command", word, line_breaks=True))
    problems.check()


def _of_profile(profile: Profile) -> dict[str, Any]:
    """What a profile asks for, in submitit's names; None leaves a flag away."""
    texts = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "exclude": profile.exclude,
        "nodelist": profile.nodelist,
        "wckey": profile.wckey,  # submitit's own is one that sites refuse
        "comment": profile.comment,
        "gpus_per_node": profile.gpus or None,
        "mem": profile.memory,
        "mem_per_cpu": profile.memory_per_cpu,
        "mem_per_gpu": profile.memory_per_gpu,
    }
    return {
        **{key: _held(value) for key, value in texts.items()},
        "time": profile.time_minutes,
        "signal_delay_s": 60 * profile.signal_minutes,  # submitit writes USR2@N: to the steps, not to the batch shell
        "nodes": profile.nodes,
        "ntasks_per_node": profile.tasks,
        "cpus_per_task": profile.cpus,
        "exclusive": profile.exclusive or None,
        "stderr_to_stdout": True,
        "use_srun": False,  # its srun line writes to a file named by job id; ours is named by the ledger
    }


def _held(value: Any) -> Any:
    """A value as submitit is to be given it: sbatch takes a backslash as an escape within any quotes."""
    return value.replace("\\", r"\\") if isinstance(value, str) else value


def store_problems(path: Path) -> list[Problem]:
    """What is wrong with the place of a store whose logs SLURM is to write: nothing, or a problem that says it."""
    found = _text_problems("the store's path", str(path))
    # %j and the like are replaced wherever they stand; a backslash switches that off, for the log's own %a too.
    if taken := [character for character in "%\\" if character in str(path)]:
        found.append(
            Problem(
                f"the store's path {shown(str(path))} has a {taken[0]}",
                "store",
                "a path without it",
                "SLURM reads it as its own in the name of a log. Use another folder.",
            )
        )
    return found


def _text_problems(what: str, text: str, *, line_breaks: bool = False) -> list[Problem]:
    """What keeps a text from standing in a batch file. line_breaks: whether quotes of a shell hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return [Problem(f"{what} {shown(text)} is not UTF-8", None, "a name of valid characters", "Use another one.")]
    bad = "\0" if line_breaks else "".join(map(chr, range(32))) + "\x7f"
    if any(character in bad for character in text):
        move = "A batch file cannot hold it. Use another one."
        return [Problem(f"{what} {shown(text)} has a line break or control character", None, "none", move)]
    return []


@dataclass(frozen=True)
class Answer:
    """What SLURM says of a batch file. accepted None: it was not asked, or did not respond; words say why."""

    accepted: bool | None
    words: str


def ask_sbatch(text: str, timeout_seconds: float = TEST_SECONDS) -> Answer:
    """Ask SLURM whether it would take a batch file, and when it would start. Nothing is submitted."""
    if shutil.which("sbatch") is None:
        return Answer(None, "sbatch is not on PATH: this is not a machine that submits jobs.")
    said = say(["sbatch", "--test-only"], timeout_seconds, submission_environment(os.environ), given=text)
    if said.code is None:
        return Answer(None, f"sbatch did not respond within {timeout_seconds:g} s.")
    words = " ".join((said.complained + said.printed).split())
    if said.code == 0:
        return Answer(True, words)
    if not words:
        return Answer(None if said.code < 0 else False, f"sbatch said nothing: {said.problem}.")
    silent = NO_ANSWER.search(words) or "configuration source" in words
    return Answer(None if silent else False, words)


def submission_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for sbatch: without those that would take the place of the file's own lines.

    SBATCH_* count before #SBATCH lines: a user's SBATCH_ACCOUNT and the like are meant so, those of flags that the
    harness decides are not. SLURM_* of a job that submits would be taken for the new job's own.
    """
    kept_of_slurm = ("SLURM_CONF", "SLURM_CONF_SERVER")
    return {
        name: value
        for name, value in slurm_environment(environment).items()
        if name not in _DECIDED and (name in kept_of_slurm or not name.startswith(("SLURM_", ALLOCATION)))
    }


_DECIDED = frozenset(
    f"SBATCH_{name}"
    for name in (
        *("ARRAY_INX", "CLUSTERS", "JOB_NAME", "NO_REQUEUE", "OPEN_MODE", "REQUEUE", "SIGNAL", "WAIT"),
        *("OUTPUT", "ERROR", "CHDIR", "NTASKS", "CPUS_PER_TASK", "NTASKS_PER_NODE", "PARSABLE", "QUIET", "TIMELIMIT"),
    )
)
