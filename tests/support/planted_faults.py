"""What the quick study measured with a fault planted in the source, and on other machines: numbers alone, kept small.

    python tests/support/planted_faults.py NAME=STORE ..

adds runs to planted_faults.json: NAME of the fault, STORE in which `harness grid --preset quick` ran with it. In
docs/gate.md stands which line each fault changes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from harness.planning.graph import Plan
from harness.store.store import Store
from paper_tables.gate.expected import Expected, NumberKey, RowKey, StageKey
from paper_tables.gate.measured import Measured, MeasuredLoss, MeasuredNumber, measured
from paper_tables.numbers.study_numbers import read_numbers

FILE = Path(__file__).with_name("planted_faults.json")
PARTS = ("numbers", "zeros", "losses")
Kept = dict[str, Any]


def names() -> list[str]:
    return sorted(json.loads(FILE.read_text())["runs"])


def run(name: str, expected: Expected) -> Measured:
    """What was measured, by stages that are those of the expected file: the faults are in code, not in a recipe."""
    kept = json.loads(FILE.read_text())
    found, keys = kept["runs"][name], kept["keys"]
    ends = {number.key: number.stage for number in expected.numbers}
    starts = {loss.key: loss.stage for loss in expected.losses}
    numbers = {}
    for words, values in zip(keys["numbers"], found["numbers"], strict=True):
        seeds = {str(seed): value for seed, value in enumerate(values) if value is not None}
        numbers[NumberKey(*words)] = MeasuredNumber(seeds, len(values) - len(seeds), (ends[NumberKey(*words)],))
    losses = {}
    for words, value in zip(keys["losses"], found["losses"], strict=True):
        values = [] if value is None else [value]
        losses[StageKey(*words)] = MeasuredLoss(values, 1 - len(values), (starts[StageKey(*words)],))
    zeros = {
        RowKey(*words): [tuple(c) for c in counts] for words, counts in zip(keys["zeros"], found["zeros"], strict=True)
    }
    return Measured("quick", numbers, zeros, losses, Plan(stages=dict(expected.stages.stages)))


def kept_of(found: Measured, keys: dict[str, list[list[Any]]]) -> Kept:
    """The values of a run in the order of `keys`; None where a seed has none."""
    empty = MeasuredNumber({}, 0, ())
    numbers = [found.numbers.get(NumberKey(*words), empty).seeds for words in keys["numbers"]]
    losses = [found.losses[StageKey(*words)].losses for words in keys["losses"]]
    return {
        "numbers": [[_rounded(seeds.get(seed)) for seed in ("0", "1", "2")] for seeds in numbers],
        "zeros": [[list(count) for count in found.zeros.get(RowKey(*words), ())] for words in keys["zeros"]],
        "losses": [_rounded(values[0]) if values else None for values in losses],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def add(runs: dict[str, Measured], path: Path = FILE) -> None:
    """Adds runs to the file, a line each. Its keys are those of the first run that was added."""
    kept = json.loads(path.read_text()) if path.exists() else {"keys": {}, "runs": {}}
    for name, found in runs.items():
        if not kept["keys"]:
            kept["keys"] = {part: [list(key) for key in getattr(found, part)] for part in PARTS}
        kept["runs"][name] = kept_of(found, kept["keys"])
    keys = ",\n".join(f'  "{part}": {json.dumps(kept["keys"][part])}' for part in PARTS)
    lines = ",\n".join(f'  "{name}": {json.dumps(kept["runs"][name])}' for name in sorted(kept["runs"]))
    path.write_text(f'{{\n "keys": {{\n{keys}\n }},\n "runs": {{\n{lines}\n }}\n}}\n')


if __name__ == "__main__":
    pairs = [word.partition("=") for word in sys.argv[1:]]
    add({name: measured(read_numbers(Store(Path(store)), "quick")) for name, _, store in pairs})
