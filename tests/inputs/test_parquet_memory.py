"""What mapping a parquet file holds in memory: some of its rows, whatever its size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import corpus_memory
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.inputs import parquet
from harness.inputs.parquet import map_parquet

ROWS, ROW_BYTES, GROUPS = 1000, 2000, 60


@pytest.mark.parametrize(("groups", "most_mb"), [(GROUPS, 40), (1, 60)])
def test_a_file_is_copied_without_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: int, most_mb: float
) -> None:
    """Of 120 MB that cannot be compressed, less than a third in memory at a time; in one row group, half."""
    monkeypatch.setattr(parquet, "ROWS_AT_A_TIME", 500)
    draw = np.random.default_rng(0)
    with pq.ParquetWriter(tmp_path / "rows.parquet", pa.schema({"text": pa.string()})) as writer:
        for _ in range(groups):
            rows = [draw.bytes(ROW_BYTES // 2).hex() for _ in range(ROWS * GROUPS // groups)]
            writer.write_table(pa.table({"text": rows}))
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "small.parquet")
    map_parquet([tmp_path / "small.parquet"], tmp_path / "copy")  # what it imports is there before
    pa.default_memory_pool().release_unused()
    told: dict[str, Any] = {}
    with corpus_memory.measured(told):
        pass
    before = told["peak_mb"]
    with corpus_memory.measured(told):
        copied = map_parquet([tmp_path / "rows.parquet"], tmp_path / "copy")
    assert len(copied) == ROWS * GROUPS
    assert told["peak_mb"] - before < most_mb
