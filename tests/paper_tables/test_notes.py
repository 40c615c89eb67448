from collections.abc import Callable
from pathlib import Path

import pytest

from harness.store.store import Store
from harness.studies.study import Study
from harness.studies.verification import verified_records
from paper_tables.tables.notes import PAPER_TOKENS_PER_STAGE, notes

Make = Callable[..., Study]
SLICE = Path(__file__).parents[1] / "support" / "presets" / "slice.toml"


def notes_of(store: Store, study: Study) -> list[str]:
    records = verified_records(study.plan, store)
    return notes(study, records)


def pretrained(store: Store, study: Study, kind: str, tokens: int, correct: int, positions: int) -> None:
    metrics = {"mlm_accuracy": correct / positions, "mlm_correct": correct, "mlm_positions": positions}
    for stage_id, spec in study.plan.stages.items():
        if spec.kind == kind:
            parents = {role: parent for role, parent in spec.parents.items() if store.stage(parent).has_record()}
            store.stage(stage_id).publish_record(
                {
                    **spec.fingerprint_fields(),
                    "parent_digests": {
                        role: store.stage(parent).read_record()["digest"] for role, parent in parents.items()
                    },
                    "result": {"metrics": metrics, "training": {"tokens_seen": tokens}},
                }
            )


def test_the_papers_budget_is_a_hundred_thousand_steps_of_256_pairs_of_512() -> None:
    # 256 x 512 = 131,072 tokens a step.
    assert PAPER_TOKENS_PER_STAGE == 13_107_200_000


def test_the_budget_that_was_spent_is_told_for_each_pretraining_stage(store: Store, make_study: Make) -> None:
    study = make_study(tasks=["sst2"])
    pretrained(store, study, "teacher_preparation", tokens=131_072_000, correct=64, positions=256)
    pretrained(store, study, "student_pruning", tokens=327_680, correct=1, positions=8)
    told = [note for note in notes_of(store, study) if "tokens" in note]
    # 131,072,000 / 13,107,200,000 = 1/100; 327,680 / 13,107,200,000 = 1/40,000.
    assert told == [
        "teacher_preparation tiny seed 0: 131,072,000 tokens, 1.0e-02 of the paper's 13,107,200,000; "
        "held-out masked-LM accuracy 25.0 % (64 of 256).",
        "student_pruning tiny 0.85 seed 0: 327,680 tokens, 2.5e-05 of the paper's 13,107,200,000; "
        "held-out masked-LM accuracy 12.5 % (1 of 8).",
    ]


def test_pretraining_that_is_not_done_is_not_told(store: Store, make_study: Make) -> None:
    study = make_study(tasks=["sst2"])
    assert not [note for note in notes_of(store, study) if "tokens" in note]
    pretrained(store, study, "teacher_preparation", tokens=1000, correct=1, positions=4)
    (told,) = [note for note in notes_of(store, study) if "tokens" in note]
    assert told.startswith("teacher_preparation")


def test_the_presets_own_notes_come_first(store: Store, make_study: Make) -> None:
    study = make_study(tasks=["sst2"])
    assert notes_of(store, study)[0].startswith("Data are subsets of the public tasks")
    assert notes_of(store, study)[: len(study.recipe["notes"])] == study.recipe["notes"]


def test_assumed_and_changed_settings_are_counted_and_named(store: Store, make_study: Make) -> None:
    text = SLICE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "{ value = " in line]
    assumed = sum(", assumed = " in line for line in lines)
    # dense.epochs is published in the preset; transfer.epochs is assumed, and no more so when the user sets it.
    study = make_study("dense.epochs=1", "transfer.epochs=2", tasks=["sst2"])
    *_, counted, changed = notes_of(store, study)
    # What the preset leaves to the kinds: kd_positions, teacher_logits of three, regrowth and tie rule of two, and when
    # quantization begins. The tie rule is ours, not the release's.
    defaults, assumed_defaults = 1 + 3 + 2 * 2 + 1, 2
    assert counted.startswith(f"{assumed - 1 + assumed_defaults} of {len(lines) + defaults} settings are assumed")
    assert changed == "Changed by --set: dense.epochs=1.0, transfer.epochs=2.0."


def test_nothing_is_said_of_changes_where_there_are_none(store: Store, make_study: Make) -> None:
    assert not [note for note in notes_of(store, make_study(tasks=["sst2"])) if note.startswith("Changed")]


def trained_on(store: Store, study: Study, machines: list[dict[str, object]]) -> None:
    """The study's trained stages get records, made on these machines in turn."""
    turn = 0
    for stage_id, spec in study.plan.stages.items():
        trained = spec.kind in ("teacher_preparation", "dense", "task_pruning")
        if trained and all(store.stage(parent).has_record() for parent in spec.parents.values()):
            made = {"versions": {"torch": "2.13.0+cpu"}, **machines[turn % len(machines)]}
            turn += 1
            digests = {role: store.stage(parent).read_record()["digest"] for role, parent in spec.parents.items()}
            result = {"training": {"tokens_seen": 1}, "metrics": {}}
            fields = {"parent_digests": digests, "result": result, "provenance": made}
            store.stage(stage_id).publish_record({**spec.fingerprint_fields(), **fields})


OLDER = {"processor": "One 1", "torch": {"cpu_capability": "AVX2", "gpus": []}}
NEWER = {"processor": "One 1", "torch": {"cpu_capability": "AVX512", "gpus": []}}
WITH_GPU = {"processor": "One 1", "torch": {"cpu_capability": "AVX2", "gpus": ["GPU 7"]}}


@pytest.mark.parametrize(
    ("machines", "told"),
    [
        ([OLDER], []),
        ([{"processor": "Old"}], []),  # a record of an earlier version
        (
            [OLDER, NEWER, OLDER],
            [
                "Trained on several kinds of machine, between which bits differ (One 1, AVX2, torch 2.13.0+cpu: "
                "3 models; One 1, AVX512, torch 2.13.0+cpu: 1 model)."
            ],
        ),
        (
            [WITH_GPU, OLDER, WITH_GPU],
            [
                "Trained on several kinds of machine, between which bits differ (One 1, AVX2, GPU 7, torch 2.13.0+cpu: "
                "3 models; One 1, AVX2, torch 2.13.0+cpu: 1 model)."
            ],
        ),
    ],
)
def test_kinds_of_machine_are_told_where_there_are_several(
    store: Store, make_study: Make, machines: list[dict[str, object]], told: list[str]
) -> None:
    study = make_study(tasks=["sst2"], methods=["dense", "finetune-pruning"], seeds=[0, 1])
    trained_on(store, study, machines)
    records = verified_records(study.plan, store)
    assert [note for note in notes(study, records) if "machine" in note] == told
