import re

import pytest
from grid_world import OTHER_TASKS, plan, preset, sentences

from harness.errors import UsageError
from harness.planning.kinds import KINDS, get_kind
from harness.planning.preset import Preset, load_preset, parse_preset, preset_names
from harness.tasks import TASKS

HEAD = """
description = "d"
tasks = ["sst2"]
rows = [{ method = "dense", sparsities = [0], quantization = ["none"] }]
"""
EVALUATION = """
[recipe.common]
precision = { value = "fp32", assumed = "why" }
attention = { value = "sdpa", assumed = "why" }
padding = { value = "longest", assumed = "why" }
threads = { value = 2, assumed = "why" }
[recipe.task.sst2]
max_length = { value = 64, assumed = "why" }
"""


def parsed(text: str) -> Preset:
    return parse_preset("mine", HEAD + text)


def problems_of(text: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        parsed(text)
    return sentences(caught.value)


def refused(*assignments: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        preset(*assignments)
    return sentences(caught.value)


def batch_sizes(settings: Preset) -> dict[tuple[str, str], object]:
    kind = get_kind("evaluation")
    return {
        (model, task): settings.recipe.parameters(kind, model=model, task=task)["batch_size"]
        for model in ("small", "large")
        for task in ("sst2", "qnli")
    }


def test_the_more_specific_value_counts() -> None:
    # Four places, least specific first; each step changes only what it speaks of.
    settings = parsed(EVALUATION).changed({"task.qnli.max_length": 64, "common.batch_size": 1})
    cells = [("small", "sst2"), ("small", "qnli"), ("large", "sst2"), ("large", "qnli")]
    expected: dict[tuple[str, str], object] = dict.fromkeys(cells, 1)
    assert batch_sizes(settings) == expected

    settings = settings.changed({"evaluation.batch_size": 2})
    assert batch_sizes(settings) == dict.fromkeys(cells, 2)

    settings = settings.changed({"evaluation.models.large.batch_size": 3})
    assert batch_sizes(settings) == {cell: 3 if cell[0] == "large" else 2 for cell in cells}

    settings = settings.changed({"evaluation.tasks.qnli.batch_size": 4})
    assert batch_sizes(settings) == {**{cell: 4 for cell in cells if cell[1] == "qnli"}, cells[0]: 2, cells[2]: 3}


def test_order_of_assignments_does_not_matter_between_levels() -> None:
    wide, narrow = "transfer.epochs=5", "transfer.tasks.sst2.epochs=7"
    one, other = preset(wide, narrow), preset(narrow, wide)
    kind = get_kind("transfer")
    assert (
        one.recipe.parameters(kind, task="sst2")["epochs"]
        == other.recipe.parameters(kind, task="sst2")["epochs"]
        == 7.0
    )


def test_a_stage_holds_all_its_parameters_and_no_other() -> None:
    settings = preset()
    assert set(settings.recipe.parameters(get_kind("pairs"))) == set(KINDS["pairs"].recipe)
    classification = settings.recipe.parameters(get_kind("evaluation"), task="sst2")
    answering = settings.recipe.parameters(get_kind("evaluation"), task="squad")
    assert set(answering) - set(classification) == {"doc_stride", "max_query_length", "n_best", "max_answer_length"}
    assert (classification["max_length"], answering["max_length"]) == (64, 384)


def test_every_missing_value_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        parsed("").recipe.parameters(get_kind("evaluation"), task="sst2")
    named = [re.search(r"no value for (\S+)\. ", problem) for problem in sentences(caught.value)]
    assert [match and match.group(1) for match in named] == [
        "evaluation.precision",
        "evaluation.attention",
        "evaluation.padding",
        "evaluation.threads",
        "evaluation.batch_size",
        "task.sst2.max_length",
    ]
    assert "--set task.sst2.max_length=.." in sentences(caught.value)[-1]


@pytest.mark.parametrize("name", preset_names())
def test_a_shipped_preset_resolves_for_every_kind_and_task_it_names(name: str) -> None:
    settings = load_preset(name)
    assert settings.tasks
    assert set(settings.tasks) <= set(TASKS)
    for kind in KINDS.values():
        for task in settings.tasks if "task" in kind.identity else [None]:
            found = settings.recipe.parameters(kind, model="any", task=task)
            assert {key: type(found[key]) for key in kind.recipe} == {key: kind.recipe[key].type for key in kind.recipe}


@pytest.mark.parametrize("name", preset_names())
def test_a_shipped_preset_gives_a_reason_for_every_value(name: str) -> None:
    for key, setting in load_preset(name).recipe.settings.items():
        assert setting.evidence in ("published", "partner", "searched", "assumed"), key
        assert len(setting.source) > 2, key


def test_every_bad_assignment_is_listed_at_once() -> None:
    problems = refused(
        "transfer.learning_rat=1e-4",
        "transfr.learning_rate=1e-4",
        "transfer.batch_size=32.0",
        "common.precision=1",
        "transfer.tasks.sst3.epochs=1",
        "transfer.epochs=9",  # this one is right
    )
    assert len(problems) == 5
    assert all(problem.startswith("--set ") for problem in problems)
    assert "'transfer.learning_rat' is not known. Did you mean 'transfer.learning_rate'" in problems[0]
    assert "Did you mean 'transfer.learning_rate'" in problems[1]
    assert "32.0 is float, expected int" in problems[2]
    assert "1 is int, expected str" in problems[3]
    assert "'transfer.tasks.sst3.epochs' is not known" in problems[4]


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("transfer.batch_size=true", "True is bool, expected int"),
        ("transfer.learning_rate=true", "True is bool, expected float"),
        ("student_pruning.lr_rewind=1", "1 is int, expected bool"),
        ("student_pruning.lr_rewind=True", "'True' is str, expected bool"),
        ("transfer.learning_rate=fast", "'fast' is str, expected float"),
        ("transfer.learning_rate=", "'' is str, expected float"),
        ("transfer.learning_rate=[1e-4]", "is list, expected float"),
        ("transfer.learning_rate=null", "is NoneType, expected float"),
    ],
)
def test_a_value_of_another_type_is_refused(assignment: str, words: str) -> None:
    (problem,) = refused(assignment)
    assert words in problem


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_setting_is_a_finite_number(value: str) -> None:
    (problem,) = refused(f"transfer.learning_rate={value}")
    assert "transfer.learning_rate" in problem


def test_a_whole_number_is_good_enough_for_a_float() -> None:
    assert preset("transfer.epochs=2").recipe_hash == preset("transfer.epochs=2.0").recipe_hash
    assert type(preset("transfer.epochs=2").recipe.settings["transfer.epochs"].value) is float


@pytest.mark.parametrize(
    "entry",
    [
        "{ value = 1e-4 }",
        '{ value = 1e-4, published = "a", assumed = "b" }',
        '{ value = 1e-4, rumour = "a" }',
        '{ value = 1e-4, published = "a", note = "b" }',
        '{ published = "a" }',
        '{ value = 1e-4, set = "only the command line says so" }',
        "1e-4",
    ],
)
def test_a_preset_value_has_exactly_one_evidence(entry: str) -> None:
    (problem,) = problems_of(f"[recipe.transfer]\nlearning_rate = {entry}")
    assert "transfer.learning_rate needs a value and exactly one of published, partner, assumed" in problem


def test_every_problem_of_a_preset_is_listed_at_once() -> None:
    problems = problems_of(
        """
[recipe.transfer]
learning_rat = { value = 1e-4, assumed = "x" }
batch_size = { value = true, assumed = "x" }
epochs = { value = 1.0 }
[recipe.unheard_of]
steps = { value = 1, assumed = "x" }
[recipe.task.sst3]
max_length = { value = 1, assumed = "x" }
"""
    )
    assert len(problems) == 5
    for word in ("transfer.learning_rat", "True is bool", "transfer.epochs", "unheard_of.steps", "task.sst3"):
        assert sum(word in problem for problem in problems) == 1, word


def test_the_hash_is_of_values_and_not_of_their_evidence() -> None:
    one = parsed('[recipe.transfer]\nepochs = { value = 3.0, assumed = "a guess" }')
    same = parsed('[recipe.transfer]\nepochs = { value = 3, published = "section 4" }')
    other = parsed('[recipe.transfer]\nepochs = { value = 4.0, assumed = "a guess" }')
    elsewhere = parsed('[recipe.dense]\nepochs = { value = 3.0, assumed = "a guess" }')
    assert one.recipe_hash == same.recipe_hash
    assert len({one.recipe_hash, other.recipe_hash, elsewhere.recipe_hash}) == 3


def test_an_assignment_that_changes_nothing_keeps_the_hash() -> None:
    assert preset("transfer.epochs=3").recipe_hash == preset().recipe_hash
    assert preset("transfer.epochs=4").recipe_hash != preset().recipe_hash


def test_an_assignment_leaves_the_recipe_it_was_made_from_alone() -> None:
    base = preset()
    before = base.recipe_hash
    base.changed({"transfer.epochs": 4})
    assert base.recipe_hash == before


def test_an_assignment_for_one_task_changes_only_its_stages() -> None:
    before, after = plan(), plan("transfer.tasks.sst2.learning_rate=2e-4")
    # Per seed of sst2: two transfers, a quantization, and the evaluation of each of the three.
    gone = [before.stages[i] for i in before.stages.keys() - after.stages.keys()]
    assert sorted(spec.kind for spec in gone) == ["evaluation"] * 3 + ["quantization"] + ["transfer"] * 2
    assert {spec.parameters["task"] for spec in gone} == {"sst2"}


def test_the_evidence_of_a_value_is_a_text() -> None:
    for source in ("3", '""', '"  "', "true"):
        (problem,) = problems_of(f"[recipe.transfer]\nlearning_rate = {{ value = 1e-4, assumed = {source} }}")
        assert "transfer.learning_rate: assumed = " in problem


def test_an_unknown_preset_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="preset 'reducd' is not known. Did you mean 'reduced'"):
        load_preset("reducd")


def test_a_task_outside_the_preset_needs_only_its_data_settings() -> None:
    settings = preset(*OTHER_TASKS)
    assert settings.recipe.parameters(get_kind("dense"), model="any", task="qqp")["max_length"] == 128
    with pytest.raises(UsageError, match=r"set task\.qqp\.max_length"):
        preset().recipe.parameters(get_kind("dense"), model="any", task="qqp")
