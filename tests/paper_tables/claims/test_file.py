"""Claims as data: the shipped file, a user's own, and every problem of a bad one at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.tasks import TASKS
from paper_tables.claims.file import claims_of_file, paper_claims, parse_claims
from paper_tables.claims.in_paper import paper_effects
from paper_tables.claims.side import Side
from paper_tables.numbers.metrics import PRIMARY_METRICS, is_primary
from paper_tables.numbers.published import PAPER_COLUMNS

GOOD = """
[[claims]]
id = "mine"
sentence = "A is better than B."
source = "a guess"
kind = "above"
one = { method = "a", sparsity = 0.5 }
other = { method = "b", sparsity = 0.6 }
above = 2
may_differ = ["epochs"]
"""


def test_the_papers_five_claims_are_shipped() -> None:
    assert [(claim.id, claim.kind) for claim in paper_claims()] == [
        ("above-finetune-pruning", "above"),
        ("kd-in-transfer-helps", "above"),
        ("lock-keeps-zeros", "keeps-zeros"),
        ("qat-under-one-point", "cost-of-quantization"),
        ("large-sparse-above-base", "above-with-fewer-weights"),
    ]


def test_what_the_papers_own_numbers_say_is_counted_from_its_tables() -> None:
    """By hand, from Tables 1 to 3: QAT costs BERT-Base 1.31 points of MNLI, DistilBERT more than a point thrice."""
    effects = {claim.id: paper_effects(claim.measurement) for claim in paper_claims()}
    summary = {name: (len(found), sum(e.points > 0 for e in found)) for name, found in effects.items()}
    assert summary == {
        "above-finetune-pruning": (15, 15),
        "kd-in-transfer-helps": (5, 5),
        "lock-keeps-zeros": (0, 0),
        "qat-under-one-point": (20, 1),
        "large-sparse-above-base": (5, 4),
    }
    above_a_point = {(e.model, e.sparsity, e.task): e.points for e in effects["qat-under-one-point"] if e.points <= -1}
    assert above_a_point == {
        ("bert-base", 0.85, "mnli"): -1.31,  # 81.40 - 82.71
        ("distilbert", 0.85, "sst2"): -1.67,  # 88.93 - 90.60
        ("distilbert", 0.9, "mnli"): -1.88,  # 78.80 - 80.68
        ("distilbert", 0.9, "sst2"): -1.55,
    }
    (mnli,) = [e for e in effects["large-sparse-above-base"] if e.task == "mnli"]
    assert mnli.points == -0.32  # 83.74 - 84.06


def test_every_task_has_one_primary_metric() -> None:
    primary = [column for column in PAPER_COLUMNS if is_primary(*column)]
    declared = {(task.name, task.metrics[0]) for task in TASKS.values() if task.is_declared}
    assert sorted(primary) == sorted(PRIMARY_METRICS.items() - declared)
    assert declared == {("cola", "matthews"), ("mrpc", "accuracy"), ("rte", "accuracy"), ("stsb", "pearson")}
    assert not is_primary("mnli-mm", "accuracy")


def test_a_file_of_the_users_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    (claim,) = claims_of_file(path)
    assert (claim.id, claim.kind, claim.measurement.bound) == ("mine", "above", 2.0)  # type: ignore[attr-defined]
    assert claim.measurement.one == Side(method="a", sparsity=0.5)  # type: ignore[attr-defined]
    assert claim.measurement.may_differ == ("epochs",)  # type: ignore[attr-defined]


def problems(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parse_claims("mine.toml", text)
    return [problem.on_command_line for problem in caught.value.problems]


def test_what_one_side_alone_names_is_refused() -> None:
    """Of the other side several rows would fit, as fp32 and int8, or every sparsity: the last would be taken."""
    text = GOOD.replace("sparsity = 0.6", "bits = 8")
    assert problems(text) == [
        "mine.toml: claim 1: one names sparsity, and other does not: name it in both, or in neither where it is equal.",
        "mine.toml: claim 1: other names bits, and one does not: name it in both, or in neither where it is equal.",
    ]


def test_numbers_of_any_size_are_refused() -> None:
    told = problems(GOOD.replace("above = 2", f"above = {10**400}").replace("0.6", str(10**400)))
    assert [each.partition(" = ")[0] for each in told] == ["mine.toml: claim 1: other", "mine.toml: claim 1: above"]


def test_every_problem_is_told_at_once() -> None:
    bad = """
    extra = 1
    [[claims]]
    id = "a b"
    sentence = "two\\nlines"
    kind = "above"
    one = { methot = "x", bits = 16, sparsity = 90 }
    other = {}
    above = nan
    may_differ = ["epoch"]
    [[claims]]
    id = "same"
    sentence = "It holds."
    source = "a guess"
    kind = "keeps-zeros"
    one = { method = "x" }
    [[claims]]
    id = "same"
    sentence = "It holds."
    source = "a guess"
    kind = "lock"
    one = { method = "x" }
    other = { method = true }
    """
    told = problems(bad)
    assert all(each.startswith("mine.toml: ") for each in told)
    expected = [
        "key 'extra'",
        "claim 1: id = 'a b': expected at most 100 letters",
        "claim 1: sentence = 'two\\nlines': expected a sentence in one line.",
        "claim 1: source is missing.",
        "method",  # the nearest to methot
        "bits: expected 32 (fp32) or 8 (int8).",
        "For 90 percent write 0.9",
        "claim 1: other = {}: expected a table of model, method, sparsity, bits.",
        "claim 1: above = nan: expected points between -100 and 100.",
        "epochs",  # the nearest to epoch
        "claim 2: key 'one'",
        "claim 3: kind = 'lock': expected one of above, above-with-fewer-weights, cost-of-quantization, keeps-zeros.",
        "claim 3: other = {'method': True}: method: expected a name.",
        "id 'same' stands 2 times",
    ]
    missing = [each for each in expected if each not in "\n".join(told)]
    assert missing == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("claims = 3", "expected one [[claims]] table or more."),
        ("", "expected one [[claims]] table or more."),
        ("[[claim]]\nid = 'x'", "'claim'"),
        ("id =", "mine.toml is not TOML"),
        (f"id = {'9' * 5000}", "mine.toml is not TOML"),  # Python reads no such number
    ],
)
def test_a_file_that_holds_no_claims_is_refused(text: str, said: str) -> None:
    assert said in "\n".join(problems(text))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name, said in (("no.toml", "No such file"), ("bytes.toml", "not UTF-8"), (".", "directory")):
        with pytest.raises(UsageError, match=said):
            claims_of_file(tmp_path / name)
