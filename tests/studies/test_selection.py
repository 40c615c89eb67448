"""WHAT: words to stages, on the preset `slice` with two models, two tasks and two seeds."""

import pytest
from grid_world import of_kind, plan, sentences

from harness.errors import UsageError
from harness.planning.graph import Plan
from harness.studies.selection import select


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan(tasks=["sst2", "squad"], models=["tiny", "small"], seeds=(0, 1))


def states(planned: Plan, **by_kind: str) -> dict[str, str]:
    return {stage_id: by_kind.get(spec.kind, "pending") for stage_id, spec in planned.stages.items()}


def labels(planned: Plan, text: str, **by_kind: str) -> set[str]:
    return {planned.label(i) for i in select(planned, states(planned, **by_kind), text)}


def problem(planned: Plan, text: str, **by_kind: str) -> str:
    with pytest.raises(UsageError) as caught:
        select(planned, states(planned, **by_kind), text)
    (sentence,) = sentences(caught.value)
    return sentence


def test_an_id_or_its_first_six_digits_name_one_stage(planned: Plan) -> None:
    for stage_id in list(planned.stages)[:5]:
        for word in (stage_id, stage_id[:6], stage_id[:9].upper()):
            assert select(planned, states(planned), word) == [stage_id]


def test_a_kind_names_its_stages_parents_first(planned: Plan) -> None:
    assert select(planned, states(planned), "transfer") == list(of_kind(planned, "transfer"))
    assert select(planned, states(planned), "kind=transfer") == list(of_kind(planned, "transfer"))


def test_words_must_all_match(planned: Plan) -> None:
    assert labels(planned, "dense, model=small ,task=sst2,seed=1") == {"dense small sst2 seed 1"}
    assert labels(planned, "student_pruning,sparsity=0.850,model=tiny") == {"student_pruning tiny 0.85 seed 0"}


def test_an_evaluation_answers_to_the_model_seed_and_sparsity_of_what_it_scores(planned: Plan) -> None:
    # In the preset `slice` a model on a task has five cells a seed: dense, fine-tune pruning, Prune OFA with KD,
    # without, and with KD in int8. So five evaluations, of which only that of the dense model has sparsity 0.
    chosen = select(planned, states(planned), "evaluation,model=small,task=squad,seed=1")
    assert len(chosen) == 5
    assert len(select(planned, states(planned), "evaluation,model=small,task=squad,seed=1,sparsity=0.85")) == 4
    (dense,) = select(planned, states(planned), "evaluation,model=small,task=squad,seed=1,sparsity=0")
    assert planned.label(planned.stages[dense].parents["model"]) == "dense small squad seed 1"


def test_a_task_does_not_name_what_its_stages_share_with_others(planned: Plan) -> None:
    kinds = {planned.stages[i].kind for i in select(planned, states(planned), "task=sst2")}
    assert kinds == {"dense", "task_pruning", "transfer", "quantization", "evaluation"}
    only = plan(tasks=["sst2"])
    assert kinds == {only.stages[i].kind for i in select(only, states(only), "task=sst2")}


def test_a_method_names_what_no_other_method_needs(planned: Plan) -> None:
    chosen = select(planned, states(planned), "method=prune-ofa-no-kd")
    # Two models, two tasks, two seeds: eight cells, each with a transfer and an evaluation of its own.
    assert sorted(planned.stages[i].kind for i in chosen) == ["evaluation"] * 8 + ["transfer"] * 8
    assert all("teacher" not in planned.stages[i].parents for i in chosen)
    # The dense models of seed 0 are teachers of the others; those of seed 1 are not.
    assert labels(planned, "method=dense,kind=dense") == {
        f"dense {model} {task} seed 1" for model in ("tiny", "small") for task in ("sst2", "squad")
    }


def test_states_and_their_short_forms(planned: Plan) -> None:
    assert labels(planned, "failed", pairs="failed") == labels(planned, "state=failed", pairs="failed")
    both = {"pairs": "failed", "student_pruning": "cancelled"}
    assert {label.split()[0] for label in labels(planned, "failed", **both)} == {"pairs"}
    assert {label.split()[0] for label in labels(planned, "cancelled", **both)} == {"student_pruning"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("transfre", "'transfre' is not known. Did you mean 'transfer'"),
        ("faild", "Did you mean 'failed'"),
        ("kind=transfre", "kind 'transfre' is not known. Did you mean 'transfer'"),
        ("modle=tiny", "modle=tiny: key 'modle' is not known. Did you mean 'model'"),
        ("model=tinny", "model 'tinny' is not known. Did you mean 'tiny'"),
        ("task=sst", "task 'sst' is not known. Did you mean 'sst2'"),
        ("seed=7", "seed '7' is not known. Known: 0, 1, 42."),  # 42: of the pairs
        ("sparsity=85", "sparsity '85' is not known. Did you mean '0.85'"),
        ("sparsity=much", "sparsity=much: expected a fraction"),
        ("method=prune-off", "Did you mean 'prune-ofa'"),
        ("state=brocken", "state 'brocken' is not known"),
        ("model=", "model '' is not known"),
        ("tiny", "'tiny' is a model; write model=tiny."),
        ("sst2", "'sst2' is a task; write task=sst2."),
        ("abc", "'abc' is too short for a stage id: give at least 6"),
        ("abcdef", "no stage id of this study begins with 'abcdef'"),
        ("a" * 33, "It has 33 digits, an id 32."),
        ("", "WHAT is empty"),
        (" , ", "WHAT is empty"),
    ],
)
def test_a_word_that_names_nothing_is_answered(planned: Plan, text: str, words: str) -> None:
    assert words in problem(planned, text)


def test_every_bad_word_is_told(planned: Plan) -> None:
    with pytest.raises(UsageError) as caught:
        select(planned, states(planned), "transfre,model=tinny,task=sst2")
    assert len(sentences(caught.value)) == 2


def test_words_that_nothing_matches_together_say_what_there_is(planned: Plan) -> None:
    said = problem(planned, "pairs,failed", dense="failed")
    # Eight dense models: two models, two tasks, two seeds. One pairs stage: both models have the same vocabulary.
    assert "nothing matches 'pairs,failed' (stages by word: pairs 1, failed 8)" in said
    assert "dense 8 failed" in said
    assert "pairs 1 pending" in said


def test_a_prefix_of_two_ids_is_not_guessed() -> None:
    first = plan(tasks=["sst2"])
    one, two = list(first.stages)[:2]
    twins = Plan(stages={"abcdef" + "0" * 26: first.stages[one], "abcdef" + "1" * 26: first.stages[two]})
    with pytest.raises(UsageError, match="2 stage ids begin with 'abcdef': abcdef0.*, abcdef1.*Give more digits"):
        select(twins, dict.fromkeys(twins.stages, "pending"), "abcdef")
