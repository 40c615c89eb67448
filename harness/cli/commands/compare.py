"""`harness compare`: two cells example by example, from the predictions that their evaluations kept."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.cli.streams import tell
from harness.store.store import Store
from harness.studies.study import only_study, read_study

MISSING, CANNOT_CHECK = 4, 3


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 every shared seed was compared, 3 some have no predictions, 4 some are not scored yet.

    Raises UsageError for words that name no two cells of one task, StoreError for what cannot be trusted.
    """
    from paper_tables.examples.cells import compare_cells

    store = Store(Path(options.store))
    study = read_study(store, options.study or only_study(store))
    found = compare_cells(store, study, options.first, options.second)
    print(_json(found) if options.json else "\n".join(_lines(found)))
    for sentence in (*found.not_done, *found.not_kept):
        tell(f"not compared: {sentence}.")
    return MISSING if found.not_done else CANNOT_CHECK if found.not_kept else 0


def _json(found: Any) -> str:
    from paper_tables.examples.comparison import as_json, seeds_as_json

    told = {
        "study": found.study,
        "first": found.first,
        "second": found.second,
        "comparisons": [as_json(each) for each in found.splits],
        "over_seeds": [seeds_as_json(each) for each in found.seeds],
        "unpaired": list(found.unpaired),
        "not_done": list(found.not_done),
        "not_kept": list(found.not_kept),
    }
    return json.dumps(told, indent=1)


def _lines(found: Any) -> list[str]:
    from paper_tables.examples.comparison import verdict

    lines = [f"first   {_title(found.first)}", f"second  {_title(found.second)}", f"study   {found.study}"]
    for task in dict.fromkeys(each.task for each in found.splits):
        splits = [each for each in found.splits if each.task == task]
        lines += ["", f"{task}, {splits[0].examples} examples", _metrics(splits), "", _mcnemar(splits)]
    if found.splits:
        lines += ["", "over seeds:", *(f"  {verdict(each)}" for each in found.seeds)]
        lines += [f"  {sentence}" for sentence in _cautions(found)]
    return [*lines, *(f"note: {sentence}." for sentence in found.unpaired)]


def _cautions(found: Any) -> list[str]:
    said = ["Intervals in the tables are over examples: of these trained models, not of the methods."]
    if len(found.splits) > 1:
        said.append(f"p (Holm) is corrected for {len(found.splits)} comparisons.")
    if found.one_pruning:
        said.append("All sparse models come from one pruning: what seeds say is conditional on it.")
    return said


def _title(cell: Any) -> str:
    return f"{cell['model']} {cell['method']} {cell['sparsity']:g} {cell['task']} {cell['quantization']}"


def _seed(each: Any) -> str:
    return f"{each.seed}/{each.pruning_seed}" if each.pruning_seed else str(each.seed)


def _metrics(splits: Sequence[Any]) -> str:
    rows = [
        [
            _seed(each),
            metric.metric,
            f"{metric.first:.2f}",
            f"{metric.second:.2f}",
            f"{metric.difference:+.2f}",
            f"{metric.interval.low:+.2f} to {metric.interval.high:+.2f}",
        ]
        for each in splits
        for metric in each.metrics
    ]
    headers = ["seed", "metric", "first", "second", "difference", "95 % interval"]
    return tabulate(rows, headers, disable_numparse=True, colalign=("right", "left", *["right"] * 4))


def _mcnemar(splits: Sequence[Any]) -> str:
    rows = [
        [
            _seed(each),
            each.right.only_one,
            each.right.only_other,
            each.agreeing,
            f"{each.right.p_value:.3g}",
            f"{each.adjusted_p:.3g}",
        ]
        for each in splits
    ]
    headers = ["seed", "only first right", "only second right", "same answer", "p (McNemar)", "p (Holm)"]
    return tabulate(rows, headers, disable_numparse=True, colalign=["right"] * 6)
