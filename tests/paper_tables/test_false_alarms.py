"""How often a table whose numbers did not change turns red: simulated, with cells as unequal as the quick study's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from noisy_tables import Redrawn, World, expected, measured, spreads

import harness
from paper_tables.gate.check import check
from paper_tables.gate.expected import BETWEEN_RUNS
from paper_tables.gate.expected_file import read_expected
from paper_tables.gate.verdict import Verdict

QUICK = read_expected(Path(harness.__file__).parents[1] / "results" / "quick" / "expected.toml")
SPREADS = spreads(QUICK)
MOST = 0.01
SHIFTED = World(SPREADS, shift=BETWEEN_RUNS)


def alarms(
    world: World, tables: int, *, seeds: int = 3, between_runs: float = BETWEEN_RUNS, fall: float = 0.0
) -> float:
    """The share of tables that turn red. Each is expected from five seeds of one run and measured in another run.

    fall: of every score, in standard deviations of its seeds.
    """
    generator, red = np.random.default_rng(20211110), 0
    lower = fall * np.array(list(world.spreads.values()))[:, None]
    for _ in range(tables):
        own = world.own(generator, 5)
        wanted = expected(world.keys, world.run(generator, 5, own), between_runs)
        report = check(wanted, measured(world.keys, world.run(generator, seeds, own) - lower))
        red += bool(report.counts.get(Verdict.REGRESSED))
    return red / tables


def test_the_worlds_cells_are_as_unequal_as_the_committed_ones() -> None:
    drawn = World(SPREADS).run(np.random.default_rng(0), 4000)
    assert np.allclose(drawn.std(axis=1, ddof=1), list(SPREADS.values()), rtol=0.1)
    of_sst2 = [spread for key, spread in SPREADS.items() if (key.task, key.metric) == ("sst2", "accuracy")]
    assert max(of_sst2) / min(of_sst2) > 2.5


def test_equal_runs_stay_green_and_a_fall_of_every_score_turns_red() -> None:
    assert alarms(SHIFTED, 20) <= 1 / 20
    assert alarms(SHIFTED, 5, fall=5.0) == 1.0


def test_without_the_shift_between_runs_the_gate_would_cry_wolf() -> None:
    """The reason why `between_runs` is there: seeds of one run tell nothing of it."""
    far = World(SPREADS, shift=3.0)
    assert alarms(far, 10, between_runs=0.0) >= 5 / 10
    assert alarms(far, 10, between_runs=3.0) <= 1 / 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "seeds", "between_runs"),
    [
        (World(SPREADS), 3, 0.0),
        (World(SPREADS), 5, 0.0),
        (World(SPREADS, failures=0.01), 3, 0.0),
        (SHIFTED, 3, BETWEEN_RUNS),
        (World(SPREADS, shift=BETWEEN_RUNS, common=1.0, failures=0.01), 3, BETWEEN_RUNS),
        (Redrawn.of(QUICK, shift=BETWEEN_RUNS), 3, BETWEEN_RUNS),
    ],
    ids=["seeds alone", "five seeds", "a seed of 100 fails", "runs shift", "runs shift, seeds fail", "seeds redrawn"],
)
def test_at_most_one_table_of_a_hundred_turns_red(world: World, seeds: int, between_runs: float) -> None:
    rate = alarms(world, 1000, seeds=seeds, between_runs=between_runs)
    print(f"{rate:.4f}")
    assert rate <= MOST
