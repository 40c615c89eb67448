"""How much slower than usual this machine is: bounds on processor time grow with it and so hold our code alone."""

from __future__ import annotations

import hashlib
import json
from statistics import median
from time import process_time

# Of one round, on the machine on which the tests' bounds were measured.
USUAL_SECONDS = 0.065


def slowness(rounds: int = 3) -> float:
    """1.0 where a round takes the usual time or less, 2.0 where it takes twice that: the median of the rounds.

    A round is what planning, reading and telling do, by the standard library alone: JSON, digests, some ten megabytes
    of small dictionaries. To be asked right beside what is measured, for a machine with neighbours is not slow evenly.
    """
    return max(1.0, median(_round_seconds() for _ in range(rounds)) / USUAL_SECONDS)


def _round_seconds() -> float:
    begun = process_time()
    rows = [{"name": f"cell {n}", "values": [n, n / 7, str(n)], "more": {"a": n, "b": None}} for n in range(10_000)]
    read = json.loads(json.dumps(rows, sort_keys=True))
    digests = {hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest(): row for row in read}
    assert sum(row["values"][0] for row in digests.values()) == 49_995_000
    return process_time() - begun
