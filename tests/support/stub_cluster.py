"""A stub of SLURM's commands that speaks its text: sbatch, squeue, scontrol and scancel on one file. Runs nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMANDS = ("sbatch", "squeue", "scontrol", "scancel")
FRESH: dict[str, Any] = {
    "cluster": "stub",
    "max_array": 1001,
    "max_jobs": 10_000,
    "next": 1,
    "tasks": [],
    "calls": [],
    "refusal": "",  # what sbatch says instead of taking a file
    "refuse_after": 10**9,  # so many files that it takes before
    "refused_partition": "",  # of which sbatch takes no file
    "banner": "",  # what a site has sbatch print before the id
    "fails_after_taking": "",  # what sbatch says though it took the file
    "silent": [],  # commands that do not respond
    "late": [],  # commands that do what they are asked and do not respond
}
SCRIPT = """#!{python} -IS
import sys
sys.argv[0] = {name!r}
sys.path.insert(0, {here!r})
from stub_cluster import answer
sys.exit(answer({name!r}, sys.argv[1:], {state!r}))
"""


@dataclass(frozen=True)
class StubCluster:
    """The commands stand in folder/bin, to be put on PATH."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, **settings: Any) -> StubCluster:
        stub = cls(folder)
        stub.bin.mkdir(parents=True)
        for name in COMMANDS:
            script = stub.bin / name
            here, state = str(Path(__file__).parent), str(stub.state_path)
            script.write_text(SCRIPT.format(python=sys.executable, name=name, here=here, state=state))
            script.chmod(0o755)
        stub.write({**FRESH, **settings})
        return stub

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def state_path(self) -> Path:
        return self.folder / "state.json"

    def read(self) -> dict[str, Any]:
        return json.loads(self.state_path.read_text())

    def write(self, state: dict[str, Any]) -> None:
        self.state_path.write_text(json.dumps(state))

    def set(self, **settings: Any) -> None:
        self.write({**self.read(), **settings})

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """name_index -> what is queued: job, index, state, reason, restarts, after (SLURM's ids of tasks)."""
        return {f"{task['name']}_{task['index']}": task for task in self.read()["tasks"]}

    def change(self, task: str, **fields: Any) -> None:
        state = self.read()
        for each in state["tasks"]:
            if f"{each['name']}_{each['index']}" == task:
                each.update(fields)
        self.write(state)

    def remove(self, *tasks: str) -> None:
        """They have ended."""
        state = self.read()
        state["tasks"] = [each for each in state["tasks"] if f"{each['name']}_{each['index']}" not in tasks]
        self.write(state)

    def calls(self, command: str) -> list[list[str]]:
        return [words for name, words in self.read()["calls"] if name == command]


def answer(name: str, words: list[str], state_path: str) -> int:
    path = Path(state_path)
    state = json.loads(path.read_text())
    if name in state["silent"]:
        _sleep()
    if name != "sbatch" or "--test-only" not in words:
        state["calls"].append([name, words])
    code = globals()[f"_{name}"](state, words)
    path.write_text(json.dumps(state))
    if name in state["late"]:
        _sleep()
    return int(code)


def _sleep() -> None:
    import time

    time.sleep(60)


def _sbatch(state: dict[str, Any], words: list[str]) -> int:
    if "--test-only" in words:
        print("sbatch: Job 1 to start at once", file=sys.stderr)
        return 0
    if state["refusal"] and len([1 for name, _ in state["calls"] if name == "sbatch"]) > state["refuse_after"]:
        print(f"sbatch: error: {state['refusal']}", file=sys.stderr)
        return 1
    flags = {}
    for line in Path(words[-1]).read_text().splitlines():
        if line.startswith("#SBATCH --"):
            key, _, value = line.removeprefix("#SBATCH --").partition("=")
            flags[key] = value.strip('"')
    if state["refused_partition"] and flags.get("partition") == state["refused_partition"]:
        print("sbatch: error: Batch job submission failed: Invalid partition name specified", file=sys.stderr)
        return 1
    job, state["next"] = state["next"], state["next"] + 1
    last = int(flags["array"].partition("%")[0].partition("-")[2] or 0)
    after = flags.get("dependency", "").removeprefix("afterok:")
    for index in range(last + 1):
        state["tasks"].append(
            {
                "name": flags["job-name"],
                "job": str(job),
                "index": index,
                "state": "PD",
                "reason": "Dependency" if after else "Priority",
                "restarts": 0,
                "after": after.split(":") if after else [],
            }
        )
    if state["fails_after_taking"]:
        print(f"sbatch: error: {state['fails_after_taking']}", file=sys.stderr)
        return 1
    print(f"{state['banner']}\n{job};stub" if state["banner"] else job)
    return 0


def _squeue(state: dict[str, Any], words: list[str]) -> int:
    columns = next(word.partition("=")[2] for word in words if word.startswith("--Format="))
    keys = {
        "Name": "name",
        "ArrayJobID": "job",
        "ArrayTaskID": "index",
        "StateCompact": "state",
        "RestartCnt": "restarts",
        "Reason": "reason",
        "UserName": "user",
        "UserID": "user",
    }
    for task in state["tasks"]:
        line = ""
        for column in columns.split(","):
            name, _, width = column.partition(":")
            line += str(task.get(keys.get(name, name), ""))[: int(width)].ljust(int(width))
        print(line)
    return 0


def _scontrol(state: dict[str, Any], words: list[str]) -> int:
    if words[:2] == ["show", "config"]:
        print(f"ClusterName             = {state['cluster']}")
        print(f"MaxArraySize            = {state['max_array']}")
        print(f"MaxJobCount             = {state['max_jobs']}")
    return 0


def _scancel(state: dict[str, Any], words: list[str]) -> int:
    ended = set(words)
    state["tasks"] = [task for task in state["tasks"] if f"{task['job']}_{task['index']}" not in ended]
    return 0
