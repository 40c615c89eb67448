"""How much there is to compute: the work of a planned stage, and the work and seconds of a finished one.

Work is counted in FLOPs for stages that run a model (Kaplan et al. 2020: 2 a weight and token forward, 4 backward; a
teacher's forward pass adds its 2, unless its logits are stored), in bytes of text for the corpus and in tokens for the
pairs. Attention scores (a tenth at 512 tokens of BERT-Base), embeddings and task heads are left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from harness.errors import StoreError
from harness.inputs.data_sources import Sizes
from harness.inputs.shapes import FP32_BYTES, Shape
from harness.planning.graph import Plan
from harness.specs import FP32, TEACHER_LOGITS, StageSpec
from harness.store.store import Store
from harness.tasks import EXTRACTIVE_QA, task_of

# Word pieces of an example with its special tokens, before truncation: means over 2,500 training examples each.
TYPICAL_TOKENS: Mapping[str, float] = {"sst2": 13, "qqp": 31, "mnli": 40, "qnli": 50, "squad": 190}
# Of the corpus stage and the pairs stage on a sample of Wikipedia (results/reduced): bytes of text to a token of the
# pairs, and bytes that an artifact takes on disk.
TEXT_BYTES_PER_PAIR_TOKEN = 3.6
CORPUS_BYTES_PER_TEXT_BYTE = 0.61
PAIRS_BYTES_PER_TOKEN = 2.27
SCORES = ("scoring", "measuring")  # work that runs a model forward on examples, as far as it reads any
# A record of a whole attempt speaks for ten times its own work: a start of s seconds is never told as more than 10 s.
SPEAKS_FOR = 10
RECORDS_OF_A_GROUP, RECORDS_OF_OTHER_PLANS = 4, 256


@dataclass(frozen=True, kw_only=True)
class InputSizes:
    """How large the inputs of a plan are: its models, by alias, and its data."""

    shapes: Mapping[str, Shape]
    data: Sizes


@dataclass(frozen=True)
class Group:
    """Stages whose speed is alike. model, task, threads None: it has none. precision: of their matrix products."""

    kind: str
    model: str | None
    task: str | None
    threads: int | None
    precision: str = FP32


@dataclass(frozen=True)
class Timing:
    """The work of one finished stage, and its seconds, of all its ranks. on_gpu None: its record does not say.

    up_to: the most work of a stage that its speed speaks for. Seconds of a whole attempt have a start in them (seconds
    for libraries and files), which is most of a small stage and nothing of a large one.
    """

    group: Group
    on_gpu: bool | None
    work: float
    seconds: float
    up_to: float = math.inf


def group_of(spec: StageSpec, plan: Plan) -> Group:
    parameters = spec.parameters
    return Group(
        spec.kind,
        plan.base_model(spec),
        parameters.get("task"),
        parameters.get("threads"),
        parameters.get("precision", FP32),
    )


def shape_for(spec: StageSpec, plan: Plan, shapes: Mapping[str, Shape]) -> Shape | None:
    """The shape of a stage's base model; None for a stage without one, or of a model not in `shapes`."""
    return shapes.get(plan.base_model(spec) or "")


def corpus_bytes(sizes: InputSizes) -> float:
    """Bytes of text in all splits of the corpus."""
    return float(sum(sizes.data.text_bytes.values()))


def work_of(spec: StageSpec, plan: Plan, sizes: InputSizes) -> float | None:
    """The work of a planned stage; None for a kind that this module does not know, or without the sizes it takes."""
    if spec.kind == "corpus":
        return corpus_bytes(sizes)
    if spec.kind == "pairs":
        return corpus_bytes(sizes) / TEXT_BYTES_PER_PAIR_TOKEN
    shape = shape_for(spec, plan, sizes.shapes)
    tokens = _tokens(spec, plan, sizes.data)
    return None if shape is None or tokens is None else tokens * flops_per_token(spec, plan, shape)


def _tokens(spec: StageSpec, plan: Plan, sizes: Sizes) -> float | None:
    """Tokens that a stage runs through its model. Pre-training: full sequences, which is an upper bound.

    None for work without a model, and for a method's own kind that does not have the parameters of such work.
    """
    try:
        return _tokens_of(plan.work_of_kind(spec.kind), spec, plan, sizes)
    except KeyError:
        return None


def _tokens_of(work: str | None, spec: StageSpec, plan: Plan, sizes: Sizes) -> float | None:
    parameters = spec.parameters
    if work == "pretraining":
        length: int = plan.stages[spec.parents["pairs"]].parameters["max_length"]
        return float(parameters["steps"] * parameters["batch_size"] * length)
    if work not in ("training", *SCORES):
        return None
    if work in SCORES and not spec.inputs and spec.kind != TEACHER_LOGITS:
        return None  # it reads no example
    if work == "training" or spec.kind == TEACHER_LOGITS:
        passes = 1 if spec.kind == TEACHER_LOGITS else parameters["epochs"]
        return float(passes * _training_examples(parameters, sizes) * _example_tokens(parameters))
    task = parameters["task"]
    return sum(sizes.rows[f"{task}/{split}"] for split in spec.inputs) * _example_tokens(parameters)


def _training_examples(parameters: Mapping[str, Any], sizes: Sizes) -> int:
    available = sizes.rows[f"{parameters['task']}/{task_of(parameters).train_split}"]
    return min(parameters["train_examples"] or available, available)


def _example_tokens(parameters: Mapping[str, Any]) -> float:
    """Tokens of a typical example of the stage's task, at most its `max_length`; of an unknown task that many."""
    length: int = parameters["max_length"]
    return min(TYPICAL_TOKENS.get(parameters["task"], length), length)


def stored_logits_bytes(spec: StageSpec, sizes: Sizes) -> float:
    """What a stage teacher_logits writes: the fp32 logits of every example, and a fingerprint of 8 bytes.

    Of an example of question answering two logits a token, and 8 bytes more for its place.
    """
    task, examples = task_of(spec.parameters), _training_examples(spec.parameters, sizes)
    if task.head == EXTRACTIVE_QA:
        return examples * (2 * FP32_BYTES * _example_tokens(spec.parameters) + 16)
    return examples * (FP32_BYTES * task.num_labels + 8)


def flops_per_token(spec: StageSpec, plan: Plan, shape: Shape) -> float:
    """Training: 6 FLOPs a weight, and 2 for a teacher of the same shape that runs; evaluation: 2.

    The vocabulary head runs on the masked positions, and with a teacher on the distilled ones too, there twice. Where
    every example is padded to one length, a token carries its share of that.
    """
    has_teacher = "teacher" in spec.parents and TEACHER_LOGITS not in spec.parents
    work = plan.work_of_kind(spec.kind)
    own, taught = (2 if work in SCORES else 6), (2 if has_teacher else 0)
    padded = 1.0
    if work == "training" and spec.parameters.get("padding") == "max_length":
        padded = spec.parameters["max_length"] / _example_tokens(spec.parameters)
    head = 0.0
    if work == "pretraining":
        masked = spec.parameters.get("mlm_probability", 1.0)
        distilled = spec.parameters.get("kd_positions", 1.0) if has_teacher else 0.0
        head = own * (1 - (1 - masked) * (1 - distilled)) + taught * distilled
    return padded * (own + taught) * shape.encoder_weights + head * shape.vocabulary_head_weights


def timing_of(record: Mapping[str, Any], plan: Plan, shapes: Mapping[str, Shape]) -> Timing | None:
    """How fast a finished stage was; None where its record does not say enough."""
    try:
        spec = StageSpec.from_json(record)
        result, times = record["result"], record["times"]
        on_gpu: bool | None = None
        whole_attempt = True
        seconds = times["ended"] - times["started"]
        group = group_of(spec, plan)
        if spec.kind == "corpus":
            work = record["artifact"]["bytes"] / CORPUS_BYTES_PER_TEXT_BYTE
        elif spec.kind == "pairs":
            work = sum(split["tokens"] for split in result["pairs"].values())
        else:
            if spec.kind == TEACHER_LOGITS:
                tokens = result["teacher_logits"]["tokens"]
            elif plan.work_of_kind(spec.kind) in SCORES:
                examples = sum(split["num_examples"] for split in result["metrics"].values())
                tokens = examples * _example_tokens(spec.parameters)
            else:
                training = result["training"]
                # Its own seconds: `times` covers the last attempt only.
                whole_attempt = False
                tokens, on_gpu = training["tokens_seen"], training["device"] != "cpu"
                seconds = _rank_seconds(training)
            work = tokens * flops_per_token(spec, plan, shapes[group.model or ""])
    except (KeyError, TypeError, AttributeError):
        return None
    if not (work > 0 and seconds > 0):
        return None
    return Timing(group, on_gpu, float(work), float(seconds), SPEAKS_FOR * work if whole_attempt else math.inf)


def _rank_seconds(training: Mapping[str, Any]) -> float:
    """Of all ranks together."""
    everything = {"ranks": training.get("ranks", 1), "seconds": training["seconds"]}
    spans = training.get("rank_spans", [everything])
    return float(sum(span["ranks"] * span["seconds"] for span in spans))


def read_timings(plan: Plan, store: Store, waiting: Iterable[str], shapes: Mapping[str, Shape]) -> list[Timing]:
    """Timings that bear on the stages that wait, from a bounded number of records.

    A few of every group among the plan's finished stages; of other plans' the first by id, which is a hash: any.
    """
    finished = store.recorded()
    if not finished:
        return []
    waiting_groups = {group_of(plan.stages[i], plan) for i in waiting}
    chosen = sorted([*_of_plan(plan, finished, waiting_groups), *_of_other_plans(plan, finished)])
    timings = []
    for stage_id in chosen:
        try:
            timings.append(timing_of(store.stage(stage_id).read_record(), plan, shapes))
        except (StoreError, OSError):  # a record that cannot be read is no basis; the run itself reports it
            continue
    return [timing for timing in timings if timing is not None]


def _of_plan(plan: Plan, finished: Iterable[str], waiting: Collection[Group]) -> list[str]:
    """A few finished stages of every group of the plan whose kind and model a waiting stage has."""
    wanted = {(group.kind, group.model) for group in waiting}
    kinds = {kind for kind, _ in wanted}
    chosen: list[str] = []
    count: Counter[Group] = Counter()
    for stage_id in finished:
        if stage_id in plan.stages and plan.stages[stage_id].kind in kinds:
            group = group_of(plan.stages[stage_id], plan)
            count[group] += 1
            if (group.kind, group.model) in wanted and count[group] <= RECORDS_OF_A_GROUP:
                chosen.append(stage_id)
    return chosen


def _of_other_plans(plan: Plan, finished: Iterable[str]) -> Iterator[str]:
    return islice((stage_id for stage_id in finished if stage_id not in plan.stages), RECORDS_OF_OTHER_PLANS)
