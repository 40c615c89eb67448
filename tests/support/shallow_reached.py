"""The committed record of what shallow learners reach on the synthetic tasks in three worlds.

The rows are a function of the generator, and the numbers one of the rows and the learners: where neither source nor
rows changed, the learners need not be trained again. As a program (`make shallow`, some minutes) it trains them and
writes the file.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import shallow
import shallow_answers

from harness.identity import sha256_of
from harness.synthetic import source
from harness.synthetic.page import CEILINGS

FILE = Path(__file__).with_name("shallow_reached.toml")
WORLDS = (0, 1, 7)


class Recorded(NamedTuple):
    """rows: digest of a task's rows in a world. best: of all learners."""

    rows: str
    best: shallow.Reached


def learners() -> str:
    """Digest of the source of all learners."""
    return sha256_of([Path(str(module.__file__)).read_text() for module in (shallow, shallow_answers)])[:16]


def rows_digest(task: str, world: int) -> str:
    return sha256_of([source.rows(task, split, world) for split in source.SPLITS[task]])[:16]


def best(task: str, world: int) -> shallow.Reached:
    train, validation = (source.rows(task, split, world) for split in source.SPLITS[task])
    found = shallow_answers.reached(train, validation) if task == "squad" else shallow.reached(task, train, validation)
    return max(found, key=lambda each: each.percent)


def read() -> tuple[str, dict[tuple[int, str], Recorded]]:
    """The learners' digest, and what stands there by world and task."""
    written: dict[str, Any] = tomllib.loads(FILE.read_text())
    found = {
        (int(world), task): Recorded(
            entry["rows"], shallow.Reached(entry["features"], entry["learner"], entry["percent"])
        )
        for world, tasks in written["world"].items()
        for task, entry in tasks.items()
    }
    return written["learners"], found


def write() -> None:
    """Raises ValueError, and writes nothing, where a learner passes its task's ceiling."""
    lines = [f"# {line}".rstrip() for line in (__doc__ or "").strip().splitlines()]
    lines += ["", f'learners = "{learners()}"']
    for world in WORLDS:
        for task, (ceiling, _) in CEILINGS.items():
            found = best(task, world)
            print(world, task, found, flush=True)
            if found.percent > ceiling:
                raise ValueError(f"{task} in world {world}: {found} is above the ceiling of {ceiling} %.")
            lines += ["", f"[world.{world}.{task}]", f'rows = "{rows_digest(task, world)}"']
            lines += [
                f'features = "{found.features}"',
                f'learner = "{found.learner}"',
                f"percent = {found.percent:.2f}",
            ]
    FILE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write()
