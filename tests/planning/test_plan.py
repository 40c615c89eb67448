from dataclasses import replace

import pytest
from grid_world import OTHER_TASKS, inputs, of_kind, plan, preset, with_descendants

from harness.errors import IntegrityError, UsageError
from harness.planning.chain import Chain
from harness.planning.graph import ModelIdentity, Plan
from harness.planning.kinds import DISTILLATION, KINDS, get_kind
from harness.planning.planner import plan_cells
from harness.specs import Cell, StageSpec

BOTH_SEEDS = {"seeds": (0, 1)}
SPARSE = {"prune-ofa", "prune-ofa-no-kd", "finetune-pruning"}


def path_of(planned: Plan, cell: Cell) -> dict[str, StageSpec]:
    """The cell's own chain, from its evaluation back along the role "model"; not its teachers."""
    found, stage_id = {}, planned.endpoint(cell)
    while stage_id:
        spec = planned.stages[stage_id]
        found[spec.kind] = spec
        stage_id = spec.parents.get("model", "")
    return found


def test_counts_of_a_grid_worked_by_hand() -> None:
    # Rows of the preset: dense, finetune-pruning 0.85, prune-ofa-no-kd 0.85, prune-ofa 0.85 fp32 and int8: 5 cells for
    # each of 2 tasks x 2 seeds. Shared by all: corpus, pairs, teacher preparation, student pruning. Per task and seed:
    # 1 dense, 1 task pruning, 2 transfers (with and without KD), 1 quantization, 5 evaluations.
    planned = plan(**BOTH_SEEDS)
    assert len(planned.paths) == 20
    assert planned.counts() == {
        "corpus": 1,
        "pairs": 1,
        "teacher_preparation": 1,
        "student_pruning": 1,
        "dense": 4,
        "task_pruning": 4,
        "transfer": 8,
        "quantization": 4,
        "evaluation": 20,
    }
    assert len(planned.stages) == 44


def test_the_five_models_of_the_paper_share_three_preparations_and_five_prunings() -> None:
    models = [("bert-base", 0.85), ("bert-base", 0.9), ("bert-large", 0.9), ("distilbert", 0.85), ("distilbert", 0.9)]
    cells = [
        Cell(model=model, method="prune-ofa", sparsity=sparsity, task=task, quantization=quantization, seed=seed)
        for model, sparsity in models
        for task in ("squad", "mnli", "qqp", "qnli", "sst2")
        for quantization in ("none", "int8")
        for seed in (0, 1)
    ]
    planned = plan_cells(cells, preset(*OTHER_TASKS).recipe, inputs(["bert-base", "bert-large", "distilbert"]))
    # 100 cells; 5 models x 5 tasks x 2 seeds = 50 transfers; a teacher (seed 0) for each of 3 base models x 5 tasks.
    assert planned.counts() == {
        "corpus": 1,
        "pairs": 1,
        "teacher_preparation": 3,
        "student_pruning": 5,
        "dense": 15,
        "transfer": 50,
        "quantization": 50,
        "evaluation": 100,
    }


def test_parents_come_first_in_the_plan_and_in_every_path() -> None:
    planned = plan(**BOTH_SEEDS)
    for order in (list(planned.stages), *planned.paths.values()):
        place = {stage_id: i for i, stage_id in enumerate(order)}
        for stage_id in order:
            for parent in planned.stages[stage_id].parents.values():
                assert place[parent] < place[stage_id]


def test_a_path_is_the_evaluation_and_all_it_rests_on() -> None:
    planned = plan(tasks=["sst2"])
    for cell, path in planned.paths.items():
        assert len(set(path)) == len(path)
        assert planned.stages[path[-1]].kind == "evaluation"
        for stage_id in planned.stages:
            assert (stage_id in path) == (planned.endpoint(cell) in with_descendants(planned, [stage_id]))


def test_a_stage_cannot_be_added_before_its_parent() -> None:
    with pytest.raises(IntegrityError, match="not planned"):
        Plan().add(StageSpec(kind="transfer", parameters={}, parents={"model": "absent"}))


def test_equal_stages_are_one() -> None:
    planned = Plan()
    one = planned.add(StageSpec(kind="k", parameters={"a": 1, "b": 2}))
    assert planned.add(StageSpec(kind="k", parameters={"b": 2, "a": 1})) is one
    assert planned.counts() == {"k": 1}


def test_the_order_in_which_axes_are_written_changes_nothing() -> None:
    one = plan(models=["a", "b"], tasks=["sst2", "squad"], seeds=(0, 1), sparsities=[0.5, 0.85])
    other = plan(models=["b", "a", "b"], tasks=["squad", "sst2"], seeds=(1, 0, 0), sparsities=[0.85, 0.5])
    assert list(one.stages) == list(other.stages)
    assert one.paths == other.paths


def test_a_cell_has_the_same_stages_in_any_grid() -> None:
    cell = Cell(model="tiny", method="prune-ofa", sparsity=0.85, task="squad", quantization="int8", seed=1)
    alone = plan_cells([cell], preset().recipe, inputs())
    assert plan(**BOTH_SEEDS).paths[cell] == alone.paths[cell]


# -- what a change reaches


def test_a_transfer_setting_changes_transfers_and_what_rests_on_them() -> None:
    before, after = plan(**BOTH_SEEDS), plan("transfer.learning_rate=2e-4", **BOTH_SEEDS)
    reached = with_descendants(before, list(of_kind(before, "transfer")))
    # 8 transfers, 4 quantizations, and the evaluations of both.
    assert len(reached) == 8 + 4 + 12
    assert before.stages.keys() - after.stages.keys() == reached
    assert before.counts() == after.counts()


@pytest.mark.parametrize(
    ("assignment", "roots"),
    [
        ("corpus.shuffle_seed=1", ["corpus"]),
        ("teacher_preparation.steps=7", ["teacher_preparation"]),
        ("student_pruning.steps=7", ["student_pruning"]),
        ("dense.epochs=7", ["dense"]),
        ("quantization.epochs=7", ["quantization"]),
        ("evaluation.batch_size=7", ["evaluation"]),
        ("common.mlm_probability=0.2", ["teacher_preparation", "student_pruning"]),
        ("common.threads=1", ["teacher_preparation", "student_pruning", "dense", "task_pruning", "evaluation"]),
    ],
)
def test_a_setting_reaches_its_stages_and_their_descendants_only(assignment: str, roots: list[str]) -> None:
    before, after = plan(tasks=["sst2"]), plan(assignment, tasks=["sst2"])
    reached = with_descendants(before, list(of_kind(before, *roots)))
    assert before.stages.keys() - after.stages.keys() == reached


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_new_code_version_reaches_the_kind_and_its_descendants_only(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = plan(tasks=["sst2"])
    monkeypatch.setitem(KINDS, kind, replace(KINDS[kind], version=KINDS[kind].version + 1))
    after = plan(tasks=["sst2"])
    reached = with_descendants(before, list(of_kind(before, kind)))
    assert before.stages.keys() - after.stages.keys() == reached


def test_changed_validation_data_reach_only_evaluations_of_that_task() -> None:
    before, after = plan(), plan(found=inputs(changed={"sst2/validation": "edited"}))
    gone = before.stages.keys() - after.stages.keys()
    assert gone == {i for i, s in of_kind(before, "evaluation").items() if s.parameters["task"] == "sst2"}


def test_changed_training_data_reach_every_fine_tuning_of_that_task() -> None:
    before, after = plan(), plan(found=inputs(changed={"sst2/train": "edited"}))
    gone = before.stages.keys() - after.stages.keys()
    assert gone == {i for i, s in before.stages.items() if s.parameters.get("task") == "sst2"}


def test_changed_weights_do_not_touch_the_corpus_and_the_pairs() -> None:
    edited = inputs({"tiny": ModelIdentity(weights="edited", tokenizer="vocabulary")})
    before, after = plan(), plan(found=edited)
    kept = [spec.kind for stage_id, spec in before.stages.items() if stage_id in after.stages]
    assert kept == ["corpus", "pairs"]


def test_another_fine_tuning_seed_keeps_the_sparse_model() -> None:
    zero, one = plan(seeds=(0,)), plan(seeds=(1,))
    shared = {"corpus", "pairs", "teacher_preparation", "student_pruning"}
    assert {zero.stages[i].kind for i in zero.stages.keys() & one.stages.keys()} == {*shared, "dense"}
    for kind in shared:
        assert of_kind(zero, kind) == of_kind(one, kind)
    # The dense stage they share is the teacher, which has seed 0 in both.
    assert {s.parameters["seed"] for i, s in of_kind(one, "dense").items() if i in zero.stages} == {0}


def test_another_pruning_seed_makes_another_sparse_model_from_the_same_pairs() -> None:
    planned = plan(methods=["prune-ofa"], tasks=["sst2"], pruning_seeds=(0, 1))
    counts = planned.counts()
    assert (counts["pairs"], counts["teacher_preparation"], counts["student_pruning"]) == (1, 2, 2)
    # One dense stage: the task teacher knows no pruning seed.
    assert (counts["dense"], counts["transfer"], counts["evaluation"]) == (1, 2, 2)


def test_sparsity_changes_the_pruning_and_not_the_preparation() -> None:
    low, high = (plan(methods=["prune-ofa"], sparsities=[s], tasks=["sst2"]) for s in (0.5, 0.9))
    shared = {low.stages[i].kind for i in low.stages.keys() & high.stages.keys()}
    assert shared == {"corpus", "pairs", "teacher_preparation", "dense"}
    assert {s.parameters["sparsity"] for s in of_kind(high, "student_pruning").values()} == {0.9}


def test_two_names_of_one_model_share_the_pairs() -> None:
    same = ModelIdentity(weights="w", tokenizer="t")
    planned = plan(models=["one", "two"], found=inputs({"one": same, "two": same}))
    assert planned.counts()["pairs"] == 1
    other = inputs({"one": same, "two": ModelIdentity(weights="w", tokenizer="another")})
    assert plan(models=["one", "two"], found=other).counts()["pairs"] == 2


# -- teachers


def test_the_teacher_of_every_distilled_stage_is_the_dense_cell_of_seed_0() -> None:
    planned = plan(models=["a", "b"], seeds=(0, 1), quantization=["none", "int8"])
    dense = {
        (cell.model, cell.task): path_of(planned, cell)["dense"].stage_id
        for cell in planned.paths
        if (cell.method, cell.seed, cell.quantization) == ("dense", 0, "none")
    }
    assert len(dense) == 4
    distilled = [
        s for s in of_kind(planned, "transfer", "task_pruning", "quantization").values() if s.parents.get("teacher")
    ]
    assert distilled
    for spec in distilled:
        assert spec.parents["teacher"] == dense[spec.parameters["model"], spec.parameters["task"]]
        assert spec.parameters["kd_weight"] == 0.5


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("method", sorted(SPARSE))
def test_quantization_has_a_teacher_exactly_when_its_transfer_has(method: str, seed: int) -> None:
    planned = plan(methods=[method], quantization=["int8"], tasks=["sst2"], seeds=(seed,))
    (cell,) = planned.paths
    path = path_of(planned, cell)
    before = path.get("transfer") or path["task_pruning"]
    assert ("teacher" in before.parents) == (method != "prune-ofa-no-kd")
    assert path["quantization"].parents.get("teacher") == before.parents.get("teacher")


def test_without_distillation_the_hard_labels_alone_count() -> None:
    planned = plan(methods=["prune-ofa-no-kd"], quantization=["int8"], tasks=["sst2"])
    assert "dense" not in planned.counts()
    for spec in of_kind(planned, "transfer", "quantization").values():
        assert set(spec.parents) == {"model"}
        assert not {"ce_weight", "kd_weight", "temperature"} & set(spec.parameters)


def test_a_quantized_dense_model_has_no_teacher() -> None:
    planned = plan(methods=["dense"], quantization=["int8"], tasks=["sst2"], seeds=(1,))
    assert planned.counts() == {"dense": 1, "quantization": 1, "evaluation": 1}
    (spec,) = of_kind(planned, "quantization").values()
    assert set(spec.parents) == {"model"}
    assert "kd_weight" not in spec.parameters


def test_fp32_and_int8_share_the_transfer_and_differ_in_how_they_are_scored() -> None:
    planned = plan(methods=["prune-ofa"], quantization=["none", "int8"], tasks=["sst2"])
    assert planned.counts()["transfer"] == 1
    assert sorted(s.parameters["arithmetic"] for s in of_kind(planned, "evaluation").values()) == ["fp32", "int8"]


# -- what enters a stage


def test_every_stage_names_its_code_version_its_data_and_its_own_axes() -> None:
    planned = plan(tasks=["sst2"])
    for spec in planned.stages.values():
        kind = get_kind(spec.kind)
        assert spec.versions["kind"] == kind.version
        assert set(kind.identity) <= set(spec.parameters)
        undistilled = set() if "teacher" in spec.parents else set(DISTILLATION)
        assert set(kind.recipe) - undistilled - {*kind.silent} <= set(spec.parameters)
        assert spec.inputs or spec.parents
    for spec in of_kind(planned, "dense", "task_pruning", "transfer", "quantization").values():
        assert spec.inputs["train"] == "sst2/train"
    for spec in of_kind(planned, "evaluation").values():
        assert spec.inputs == {"validation": "sst2/validation"}


def test_a_silent_parameter_is_in_a_stage_where_it_is_not_the_default() -> None:
    """The stages of a recipe that says nothing, or says the default, are those that were before there was one."""

    def prunings(*settings: str) -> dict[str, object]:
        planned = plan(*settings, tasks=["sst2"])
        return {key: spec.parameters.get("kd_positions") for key, spec in of_kind(planned, "student_pruning").items()}

    unsaid = prunings()
    assert set(unsaid.values()) == {None}
    assert prunings("student_pruning.kd_positions=1") == unsaid
    other = prunings("student_pruning.kd_positions=0.25")
    assert set(other.values()) == {0.25}
    assert not other.keys() & unsaid.keys()


def test_an_optional_split_is_scored_where_it_is_there() -> None:
    matched = plan(*OTHER_TASKS, methods=["dense"], tasks=["mnli"])
    both = plan(
        *OTHER_TASKS, methods=["dense"], tasks=["mnli"], found=inputs(changed={"mnli/validation_mismatched": "x"})
    )
    assert [set(s.inputs) for s in of_kind(matched, "evaluation").values()] == [{"validation_matched"}]
    assert [set(s.inputs) for s in of_kind(both, "evaluation").values()] == [
        {"validation_matched", "validation_mismatched"}
    ]


def test_an_unknown_stage_kind_is_named() -> None:
    cell = Cell(model="tiny", method="dense", sparsity=0.0, task="sst2", quantization="none", seed=0)
    chain = Chain(plan=Plan(), cell=cell, recipe=preset().recipe, inputs=inputs())
    with pytest.raises(UsageError, match="stage kind 'densse' is not known. Did you mean 'dense'"):
        chain.stage("densse")


def test_a_method_that_fixes_the_default_of_a_silent_parameter_has_the_stage_without_it() -> None:
    cell = Cell(model="tiny", method="prune-ofa", sparsity=0.85, task="sst2", quantization="none", seed=0)
    chain = Chain(plan=Plan(), cell=cell, recipe=preset().recipe, inputs=inputs())
    unsaid = chain.stage("student_pruning", sparsity=0.85)
    assert chain.stage("student_pruning", sparsity=0.85, kd_positions=1.0) == unsaid
    assert chain.stage("student_pruning", sparsity=0.85, kd_positions=0.5) != unsaid


def test_every_stage_of_a_plan_has_a_name_of_its_own_for_people() -> None:
    planned = plan("student_pruning.steps=7", methods=["dense", "prune-ofa", "prune-ofa-no-kd"], seeds=[0, 1])
    labels = [planned.label(stage_id) for stage_id in planned.stages]
    assert len(set(labels)) == len(labels)
    assert {"corpus", "dense tiny sst2 seed 1", "student_pruning tiny 0.85 seed 0"} <= set(labels)
    assert "evaluation of transfer tiny squad 0.85 without KD seed 0" in labels
    assert "evaluation of dense tiny sst2 seed 0" in labels
