"""Work on many items by several processes: results in the order of the items, a few of them in memory at a time."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from harness.progress import NEVER, StopFlag

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 2  # items of each process that are given out before the first of them is asked for
POLL_SECONDS = 0.2

_function: Callable[[Any], Any]


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], what: str, *, processes: int = 1, stops: StopFlag = NEVER
) -> Iterator[Result]:
    """function(item) of each item, in their order. The number of processes changes no result.

    function: with several processes it is pickled, once for each of them. what: the items are, for the sentence that
    says after how many of them it stopped. Raises what the function raises, and what `stops` raises.
    """
    if processes == 1:
        for item in stops.over(items, what):
            yield function(item)
        return
    waiting: deque[Future[Result]] = deque()
    # Spawned, not forked: the process has threads, and libraries that do not survive a fork.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (function,))
    try:
        left = iter(items)
        done = 0
        while True:
            waiting.extend(pool.submit(_call, item) for item in islice(left, AHEAD * processes - len(waiting)))
            if not waiting:
                return
            yield _result(waiting.popleft(), stops, f"{done} {what}")
            done += 1
    finally:
        pool.shutdown(cancel_futures=True)


def _result(future: Future[Result], stops: StopFlag, where: str) -> Result:
    while True:
        stops.check(lambda: where)
        try:
            return future.result(POLL_SECONDS)
        except TimeoutError:
            if future.done():  # the function's own
                raise


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function


def _call(item: Any) -> Any:
    return _function(item)
