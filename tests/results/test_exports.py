"""The table of docs/export.md on the scores of exported graphs is its file, line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MEASURED: list[dict[str, Any]] = json.loads((ROOT / "results" / "benchmarks" / "exports.json").read_text())["scores"]


def test_every_measured_score_has_its_line_and_no_other_has_one() -> None:
    lines = []
    for each in MEASURED:
        cell = f"{each['method']}, {100 * each['sparsity']:.0f} % zeros"
        named = f"| {each['model']} | {cell} | {each['task']} {each['metric']} | {each['seed']} | {each['format']} "
        apart = each["exported"] - each["recorded"]
        lines.append(f"{named}| {each['examples']} | {each['recorded']:.2f} | {apart:+.2f} |")
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.endswith(" |") and "zeros | " in line] == lines


def test_they_differ_by_two_examples_at_the_most() -> None:
    """Accuracies and exact matches; F1 of a question is a part of an example's."""
    for each in MEASURED:
        if each["metric"] != "f1":
            examples = abs(each["exported"] - each["recorded"]) / 100 * each["examples"]
            assert round(examples, 6) in (0, 1, 2)
    assert {each["model"] for each in MEASURED} == {"distilbert", "tiny-narrow", "minilm-l6"}
