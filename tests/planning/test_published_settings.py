"""Preset `paper`, value by value, against the published settings: each of them has a line, or stands here.

published_settings.csv is data about the paper (arXiv 2111.05754), its authors' release and their partners' examples, a
line a setting with the address where it was read.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness.compression.schedule import PruningSchedule
from harness.planning.kinds import get_kind
from harness.planning.preset import load_preset

PRESET = load_preset("paper")
RECIPE = PRESET.recipe
LINES = list(csv.DictReader(Path(__file__).with_name("published_settings.csv").open(encoding="utf-8", newline="")))
STEPS = 100_000  # of student pruning
SQUAD_STEPS = 14_754  # two epochs of SQuAD's 88,524 windows in batches of 12: what its pruning configuration is for

KINDS = {
    "teacher_preparation": "teacher_preparation",
    "student_pruning": "student_pruning",
    "student_pruning_schedule_85": "student_pruning",
    "student_pruning_schedule_90": "student_pruning",
    "dense_finetune_example": "dense",
    "kd_example": "task_pruning",
    "transfer_pattern_lock": "transfer",
    "transfer_stage1": "transfer",
    "transfer_stage2_qat": "quantization",
}
MODELS = {"BERT-Base": "bert-base", "BERT-Base 90%": "bert-base", "all": "bert-base", "DistilBERT 90%": "distilbert"}
GLUE = ["mnli", "sst2", "qnli", "qqp"]
TASKS: dict[str, list[str | None]] = {"mlm+nsp": [None], "glue": [*GLUE], "squad+sst2": ["squad", "sst2"]}
NAMES = {  # the line's name -> the parameter, and what turns the line's number into its value
    "max_steps": ("steps", 1),
    "batch_size": ("batch_size", 1),
    "warmup_ratio": ("warmup_fraction", 1),
    "warmup_steps": ("warmup_fraction", 1),  # 0 of them
    "weight_decay": ("weight_decay", 1),
    "learning_rate": ("learning_rate", 1),
    "learning_rate_default": ("learning_rate", 1),
    "mlm_probability": ("mlm_probability", 1),
    "cross_entropy_alpha": ("ce_weight", 1),
    "knowledge_distillation_alpha": ("kd_weight", 1),
    "temperature": ("temperature", 1),
    "initial_sparsity": ("initial_sparsity", 1),
    "begin_pruning_step": ("first_event", 1 / STEPS),
    "end_pruning_step": ("last_event", 1 / STEPS),
    "policy_begin_step": ("ramp_begin", 1 / STEPS),
    "policy_end_step": ("ramp_end", 1 / STEPS),
    "pruning_frequency": ("frequency", 1 / STEPS),
    "num_train_epochs": ("epochs", 1),
    "max_seq_length": ("max_length", 1),
    "doc_stride": ("doc_stride", 1),
    "n_best": ("n_best", 1),
    "max_answer_length": ("max_answer_length", 1),
    "short_seq_probability": ("short_sequence_probability", 1),
    "nsp_probability": ("next_sentence_probability", 1),
}
WORDS = {  # a line in words -> parameters and their values
    ("lr_rewind", "yes"): {"lr_rewind": True},
    ("init_strategy", "uniform"): {"ranking": "local"},
    ("not_to_prune", "cls; teacher"): {"prune_pooler": True},
    ("not_locked", "classifier; teacher"): {"lock_pooler": True},
    ("loss_weights", "0 1 (CE KD)"): {"ce_weight": 0.0, "kd_weight": 1.0},
    ("loss_weights", "0 1 (CE KL)"): {"ce_weight": 0.0, "kd_weight": 1.0},
}
OWN_STAGE = {  # of a line about another stage's text or data
    "short_sequence_probability": "pairs",
    "next_sentence_probability": "pairs",
    "n_best": "evaluation",
    "max_answer_length": "evaluation",
}

DIFFERS = {  # (stage, model, task, name) -> what the preset has in its place, and why
    ("transfer_stage1", "DistilBERT 90%", "squad+sst2", "temperature"): "2, as the paper's other recipes",
    **{
        ("finetune_pruning", "BERT-Base", "glue", name): "SQuAD's fractions: these steps end in 3 % of MNLI's run"
        for name in ("begin_pruning_step", "end_pruning_step", "policy_begin_step", "policy_end_step")
    },
    ("finetune_pruning", "BERT-Base", "glue", "pruning_frequency"): "SQuAD's fraction, as above",
    ("qat_config", "all", "all", "weight_scheme"): "max / 127 over [-127, 127]: Q8BERT's own form",
}
NO_SETTINGS = {  # names of lines that no parameter is the value of, and where they are held
    **dict.fromkeys(("init", "student_init"), "which stage is whose parent: tests/planning/test_plan.py"),
    "teacher": "the grid's own dense model, seed 0",
    "dataset": "an input, pinned where the grid has it",
    "data_process_type": "the stage pairs",
    "validation_split_percentage": "the corpus comes in splits",
    "kd_logits": "tests/training/test_objectives_by_hand.py",
    "kd_loss": "tests/training/test_objectives_by_hand.py",
    "sparsity_ramp": "tests/compression/test_schedule.py",
    "lr_rewinding": "tests/compression/test_learning_rate.py",
    **dict.fromkeys(("lr_schedule_default", "lr_schedule"), "linear: tests/compression/test_learning_rate.py"),
    **dict.fromkeys(("pruning_fn", "layers", "scheduler"), "what the stage does, no setting of it"),
    "pad_to_max_length": "the preset pads to the longest, and says that this is assumed",
    "seed": "the grid has seeds 0 and 1",
    **dict.fromkeys(
        (
            *("activation_scheme", "quantized_modules", "bias_and_accumulator", "quantization_begin", "quantization"),
            *("not_to_requantize_output", "not_to_quantize"),
        ),
        "tests/compression/test_quantization.py, tests/stages/test_families.py",
    ),
}
OTHER_MODELS = ("pattern_lock_70 (no KD)", "third_party_qat", "transfer+qat", "claim")  # not the paper's own runs

# What no line holds, with the value that the specification or the library's documentation gives, or that is assumed.
WITHOUT_A_LINE = {
    "common.precision": "fp32",
    "common.attention": "sdpa",
    "common.padding": "longest",
    "common.threads": 8,
    "common.teacher_logits": "stored",
    "common.max_grad_norm": 1.0,
    "common.adam_beta1": 0.9,
    "common.adam_beta2": 0.999,
    "common.adam_epsilon": 1e-8,
    "common.evaluation_pairs": 10_000,
    "corpus.sentence_splitter": "regex-en-1",
    "corpus.shuffle_seed": 42,
    "pairs.seed": 42,
    "student_pruning.learning_rate": 5e-5,
    "student_pruning.kd_positions": 1.0,
    "dense.learning_rate": 5e-5,
    "dense.warmup_fraction": 0.0,
    "dense.weight_decay": 0.0,
    "dense.tasks.squad.learning_rate": 3e-5,
    "task_pruning.epochs": 9.0,
    "task_pruning.batch_size": 32,
    "task_pruning.learning_rate": 5e-5,
    "task_pruning.warmup_fraction": 0.0,
    "task_pruning.weight_decay": 0.0,
    "task_pruning.tasks.squad.epochs": 8.0,
    "task_pruning.tasks.squad.batch_size": 12,
    "quantization.warmup_fraction": 0.0,
    "quantization.activation_momentum": 0.01,
    "quantization.weight_scale": "max127",
    "evaluation.batch_size": 64,
    "task.squad.max_query_length": 64,
    **{f"task.{task}.train_examples": 0 for task in ("squad", *GLUE)},
    **{f"task.{task}.train_subset_seed": 0 for task in ("squad", *GLUE)},
}


class Held(NamedTuple):
    """A line's claim about a stage of the preset."""

    line: str
    kind: str
    model: str
    task: str | None
    parameter: str
    value: Any

    @property
    def key(self) -> str | None:
        """The preset's setting that gives the stage this value."""
        return RECIPE.key_for(get_kind(self.kind), self.parameter, self.model, self.task)

    @property
    def found(self) -> Any:
        return RECIPE.parameters(get_kind(self.kind), model=self.model, task=self.task)[self.parameter]


def claims(number: int, line: dict[str, str]) -> list[Held]:
    """What a line says of the preset's stages; nothing where it is no setting, or one that the preset departs from."""
    place = line["stage"], line["model"], line["task"], line["name"]
    kind = KINDS.get(line["stage"])
    if kind is None or place in DIFFERS:
        return []
    if (line["name"], line["value"]) in WORDS:
        values = WORDS[line["name"], line["value"]]
    elif line["name"] in NAMES and (found := re.match(r"[\d.]+(e-\d+)?|tokenizer maximum \((\d+)", line["value"])):
        parameter, unit = NAMES[line["name"]]
        values = {parameter: float(found[2] or found[0]) * unit}
    else:
        return []
    held = []
    for parameter, value in values.items():
        own = OWN_STAGE.get(parameter, "pairs" if parameter == "max_length" and line["task"] == "mlm+nsp" else kind)
        for task in TASKS.get(line["task"], [line["task"]]):
            held.append(Held(f"line {number}: {' '.join(place)}", own, MODELS[line["model"]], task, parameter, value))
    return held


HELD = [held for number, line in enumerate(LINES, start=2) for held in claims(number, line)]


@pytest.mark.parametrize("held", HELD, ids=lambda held: f"{held.line}-{held.task}-{held.parameter}")
def test_a_published_value_is_that_of_the_preset(held: Held) -> None:
    expected = pytest.approx(held.value, rel=1e-12) if isinstance(held.value, float) else held.value
    assert held.found == expected, f"{held.line}; the preset's {held.key} has {held.found}"


def test_every_line_is_held_or_named_here() -> None:
    """No line is passed over because a name or a form is unknown."""
    read = {held.line.partition(":")[0] for held in HELD}
    passed_over = []
    for number, line in enumerate(LINES, start=2):
        place = line["stage"], line["model"], line["task"], line["name"]
        known = (
            f"line {number}" in read
            or place in DIFFERS
            or line["name"] in NO_SETTINGS
            or line["stage"] in OTHER_MODELS
            or line["name"] == "target_sparsity"  # below
            or (line["stage"], line["task"]) == ("finetune_pruning", "squad")  # below
            or line["value"].startswith("not set")
            or place == ("finetune_pruning", "BERT-Base", "glue", "not_to_prune")
            or line["value"] == "qa_outputs; pooler; teacher"  # a model for SQuAD has no pooler
        )
        if not known:
            passed_over.append((number, *place, line["value"]))
    assert passed_over == []
    assert len(HELD) > 150


def test_every_value_of_the_preset_is_held_by_a_line_or_stands_in_this_file() -> None:
    from_lines = {held.key for held in HELD}
    of_squads_schedule = {
        f"task_pruning.{name}" for name in ("ramp_begin", "ramp_end", "first_event", "last_event", "frequency")
    }
    of_the_paper = [key for key in RECIPE.settings if ":" not in key]  # a competitor's kinds have papers of their own
    others = {key: RECIPE.settings[key].value for key in of_the_paper if key not in from_lines | of_squads_schedule}
    assert others == WITHOUT_A_LINE


def test_fine_tune_pruning_of_squad_has_the_published_steps() -> None:
    """The release gives steps, the preset fractions: over the run that the steps are for they are the same."""
    published = {
        line["name"]: float(line["value"])
        for line in LINES
        if (line["stage"], line["task"]) == ("finetune_pruning", "squad") and line["name"] != "not_to_prune"
    }
    parameters = RECIPE.parameters(get_kind("task_pruning"), model="bert-base", task="squad")
    fractions = ("initial_sparsity", "ramp_begin", "ramp_end", "first_event", "last_event", "frequency")
    schedule = PruningSchedule.from_fractions(
        final_sparsity=published["target_sparsity"],
        num_steps=SQUAD_STEPS,
        **{name: parameters[name] for name in fractions},
    )
    assert published == {
        "target_sparsity": 0.85,
        "begin_pruning_step": schedule.first_event,
        "end_pruning_step": schedule.last_event,
        "policy_begin_step": schedule.ramp_begin,
        "policy_end_step": schedule.ramp_end,
        "pruning_frequency": schedule.frequency,
    }


def test_the_sparsities_of_the_rows_are_the_published_ones() -> None:
    published = {float(line["value"]) for line in LINES if line["name"] == "target_sparsity"}
    rows = {sparsity for row in PRESET.rows for sparsity in row.sparsities if sparsity}
    assert rows == published == {0.85, 0.9}
