"""How much there is to compute: the work of a planned stage, and the work that a finished one did in how many seconds.

Work is counted in FLOPs for stages that run a model (Kaplan et al. 2020: 2 a weight and token forward, 4 backward; a
teacher's forward pass adds its 2), in bytes of text for the corpus and in tokens for the pairs. Attention scores
(a tenth at 512 tokens of BERT-Base), embeddings and task heads are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import StoreError
from harness.inputs.data_sources import Sizes
from harness.inputs.shapes import Shape
from harness.planning.graph import Plan
from harness.specs import StageSpec
from harness.store.store import Store

# Word pieces of an example with its special tokens, before truncation: means over 2,500 training examples each.
TYPICAL_TOKENS: Mapping[str, float] = {"sst2": 13, "qqp": 31, "mnli": 40, "qnli": 50, "squad": 190}
# Of the corpus stage and the pairs stage on a sample of Wikipedia (results/reduced): bytes of text to a token of the
# pairs, and bytes that an artifact takes on disk.
TEXT_BYTES_PER_PAIR_TOKEN = 3.6
CORPUS_BYTES_PER_TEXT_BYTE = 0.61
PAIRS_BYTES_PER_TOKEN = 2.27
RECORDS_OF_A_GROUP, RECORDS_OF_OTHER_PLANS = 4, 256


@dataclass(frozen=True, kw_only=True)
class World:
    """What the work of a plan depends on beside its stages."""

    shapes: Mapping[str, Shape]
    sizes: Sizes


@dataclass(frozen=True)
class Group:
    """Stages whose speed is alike. model, task, threads None: it has none."""

    kind: str
    model: str | None
    task: str | None
    threads: int | None


@dataclass(frozen=True)
class Timing:
    """What one finished stage did in `seconds`. on_gpu None: its record does not say."""

    group: Group
    on_gpu: bool | None
    work: float
    seconds: float


def group_of(spec: StageSpec, plan: Plan) -> Group:
    told = spec.parameters
    return Group(spec.kind, model_of(spec, plan), told.get("task"), told.get("threads"))


def model_of(spec: StageSpec, plan: Plan) -> str | None:
    """The base model of a stage: its own parameter, or that of the model it is given."""
    while "model" not in spec.parameters and spec.parents.get("model") in plan.stages:
        spec = plan.stages[spec.parents["model"]]
    model: str | None = spec.parameters.get("model")
    return model


def work_of(spec: StageSpec, plan: Plan, world: World) -> float | None:
    """The work of a stage; None for a kind that this module does not know, or without the sizes it takes."""
    if spec.kind == "corpus":
        return float(sum(world.sizes.text_bytes.values()))
    if spec.kind == "pairs":
        return sum(world.sizes.text_bytes.values()) / TEXT_BYTES_PER_PAIR_TOKEN
    shape = world.shapes.get(model_of(spec, plan) or "")
    tokens = _tokens(spec, plan, world.sizes)
    if shape is None or tokens is None:
        return None
    work = plan.work_of_kind(spec.kind)
    return tokens * flops_per_token(work, shape, spec.parameters, has_teacher="teacher" in spec.parents)


def _tokens(spec: StageSpec, plan: Plan, sizes: Sizes) -> float | None:
    """Tokens that a stage runs through its model. Pre-training: full sequences, which is an upper bound.

    None for work without a model, and for a method's own kind that does not have the parameters of such work.
    """
    told, work = spec.parameters, plan.work_of_kind(spec.kind)
    try:
        return _tokens_of(work, spec, plan, sizes, told)
    except KeyError:
        return None


def _tokens_of(work: str | None, spec: StageSpec, plan: Plan, sizes: Sizes, told: Mapping[str, Any]) -> float | None:
    if work == "pretraining":
        length: int = plan.stages[spec.parents["pairs"]].parameters["max_length"]
        return float(told["steps"] * told["batch_size"] * length)
    if work not in ("training", "scoring") or told["task"] not in TYPICAL_TOKENS:
        return None
    length_of_one = min(TYPICAL_TOKENS[told["task"]], told["max_length"])
    if work == "scoring":
        return sum(sizes.rows[f"{told['task']}/{split}"] for split in spec.inputs) * length_of_one
    there = sizes.rows[f"{told['task']}/train"]
    examples = min(told["train_examples"] or there, there)
    return float(told["epochs"] * examples * length_of_one)


def flops_per_token(work: str | None, shape: Shape, parameters: Mapping[str, Any], *, has_teacher: bool) -> float:
    """Training: 6 a weight, and 2 for a teacher of the same shape; evaluation: 2.

    The vocabulary head runs on the masked positions, and with a teacher on every token.
    """
    passes = 2 if work == "scoring" else 8 if has_teacher else 6
    head_share = 0.0
    if work == "pretraining":
        head_share = 1.0 if has_teacher else parameters.get("mlm_probability", 1.0)
    return passes * (shape.encoder_weights + head_share * shape.vocabulary_head_weights)


def timing_of(record: Mapping[str, Any], plan: Plan, shapes: Mapping[str, Shape]) -> Timing | None:
    """What a record says of speed; None where it does not say enough."""
    try:
        spec = StageSpec.from_json(record)
        result, times = record["result"], record["times"]
        on_gpu: bool | None = None
        seconds = times["ended"] - times["started"]
        group = group_of(spec, plan)
        if spec.kind == "corpus":
            work = record["artifact"]["bytes"] / CORPUS_BYTES_PER_TEXT_BYTE
        elif spec.kind == "pairs":
            work = sum(split["tokens"] for split in result["pairs"].values())
        else:
            purpose = plan.work_of_kind(spec.kind)
            if purpose == "scoring":
                length = min(TYPICAL_TOKENS[spec.parameters["task"]], spec.parameters["max_length"])
                tokens = sum(split["num_examples"] for split in result["metrics"].values()) * length
            else:
                training = result["training"]
                # Its own seconds: `times` covers the last attempt only.
                tokens, seconds, on_gpu = training["tokens_seen"], training["seconds"], training["device"] != "cpu"
            has_teacher = "teacher" in spec.parents
            work = tokens * flops_per_token(
                purpose, shapes[group.model or ""], spec.parameters, has_teacher=has_teacher
            )
    except (KeyError, TypeError, AttributeError):
        return None
    return Timing(group, on_gpu, float(work), float(seconds)) if work > 0 and seconds > 0 else None


def read_timings(plan: Plan, store: Store, waiting: Iterable[str], shapes: Mapping[str, Shape]) -> list[Timing]:
    """Timings for the stages that wait, from a bounded number of records.

    Of the plan's own finished stages a few of every group; of others in the store the first by id (a hash: any).
    """
    finished = store.recorded()
    if not finished:
        return []
    wanted = {(group.kind, group.model) for group in {group_of(plan.stages[i], plan) for i in waiting}}
    kinds = {kind for kind, _ in wanted}
    chosen: list[str] = []
    taken: dict[Group, int] = {}
    others = 0
    for stage_id in finished:
        if stage_id not in plan.stages:
            others += 1
            if others <= RECORDS_OF_OTHER_PLANS:
                chosen.append(stage_id)
            continue
        if plan.stages[stage_id].kind not in kinds:
            continue
        group = group_of(plan.stages[stage_id], plan)
        taken[group] = taken.get(group, 0) + 1
        if (group.kind, group.model) in wanted and taken[group] <= RECORDS_OF_A_GROUP:
            chosen.append(stage_id)
    timings = []
    for stage_id in chosen:
        try:
            timings.append(timing_of(store.read_record(stage_id), plan, shapes))
        except (StoreError, OSError):  # what cannot be trusted is no basis; the run itself says so
            continue
    return [timing for timing in timings if timing is not None]
