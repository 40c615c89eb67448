"""What mapping a parquet file holds in memory: some of its rows, whatever its size."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import corpus_memory
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.inputs import parquet
from harness.inputs.parquet import map_parquet

ROWS, ROW_BYTES, GROUPS = 1000, 2000, 60


def test_a_file_is_copied_without_being_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 120 MB that cannot be compressed, less than a third in memory at a time."""
    monkeypatch.setattr(parquet, "ROWS_AT_A_TIME", 500)
    draw = np.random.default_rng(0)
    with pq.ParquetWriter(tmp_path / "rows.parquet", pa.schema({"text": pa.string()})) as writer:
        for _ in range(GROUPS):
            rows = [draw.bytes(ROW_BYTES // 2).hex() for _ in range(ROWS)]
            writer.write_table(pa.table({"text": rows}))
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "small.parquet")
    map_parquet([tmp_path / "small.parquet"], tmp_path / "copy")  # what it imports is there before
    pa.default_memory_pool().release_unused()
    before, peak, over = corpus_memory._own_kilobytes(os.getpid()), [0], threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            peak[0] = max(peak[0], corpus_memory._own_kilobytes(os.getpid()))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        copied = map_parquet([tmp_path / "rows.parquet"], tmp_path / "copy")
    finally:
        over.set()
        watching.join()
    assert len(copied) == ROWS * GROUPS
    assert peak[0] - before < 40_000
