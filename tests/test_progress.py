"""The flag that ends a loop of a stage; progress files are in execution/test_display.py."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import Interrupted
from harness.files import folder_digest
from harness.identity import sha256_of
from harness.inputs.parquet import map_parquet
from harness.progress import NEVER, StopFlag


def at_poll(number: int) -> Callable[[], bool]:
    polls = [0]

    def is_set() -> bool:
        polls[0] += 1
        return polls[0] >= number

    return is_set


def test_without_a_stop_items_and_calls_are_what_they_were() -> None:
    assert list(NEVER.over([1, 2, 3], "rows")) == [1, 2, 3]
    assert NEVER.between(divmod, "divisions")(7, 2) == (3, 1)
    assert list(NEVER.over(iter("ab"), "rows")) == ["a", "b"]


def test_it_ends_a_loop_before_the_next_item_and_says_where() -> None:
    seen: list[int] = []
    with pytest.raises(Interrupted, match=r"^stopped after 2 of 5 rows\.$"):
        seen.extend(StopFlag(at_poll(3)).over([10, 20, 30, 40, 50], "rows"))
    for of, items in (("", iter([1])), (" of 1", [1])):
        with pytest.raises(Interrupted, match=rf"^stopped after 0{of} matrices\.$"):
            list(StopFlag(at_poll(1)).over(items, "matrices"))


def test_it_ends_the_loop_of_a_library_that_maps() -> None:
    rows = datasets.Dataset.from_dict({"x": list(range(10))})

    def double(batch: dict[str, list[int]]) -> dict[str, list[int]]:
        return {"x": [2 * x for x in batch["x"]]}

    def mapped(stops: StopFlag) -> list[int]:
        doubled = rows.map(stops.between(double, "batches doubled"), batched=True, batch_size=2)
        return list(doubled["x"])

    assert mapped(NEVER) == [2 * x for x in range(10)]
    with pytest.raises(Interrupted, match=r"^stopped after 3 batches doubled\.$"):
        mapped(StopFlag(at_poll(4)))


def test_it_ends_the_loop_of_a_library_that_writes_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).standard_normal((4, 100_000))
    rows = datasets.Dataset.from_dict({"x": list(numbers.reshape(-1))})
    rows.to_parquet(str(tmp_path / "plain"), batch_size=50_000)
    with NEVER.writing(tmp_path / "flagged") as file:
        rows.to_parquet(file, batch_size=50_000)
    assert (tmp_path / "flagged").read_bytes() == (tmp_path / "plain").read_bytes()
    with (
        pytest.raises(Interrupted, match=r"^stopped after writing [\d,]+ bytes of cut\.$"),
        StopFlag(at_poll(4)).writing(tmp_path / "cut") as file,
    ):
        rows.to_parquet(file, batch_size=50_000)
    assert 0 < (tmp_path / "cut").stat().st_size < (tmp_path / "plain").stat().st_size / 2


def test_it_ends_the_reading_of_a_large_file_for_its_digest(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 5_000_000)
    with pytest.raises(Interrupted, match=r"^stopped after reading [1-4],\d{3},\d{3} bytes of large\.$"):
        folder_digest(tmp_path, StopFlag(at_poll(10)).reading)
    assert folder_digest(tmp_path) == sha256_of({"large": hashlib.sha256(b"x" * 5_000_000).hexdigest()})


def test_in_another_process_it_is_never_set() -> None:
    assert pickle.loads(pickle.dumps(StopFlag(lambda: True))) == NEVER


@pytest.mark.parametrize("columns", [None, ("text", "title")])
def test_a_copy_to_map_holds_what_the_library_reads(tmp_path: Path, columns: tuple[str, ...] | None) -> None:
    table = {
        "title": [f"t{i}" for i in range(25_000)],
        "text": [f"words {i}" for i in range(25_000)],
        "n": [[1]] * 25_000,
    }
    datasets.Dataset.from_dict(table).to_parquet(str(tmp_path / "one.parquet"), batch_size=7_000)
    pq.write_table(pa.table({name: values[:30] for name, values in table.items()}), tmp_path / "two.parquet")
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    with pytest.raises(Interrupted, match=r"^stopped after 2 batches of rows of one.parquet\.$"):
        map_parquet(paths, tmp_path / "cache", StopFlag(at_poll(3)), columns)
    found = map_parquet(paths, tmp_path / "cache", columns=columns)
    wanted = datasets.Dataset.from_parquet(
        [str(path) for path in paths], cache_dir=str(tmp_path / "theirs"), columns=columns and list(columns)
    )
    assert found.features == wanted.features
    assert set(found.column_names) == set(columns or table)
    assert found.select_columns(wanted.column_names)[:] == wanted[:]
    assert found.cache_files, "mapped, not in memory"
    paths[0].unlink()
    assert len(map_parquet(paths, tmp_path / "cache", columns=columns)) == 25_030, "made once"
