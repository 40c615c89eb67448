"""Work by several processes: in order, bounded, and ended by what ends one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.data import parallel
from harness.data.parallel import in_order
from harness.errors import Interrupted
from harness.progress import StopFlag


def square(number: int) -> int:
    time.sleep(0.002 * (number % 3))  # later ones are done first
    return number * number


def who(number: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def refuse_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def time_out(number: int) -> int:
    raise TimeoutError("of the function's own")


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(processes: int) -> None:
    assert list(in_order(square, range(40), "items", processes=processes)) == [n * n for n in range(40)]
    assert list(in_order(square, [], "items", processes=processes)) == []


def test_several_processes_are_at_work_and_this_one_is_not() -> None:
    found = set(in_order(who, range(12), "items", processes=2))
    assert len(found) == 2
    assert os.getpid() not in found


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_comes_after_the_results_before_it(processes: int) -> None:
    results = in_order(refuse_seven, range(20), "items", processes=processes)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="seven"):
        next(results)


@pytest.mark.parametrize("processes", [1, 2])
def test_the_functions_own_timeout_is_an_error_like_others(processes: int) -> None:
    with pytest.raises(TimeoutError, match="of the function's own"):
        list(in_order(time_out, range(3), "items", processes=processes))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stop_ends_it_between_two_items(processes: int) -> None:
    asked = [0]

    def is_set() -> bool:
        asked[0] += 1
        return asked[0] > 5

    results = []
    with pytest.raises(Interrupted, match=r"stopped after \d( of 40)? articles\."):
        results.extend(in_order(square, range(40), "articles", processes=processes, stops=StopFlag(is_set)))


def test_no_more_items_are_taken_than_are_soon_worked(tmp_path: Path) -> None:
    taken = 0

    def items() -> object:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    results = in_order(square, items(), "items", processes=2)  # type: ignore[arg-type]
    next(results)
    assert taken <= parallel.AHEAD * 2 + 1
    results.close()  # type: ignore[attr-defined]
