from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.store.store import Store
from harness.studies.study import Study
from paper_tables.numbers.study_numbers import read_numbers
from paper_tables.tables.compare import StudyComparison, compare, comparison_grids, comparison_remarks
from paper_tables.tables.compare_page import comparison_page

Make = Callable[..., Study]
Publish = Callable[..., None]
QUICK = Path(__file__).parents[2] / "results" / "quick"


def two(store: Store, make_study: Make, publish: Publish) -> StudyComparison:
    """One: seeds 0 to 3 at 0.80 + seed / 100; other: seeds 1 to 4 at 0.01, 0.02, .. less, with 4 epochs."""
    one = make_study(tasks=["sst2"], methods=["dense", "finetune-pruning"], seeds=(0, 1, 2, 3), name="one")
    other = make_study("dense.epochs=4", tasks=["sst2"], methods=["dense"], seeds=(1, 2, 3, 4), name="other")
    for seed in range(4):
        publish(one, {"sst2": {"accuracy": 0.80 + seed / 100}}, method="dense", seed=seed, zeros=0.0)
    publish(one, {"sst2": {"accuracy": 0.5}}, method="finetune-pruning", seed=0)
    for seed in range(1, 5):
        publish(other, {"sst2": {"accuracy": 0.80 + seed / 100 - 0.01 * seed}}, method="dense", seed=seed, zeros=0.0)
    return compare(read_numbers(store, "one"), read_numbers(store, "other"))


def test_only_shared_seeds_count(store: Store, make_study: Make, publish: Publish) -> None:
    found = two(store, make_study, publish)
    (shared,) = found.shared
    # On seeds 1, 2, 3: 81, 82, 83 against 80, 80, 80: differences 1, 2, 3, mean 2, sd 1, t(2) = 4.303: -+ 2.48.
    assert shared.seeds == (1, 2, 3)
    assert (shared.one, shared.other, shared.difference.mean) == pytest.approx((82.0, 80.0, 2.0))
    assert shared.difference.interval is not None
    assert shared.difference.interval[:2] == pytest.approx((-0.484, 4.484), abs=1e-3)
    assert not shared.is_shown


def test_prunings_of_a_transfer_seed_are_no_seeds_of_their_own(
    store: Store, make_study: Make, publish: Publish
) -> None:
    """Three transfer seeds of two prunings are three seeds. Differences 2, 4, 6: 4 -+ 4.303 * 2 / sqrt(3)."""
    axes = {"tasks": ["sst2"], "methods": ["prune-ofa"], "seeds": (0, 1, 2), "pruning_seeds": (0, 1)}
    for name, gain, epochs in (("one", 0.02, 3), ("other", 0.0, 4)):
        study = make_study(f"transfer.epochs={epochs}", quantization=["none"], name=name, **axes)
        for seed in range(3):
            for pruning in range(2):
                metrics = {"sst2": {"accuracy": 0.7 + gain * (1 + seed) + pruning / 100}}
                publish(study, metrics, seed=seed, pruning_seed=pruning)
    found = compare(read_numbers(store, "one"), read_numbers(store, "other"))
    (shared,) = found.shared
    assert (shared.difference.n, shared.seeds, shared.difference.mean) == (3, (0, 1, 2), pytest.approx(4.0))
    assert shared.difference.interval is not None
    assert shared.difference.interval[:2] == pytest.approx((-0.968, 8.968), abs=1e-3)
    assert (shared.one, shared.other) == pytest.approx((74.5, 70.5))
    assert "from three seeds on, conditional on 2 prunings." in comparison_remarks(found)[0]


def test_what_one_alone_has_and_what_sets_them_apart_is_said(store: Store, make_study: Make, publish: Publish) -> None:
    found = two(store, make_study, publish)
    assert [(key.method, key.metric) for key in found.only_one] == [("finetune-pruning", "accuracy")]
    assert found.only_other == ()
    assert len(found.apart) == 1
    assert found.apart[0].startswith("dense.epochs (")
    assert "and 4.0)" in found.apart[0]
    said = "\n".join(comparison_remarks(found))
    assert "Only in one: 1 number (tiny finetune-pruning 0.85 32 bits sst2 accuracy)." in said
    assert "No difference shown" in said


def test_a_study_differs_from_itself_in_nothing() -> None:
    numbers = read_numbers(Store(QUICK), "quick")
    found = compare(numbers, numbers)
    assert len(found.shared) == len(numbers.rows) == 28
    assert {(each.difference.mean, each.seeds) for each in found.shared} == {(0.0, (0, 1, 2, 3, 4))}
    assert (found.only_one, found.only_other, found.apart, found.other) == ((), (), (), "quick (other)")


def test_every_format_fits_and_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(QUICK)
    found = compare(read_numbers(store, "quick"), read_numbers(store, "quick-without-pre-training"))
    for form in ("md", "csv", "latex", "html"):
        assert comparison_page(found, form) == comparison_page(found, form)
    rows = [line for line in comparison_page(found, "md").splitlines() if line.startswith("|")]
    assert max(map(len, rows)) <= 100
    assert sum(len(grid.body) for grid in comparison_grids(found)) == len(found.shared) == 4
    assert found.apart == ("teacher_preparation.steps (1600 and 1)",)
    assert found.condition is None  # only dense rows are in both
    same = compare(read_numbers(store, "quick"), read_numbers(store, "quick"))
    assert same.condition is None  # of no difference there is no interval
    words = ["tables", "--store", str(QUICK), "--study", "quick"]
    assert main([*words, "--compare", f"{QUICK}:quick-without-pre-training", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.as_json()))
    assert main([*words, "--compare", "quick-without-pre-training", "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.iterdir())) == 4
    assert main([*words, "--compare", "quikc"]) == 2
    assert "Did you mean 'quick" in capsys.readouterr().err
    assert main([*words, "--compare", "a/b:"]) == 2
    assert "STUDY or STORE:STUDY" in capsys.readouterr().err


def test_studies_that_share_nothing_say_no_more_than_that() -> None:
    store = Store(QUICK)
    found = compare(read_numbers(store, "quick"), read_numbers(store, "quick-other-tasks"))
    said = comparison_remarks(found)
    assert said[0] == "No number of quick and quick-other-tasks is on a cell and seed that both have."
    assert [each.partition(":")[0] for each in said[1:]] == ["Only in quick", "Only in quick-other-tasks"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--claims", "--compare", "x", "--trace", "y"], "--claims and --trace and --compare at once"),
        (["--claims", "--table", "table-1"], "--table with --claims"),
        (["--compare", "x", "--table", "table-1"], "--table with --compare"),
        (["--trace", "x", "--out", "y"], "--out with --trace"),
        (["--trace", ""], "--trace '' names no cell"),
        (["--compare", ""], "--compare ''"),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tables", "--store", str(QUICK), "--study", "quick", *words]) == 2
    printed = capsys.readouterr()
    assert (printed.out, said in printed.err) == ("", True)


def test_sparsities_that_print_alike_are_told_apart() -> None:
    numbers = read_numbers(Store(QUICK), "quick")
    pruned = next(row for row in numbers.rows if row.sparsity == 0.85)
    twice = replace(numbers, rows=[pruned, replace(pruned, sparsity=0.8500000001)])
    assert [each.key.sparsity for each in compare(twice, twice).shared] == [0.85, 0.8500000001]
