"""A data folder whose validation splits are slices of train, so that settings are chosen without the validation data.

python results/reduced/choices/slice_of_train.py DATA OUT

DATA and OUT: folders with TASK/SPLIT.parquet in the hub's schema. Of each task OUT gets every row of train but a slice
as train, and the slice, under the name of the validation split, as validation. Rows with the same first text (premise,
context, first question) are on the same side. The corpus is copied, so that pre-training is the same.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from harness.tasks import get_task

SLICE_ROWS = 1000
SEED = 0
# By whose text rows belong together.
COLUMNS = {"sst2": "sentence", "qnli": "question", "qqp": "question1", "mnli": "premise", "squad": "context"}


def cut(rows: pd.DataFrame, column: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(the rest, the slice): whole groups of rows with one text, in random order, until the slice has enough rows."""
    groups = rows[column].unique()
    order = np.random.default_rng(SEED).permutation(len(groups))
    sizes = rows.groupby(column, sort=False).size().to_numpy()[order]
    count = int(np.searchsorted(sizes.cumsum(), SLICE_ROWS)) + 1
    inside = rows[column].isin(set(groups[order[:count]]))
    return rows[~inside], rows[inside]


def main(data: Path, out: Path) -> None:
    shutil.copytree(data / "corpus", out / "corpus")
    for name, column in COLUMNS.items():
        task = get_task(name)
        split, _ = task.evaluation_splits[0]
        rest, chosen = cut(pd.read_parquet(data / name / f"{task.train_split}.parquet"), column)
        (out / name).mkdir()
        rest.to_parquet(out / name / f"{task.train_split}.parquet", index=False)
        chosen.to_parquet(out / name / f"{split}.parquet", index=False)
        print(f"{name}: {len(rest):,} rows to train on, {len(chosen):,} to choose by")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
