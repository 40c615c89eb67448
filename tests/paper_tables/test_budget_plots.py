"""Three budgets in one store, by the command line: a figure, its page, and the numbers for machines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filled_stores import finish, make_study

from harness.cli.main import main
from harness.specs import StageSpec
from harness.studies.study import Study

BUDGETS = {"third": 300, "one": 1000, "five": 5000}  # steps of pruning, of a thousand tokens each
ABOVE = {300: -0.05, 1000: -0.01, 5000: 0.02}  # of prune-ofa, as a fraction
CROSSING = 1000 * 5 ** (1 / 3) * 1000  # a third of the way from -1 to +2 points, by logarithm


def result_of(study: Study) -> Callable[[StageSpec], dict[str, Any]]:
    """Dense 0.9; pruned on the task 0.7 and a hundredth a seed; prune-ofa above that, but for a thousandth a seed."""
    stages = study.plan.stages

    def result(spec: StageSpec) -> dict[str, Any]:
        if spec.kind == "student_pruning":
            return {"training": {"tokens_seen": 1000 * spec.parameters["steps"], "seconds": 1.0}}
        if spec.kind != "evaluation":
            return {}
        model = stages[spec.parents["model"]]
        seed = model.parameters["seed"]
        if model.kind == "transfer":
            steps = stages[model.parents["model"]].parameters["steps"]
            return {"metrics": {"sst2": {"accuracy": 0.7 + seed / 100 + ABOVE[steps] + (seed - 1) / 1000}}}
        return {"metrics": {"sst2": {"accuracy": 0.7 + seed / 100 if model.kind == "task_pruning" else 0.9}}}

    return result


@pytest.fixture
def store(tmp_path: Path) -> Path:
    axes = {"methods": ["dense", "finetune-pruning", "prune-ofa"], "sparsities": [0.85], "seeds": [0, 1, 2]}
    for name, steps in BUDGETS.items():
        study = make_study(tmp_path / "runs", f"student_pruning.steps={steps}", name=name, **axes)
        finish(tmp_path / "runs", study, result=result_of(study))
    return tmp_path / "runs"


def plots(store: Path, out: str, *words: str) -> int:
    return main(["plots", "--store", str(store), "--study", "one", "--with", "five,third", "--out", out, *words])


def test_the_budgets_of_several_studies_are_one_curve_with_its_finding(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures"
    assert plots(store, str(out), "--json") == 0
    (figure,) = json.loads(capsys.readouterr().out)["figures"]
    assert sorted(figure["files"]) == sorted(map(str, out.iterdir()))
    assert {Path(file).name for file in figure["files"]} == {"one-tokens.png", "one-tokens.svg", "one-tokens.md"}
    (curve,) = figure["budgets"]
    assert [(each["study"], each["tokens"]) for each in curve["budgets"]] == [
        ("third", 300_000),
        ("one", 1_000_000),
        ("five", 5_000_000),
    ]
    assert [round(each["difference"]["mean"], 6) for each in curve["budgets"]] == [-5, -1, 2]
    assert curve["finding"]["kind"] == "shown"  # seeds differ by a tenth of a point
    text = (out / "one-tokens.md").read_text()
    assert "**Pays at 5 million tokens, the largest budget tried: its interval is above zero.**" in text
    assert "| 5,000,000 | five  | " in text


def test_two_seeds_show_nothing_and_where_the_means_cross_is_interpolated(tmp_path: Path) -> None:
    axes = {"methods": ["dense", "finetune-pruning", "prune-ofa"], "sparsities": [0.85], "seeds": [0, 2]}
    for name, steps in BUDGETS.items():
        study = make_study(tmp_path / "runs", f"student_pruning.steps={steps}", name=name, **axes)
        finish(tmp_path / "runs", study, result=result_of(study))
    assert plots(tmp_path / "runs", str(tmp_path / "figures")) == 0
    text = (tmp_path / "figures" / "one-tokens.md").read_text()
    assert round(CROSSING / 1e6, 1) == 1.7
    assert (
        "**The mean difference crosses zero at about 1.7 million tokens, interpolated between 1 and 5 million tokens; "
        "no interval excludes zero.**" in text
    )
    assert text.count("no interval, n = 2: three seeds are needed") == 3


def test_the_same_studies_in_any_order_give_the_same_page(store: Path, tmp_path: Path) -> None:
    words = ["plots", "--store", str(store), "--study", "one", "--out"]
    pages = []
    for out, others in (("a", "five,third"), ("b", "third,five,one")):
        assert main([*words, str(tmp_path / out), "--with", others]) == 0
        pages.append((tmp_path / out / "one-tokens.md").read_bytes())
    assert pages[0] == pages[1]
