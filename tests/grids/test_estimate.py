"""Estimates, worked by hand on a model of 800 encoder weights; and the limit above which a run must be asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grid_world
import pytest
from grid_world import ROOT, Ran, of_kind, write_model

from harness.errors import UsageError
from harness.execution.hardware import Machine, _gpus
from harness.grids.estimate import Estimate, KindEstimate, check_limit, estimate
from harness.grids.executors import ranks_of
from harness.grids.workload import InputSizes, Timing, group_of, read_timings, timing_of, work_of
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import FolderData, HubData, Sizes
from harness.inputs.models import BaseModel, find_models
from harness.inputs.shapes import HUB_SHAPES, Shape, shape_of
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.grid import Axes, expand
from harness.planning.kinds import TRAINS
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.specs import StageSpec
from harness.stages.context import Resources
from harness.store.store import Store
from harness.studies.study import read_study
from harness.tasks import TASKS, get_task

Run = Callable[[Sequence[str]], Ran]

# 1 x (4 x 10 x 10 + 2 x 10 x 20) = 800 encoder weights; head 10 x 10 + 10 x 100 = 1,100.
TINY = Shape(layers=1, width=10, feed_forward=20, vocabulary=100, positions=5)
ROWS = {"sst2/train": 1000, "sst2/validation": 100}
SIZES = InputSizes(shapes={"tiny": TINY}, data=Sizes(rows=ROWS, text_bytes={"corpus/train": 3600}))
GPU, CPU = Machine(gpus=("0",), cores=16), Machine(gpus=(), cores=16)


def works(planned: Plan, kind: str) -> list[float | None]:
    return [work_of(spec, planned, SIZES) for spec in of_kind(planned, kind).values()]


@pytest.fixture
def planned() -> Plan:
    return grid_world.plan(tasks=["sst2"])


# -- shapes


def test_the_shapes_of_the_pinned_models_give_their_known_parameter_counts() -> None:
    """As the model cards say: 110M, 336M and 66M; encoder weights of BERT-Base: 12 x 7,077,888."""
    millions = {alias: round(shape.parameters / 1e6) for alias, shape in HUB_SHAPES.items()}
    assert millions["bert-base"] == pytest.approx(110, rel=0.01)
    assert millions["bert-large"] == pytest.approx(336, rel=0.01)
    assert millions["distilbert"] == pytest.approx(66, rel=0.02)
    assert HUB_SHAPES["bert-base"].encoder_weights == 12 * 7_077_888


def model(folder: Path) -> BaseModel:
    return find_models([("tiny", folder)], ContentHashes()).models["tiny"]


def test_a_folder_gives_the_encoder_weights_that_its_records_count(tmp_path: Path) -> None:
    """minilm-l6 has 10,616,832 weights in its 36 matrices (results/reduced)."""
    folder = write_model(tmp_path / "m", num_hidden_layers=6, hidden_size=384, intermediate_size=1536)
    assert shape_of(model(folder)).encoder_weights == 10_616_832


SILENT = {"vocab_size": None, "max_position_embeddings": None}


def test_distilberts_own_names_are_read_and_what_is_not_said_is_the_librarys_default(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", model_type="distilbert", n_layers=3, dim=64, hidden_dim=128, **SILENT)
    assert shape_of(model(folder)) == Shape(layers=3, width=64, feed_forward=128, vocabulary=30522, positions=512)


def test_a_width_that_is_no_number_is_named(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", hidden_size="wide", vocab_size=0)
    problems = find_models([("tiny", folder)], ContentHashes()).problems
    assert [problem.message.partition("gives ")[2].partition(".")[0] for problem in problems] == [
        "hidden_size = 'wide'",
        "vocab_size = 0",
    ]


# -- work


def test_the_work_of_every_kind_by_hand(planned: Plan) -> None:
    """The reduced preset: 400 steps of 8 pairs of 128 tokens; sst2, 3 epochs of its 1,000 rows of 13 tokens.

    teacher preparation: 409,600 x 6 x (800 + 0.15 x 1,100). student pruning: 409,600 x 8 x (800 + 1,100).
    dense: 39,000 x 6 x 800; with a teacher x 8. evaluation: 100 x 13 x 2 x 800. quantization: one epoch.
    """
    assert works(planned, "corpus") == [3600]
    assert works(planned, "pairs") == [1000]
    assert works(planned, "teacher_preparation") == [pytest.approx(2_371_584_000)]
    assert works(planned, "student_pruning") == [pytest.approx(6_225_920_000)]
    assert works(planned, "dense") == [187_200_000]
    assert works(planned, "task_pruning") == [249_600_000]
    assert sorted(map(float, filter(None, works(planned, "transfer")))) == [187_200_000, 249_600_000]
    assert works(planned, "quantization") == [83_200_000]
    assert set(works(planned, "evaluation")) == {2_080_000}


def test_fewer_training_examples_and_shorter_sequences_are_less_work() -> None:
    """500 examples of 8 tokens, 3 epochs: 12,000 x 6 x 800."""
    settings = ("task.sst2.train_examples=500", "task.sst2.max_length=8")
    assert works(grid_world.plan(*settings, tasks=["sst2"], methods=["dense"]), "dense") == [57_600_000]


def test_distilling_a_quarter_of_the_tokens_is_less_work() -> None:
    """409,600 x (8 x 800 + 6 x (1 - 0.85 x 0.75) x 1,100 + 2 x 0.25 x 1,100): the head runs where a loss needs it."""
    planned = grid_world.plan("student_pruning.kd_positions=0.25", tasks=["sst2"], methods=["prune-ofa"])
    assert works(planned, "student_pruning") == [pytest.approx(3_826_688_000)]


def test_stored_logits_take_the_teachers_work_out_of_every_student_into_one_stage() -> None:
    """sst2: 1,000 rows of 13 tokens forward, 13,000 x 2 x 800, or 500 of them; students as those without a teacher.

    On disk two fp32 logits and a fingerprint of 8 bytes each: 16,000.
    """
    stored = grid_world.plan("common.teacher_logits=stored", tasks=["sst2"])
    (stage_id,) = of_kind(stored, "teacher_logits")
    assert works(stored, "teacher_logits") == [20_800_000]
    assert {*works(stored, "task_pruning"), *works(stored, "transfer")} == {187_200_000}
    assert works(stored, "quantization") == [62_400_000]
    assert estimate(stored, [stage_id], SIZES, [], CPU).artifact_bytes == 16_000
    assert estimate(stored, [stage_id], SIZES, [], CPU).checkpoint_bytes == 0
    settings = ("common.teacher_logits=stored", "task.sst2.train_examples=500")
    assert works(grid_world.plan(*settings, tasks=["sst2"]), "teacher_logits") == [10_400_000]


def test_stored_logits_of_question_answering_are_two_a_token() -> None:
    """Ten contexts of 190 tokens: two fp32 logits for each token, and 16 bytes of fingerprint and place."""
    stored = grid_world.plan("common.teacher_logits=stored", tasks=["squad"])
    (stage_id,) = of_kind(stored, "teacher_logits")
    sizes = replace(SIZES, data=replace(SIZES.data, rows={**ROWS, "squad/train": 10, "squad/validation": 10}))
    assert estimate(stored, [stage_id], sizes, [], CPU).artifact_bytes == 10 * (190 * 8 + 16)


def test_a_record_of_stored_logits_tells_their_speed() -> None:
    """52,000 tokens x 2 x 800 in the 20 s of its attempt."""
    stored = grid_world.plan("common.teacher_logits=stored", tasks=["sst2"])
    (spec,) = of_kind(stored, "teacher_logits").values()
    found = timing_of(record(spec, teacher_logits={"examples": 4000, "tokens": 52_000}), stored, SIZES.shapes)
    assert found is not None
    assert (found.work, found.seconds, found.group.task) == (83_200_000, 20.0, "sst2")
    assert timing_of(record(spec, metrics={}), stored, SIZES.shapes) is None


def test_examples_padded_to_one_length_are_more_work() -> None:
    """3 epochs of 1,000 rows of 20 tokens: 60,000 x 6 x 800; scoring pads to the longest all the same."""
    settings = ("common.padding=max_length", "task.sst2.max_length=20")
    padded = grid_world.plan(*settings, tasks=["sst2"], methods=["dense"])
    assert works(padded, "dense") == [pytest.approx(288_000_000)]
    assert works(padded, "evaluation") == [2_080_000]


def test_teacher_preparation_of_bert_base_is_7e18_flops_and_138_gpu_hours() -> None:
    """100,000 x 256 x 512 tokens x 6 x (84,934,656 + 0.15 x 24,030,720) = 6.96e18, at 14 TFLOP/s."""
    preset = load_preset("paper")
    inputs = Inputs(
        models={"bert-base": ModelIdentity(weights="w", tokenizer="t")},
        data=HubData().content_ids(TASKS.values(), corpus=True),
    )
    cells = expand(Axes(models=["bert-base"], tasks=["sst2"]), preset).cells
    planned = plan_cells(cells, preset.recipe, inputs)
    sizes = InputSizes(shapes=HUB_SHAPES, data=HubData().sizes(TASKS.values(), corpus=True))
    (stage_id,) = of_kind(planned, "teacher_preparation")
    assert work_of(planned.stages[stage_id], planned, sizes) == pytest.approx(6.963e18, rel=1e-3)
    (kind,) = estimate(planned, [stage_id], sizes, [], GPU).kinds
    assert kind.hours == pytest.approx(138.2, abs=0.1)
    assert kind.basis == "assumed 14 TFLOP/s per GPU (fp32)"


def test_the_costs_of_the_readme_are_the_estimates() -> None:
    """Its rows: preset, cells, stages, GPU-hours, of these pre-training, each cell by itself, in bf16, GB of artifacts.

    Two digits are told.
    """
    rows = re.findall(r"^\| `([\w-]+)` \|((?: [\d,]+ \|){7})$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == ["paper", "paper-released", "equal"]
    models = ["bert-base", "bert-large", "distilbert"]
    inputs = Inputs(
        models={model: ModelIdentity(weights=model, tokenizer=model) for model in models},
        data=HubData().content_ids(TASKS.values(), corpus=True),
    )
    sizes = InputSizes(shapes=HUB_SHAPES, data=HubData().sizes(TASKS.values(), corpus=True))
    for name, numbers in rows:
        told = [float(number.replace(",", "")) for number in numbers.split(" |")[:-1]]
        preset = load_preset(name)
        cells = expand(Axes(models=models, tasks=[*preset.tasks]), preset).cells
        planned = plan_cells(cells, preset.recipe, replace(inputs, released=preset.released))
        found = estimate(planned, [*planned.stages], sizes, [], GPU)
        hours = {kind.kind: kind.hours or 0 for kind in found.kinds}
        pre_training = sum(hours.get(kind, 0) for kind in ("pairs", "corpus", "teacher_preparation", "student_pruning"))
        assert told[:2] == [len(cells), len(planned.stages)]
        in_bf16 = plan_cells(
            cells, preset.recipe.changed({"common.precision": "bf16"}), replace(inputs, released=preset.released)
        )
        faster = estimate(in_bf16, [*in_bf16.stages], sizes, [], GPU).hours
        costs = (sum(hours.values()), pre_training, found.unshared_hours, faster, found.artifact_bytes / 1e9)
        assert told[2:] == [pytest.approx(cost, rel=0.05, abs=0.1) for cost in costs]


def test_the_sizes_of_a_folder_are_those_of_its_files(world: grid_world.World) -> None:
    """Two rows in every split; the corpus holds "One. Two." and "Three. Four." (and what parquet puts around them)."""
    sizes = FolderData(world.folder / "data").sizes([get_task("sst2")], corpus=True)
    assert sizes.rows == {"sst2/train": 2, "sst2/validation": 2}
    assert all(21 <= count <= 150 for count in sizes.text_bytes.values())


# -- hours


def test_without_records_the_speed_is_assumed_and_said(planned: Plan) -> None:
    """On two threads of 20 GFLOP/s: 187,200,000 FLOPs in 4.68 ms."""
    (dense,) = of_kind(planned, "dense")
    (kind,) = estimate(planned, [dense], SIZES, [], CPU).kinds
    assert kind.hours == pytest.approx(0.00468 / 3600)
    assert kind.basis == "assumed 20 GFLOP/s per thread, 2 of them"


def record(spec: StageSpec, **result: Any) -> dict[str, Any]:
    times = {"attempt": 1, "started": 1000.0, "ended": 1020.0}
    return {**spec.fingerprint_fields(), "result": result, "times": times, "artifact": {"bytes": 100}}


def training(seconds: float, tokens: int, device: str = "cpu") -> dict[str, Any]:
    return {"training": {"seconds": seconds, "tokens_seen": tokens, "device": device}}


def test_hours_are_scaled_from_records_of_the_same_kind_and_model(planned: Plan, store: Store) -> None:
    """Another recipe's dense stage saw 78,000 tokens in 10 s; ours sees 39,000: 5 s, on a CPU and not on a GPU."""
    (dense,) = of_kind(planned, "dense")
    for other in of_kind(grid_world.plan("dense.epochs=6", tasks=["sst2"]), "dense").values():
        store.stage(other.stage_id).publish_record(record(other, **training(10.0, 78_000)))
    timings = read_timings(planned, store, [dense], SIZES.shapes)
    (kind,) = estimate(planned, [dense], SIZES, timings, CPU).kinds
    assert kind.hours == pytest.approx(5 / 3600)
    assert kind.basis == "from 1 record"
    (kind,) = estimate(planned, [dense], SIZES, timings, GPU).kinds
    assert kind.basis.startswith("assumed")


@pytest.mark.parametrize(
    ("text_bytes", "seconds", "basis"),
    [
        (500_000, 4.0, "from 1 record"),  # as much as the record's
        (5_000_000, 40.0, "from 1 record"),  # ten times as much: the most that it speaks for
        (5_000_001, 1.0, "assumed 5 MB/s"),
        (20_000_000_000, 4000.0, "assumed 5 MB/s"),  # Wikipedia: 1.1 hours, and not the 44 of 125,000 bytes a second
    ],
)
def test_a_small_corpus_does_not_speak_for_a_large_one(
    planned: Plan, store: Store, text_bytes: int, seconds: float, basis: str
) -> None:
    """A demo's corpus, 305,000 bytes on disk of 500,000 of text, took 4 s: nearly all of that was its start."""
    ((corpus, spec),) = of_kind(planned, "corpus").items()
    other = replace(spec, inputs={"train": "small", "validation": "small"})
    kept = {**record(other), "artifact": {"bytes": 305_000}, "times": {"started": 0.0, "ended": 4.0}}
    store.stage(other.stage_id).publish_record(kept)
    sizes = InputSizes(shapes={}, data=Sizes(rows={}, text_bytes={"corpus/train": text_bytes}))
    (kind,) = estimate(planned, [corpus], sizes, read_timings(planned, store, [corpus], {}), CPU).kinds
    assert kind.hours == pytest.approx(seconds / 3600, rel=1e-6)
    assert kind.basis == basis


def test_of_several_records_those_count_that_are_large_enough(planned: Plan) -> None:
    """1 MB in 5 s and 10 MB in 6 s. For 50 MB: 10 MB in 6 s alone, hence 30 s. For 10 MB: 11 MB in 11 s, hence 10 s."""
    ((corpus, spec),) = of_kind(planned, "corpus").items()
    group = group_of(spec, planned)
    timings = [Timing(group, None, 1e6, 5.0, up_to=1e7), Timing(group, None, 1e7, 6.0, up_to=1e8)]
    for text_bytes, seconds in ((50e6, 30.0), (10e6, 10.0)):
        sizes = InputSizes(shapes={}, data=Sizes(rows={}, text_bytes={"corpus/train": int(text_bytes)}))
        assert estimate(planned, [corpus], sizes, timings, CPU).hours == pytest.approx(seconds / 3600)


def test_a_training_has_seconds_of_its_own_and_speaks_for_any_work(planned: Plan, store: Store) -> None:
    """1,000 tokens in 1 s, of 39,000 to come: 39 s."""
    ((dense, spec),) = of_kind(planned, "dense").items()
    found = timing_of(record(spec, **training(1.0, 1000)), planned, SIZES.shapes)
    assert found is not None
    assert estimate(planned, [dense], SIZES, [found], CPU).hours == pytest.approx(39 / 3600)


def test_a_record_of_the_same_task_goes_before_one_of_another(planned: Plan) -> None:
    (dense,) = of_kind(planned, "dense")
    group = group_of(planned.stages[dense], planned)
    other = Timing(type(group)(group.kind, group.model, "squad", group.threads), False, work=1.0, seconds=1.0)
    same = Timing(group, False, work=187_200_000, seconds=36.0)
    assert estimate(planned, [dense], SIZES, [other, same], CPU).hours == pytest.approx(0.01)
    assert estimate(planned, [dense], SIZES, [other], CPU).hours == pytest.approx(52_000)


@pytest.mark.parametrize(("precision", "flops"), [("fp32", 14e12), ("tf32", 62e12), ("bf16", 125e12)])
def test_a_precision_has_a_speed_of_its_own_and_its_own_records(precision: str, flops: float) -> None:
    planned = grid_world.plan(f"common.precision={precision}", tasks=["sst2"])
    ((dense, spec),) = of_kind(planned, "dense").items()
    (kind,) = estimate(planned, [dense], SIZES, [], GPU).kinds
    assert kind.hours == pytest.approx(187_200_000 / flops / 3600)
    assert kind.basis == f"assumed {flops / 1e12:g} TFLOP/s per GPU ({precision})"
    own = Timing(group_of(spec, planned), True, work=187_200_000, seconds=36.0)
    other = replace(own, group=replace(own.group, precision="other"))
    assert estimate(planned, [dense], SIZES, [own], GPU).hours == pytest.approx(0.01)
    assert estimate(planned, [dense], SIZES, [other], GPU).kinds[0].basis.startswith("assumed")


def test_ranks_cost_the_same_hours_and_less_time(planned: Plan) -> None:
    """A record of two ranks that took 18 s is one of 36 s of a GPU; with four ranks the next takes 9 s."""
    ((dense, spec),) = of_kind(planned, "dense").items()
    told = training(18.0, 39_000, "a GPU")
    told["training"]["ranks"] = 2
    timing = timing_of(record(spec, **told), planned, SIZES.shapes)
    assert timing is not None
    found = estimate(planned, [dense], SIZES, [timing], GPU, ranks_of(planned, None, Resources(ranks=4)))
    assert found.hours == pytest.approx(0.01)
    assert found.seconds == {dense: pytest.approx(9.0)}
    told["training"]["rank_spans"] = [{"ranks": 2, "seconds": 12.0}, {"ranks": 1, "seconds": 12.0}]
    assert timing_of(record(spec, **told), planned, SIZES.shapes) == timing, "24 s of one GPU, and 12 s of another"
    trained = {spec.kind for spec in planned.stages.values() if planned.work_of_kind(spec.kind) in TRAINS}
    assert "dense" in trained
    assert "corpus" not in trained
    assert ranks_of(planned, None, Resources(ranks=4)) == dict.fromkeys(trained, 4)


def test_what_sharing_saves_by_hand() -> None:
    """Of each stage that waits: its hours, times the cells that rest on it."""
    planned = grid_world.plan(tasks=["sst2"], seeds=[0, 1, 2])
    found = estimate(planned, list(planned.stages), SIZES, [], CPU)
    expected = sum(
        estimate(planned, [stage], SIZES, [], CPU).hours * sum(stage in path for path in planned.paths.values())
        for stage in planned.stages
    )
    assert found.unshared_hours == pytest.approx(expected)
    times = found.unshared_hours / found.hours
    assert times > 1.5
    said = next(line for line in found.as_text().splitlines() if line.startswith("shared stages: "))
    assert f"{times:.2g} times as many." in said
    dense = list(of_kind(grid_world.plan(methods=["dense"], tasks=["sst2"], seeds=[0]), "dense"))
    alone = estimate(grid_world.plan(methods=["dense"], tasks=["sst2"], seeds=[0]), dense, SIZES, [], CPU)
    assert alone.unshared_hours == alone.hours
    assert "shared stages" not in alone.as_text()


def test_stages_with_and_without_records_of_one_kind_are_told_apart(planned: Plan) -> None:
    both = grid_world.plan(tasks=["sst2"], models=["tiny", "other"], found=grid_world.inputs(["tiny", "other"]))
    stages = of_kind(both, "dense")
    groups = {group.model: group for group in (group_of(spec, both) for spec in stages.values())}
    sizes = InputSizes(shapes={"tiny": TINY, "other": TINY}, data=SIZES.data)
    timing = Timing(groups["tiny"], False, work=187_200_000, seconds=36.0)
    (kind,) = estimate(both, list(stages), sizes, [timing], CPU).kinds
    assert kind.stages == 2
    assert set(kind.basis.split("; ")) == {"from 1 record (1)", "assumed 20 GFLOP/s per thread, 2 of them (1)"}


def test_a_kind_of_unknown_work_is_said_to_be_unknown(planned: Plan) -> None:
    spec = planned.add(StageSpec(kind="rounds", parameters={"model": "tiny"}))
    found = estimate(planned, [spec.stage_id], SIZES, [], CPU)
    assert found.kinds == (KindEstimate(kind="rounds", stages=1, hours=None, basis="nothing known"),)
    assert "?" in found.as_text()


@pytest.mark.parametrize("result", [{}, {"training": {"tokens_seen": 1000}}, training(0.0, 100), {"training": 3}])
def test_a_record_that_does_not_say_enough_is_no_basis(planned: Plan, result: dict[str, Any]) -> None:
    (spec,) = of_kind(planned, "dense").values()
    assert timing_of(record(spec, **result), planned, SIZES.shapes) is None


def test_an_edited_record_is_no_basis(planned: Plan, store: Store) -> None:
    ((stage_id, spec),) = of_kind(planned, "dense").items()
    store.stage(stage_id).publish_record(record(spec, **training(10.0, 78_000)))
    path = store.stage(stage_id).record_path
    path.write_text(path.read_text().replace("78000", "98000"))
    assert read_timings(planned, store, [stage_id], SIZES.shapes) == []


def test_every_kind_of_the_committed_run_is_a_basis_and_comes_out_near_what_it_took() -> None:
    """Estimated as if to be repeated, from its own records: within a quarter of the 4.9 hours its stages took."""
    store = Store(ROOT / "results" / "reduced")
    planned = read_study(store, "reduced").plan
    minilm = Shape(layers=6, width=384, feed_forward=1536, vocabulary=30522, positions=512)
    rows = {
        "sst2/train": 67_349,
        "sst2/validation": 872,
        "qnli/train": 22_884,
        "qnli/validation": 5_463,
        "qqp/train": 23_496,
        "qqp/validation": 7_600,
        "mnli/train": 9_872,
        "mnli/validation_matched": 2_943,
        "squad/train": 11_877,
        "squad/validation": 2_000,
    }
    sizes = InputSizes(shapes={"minilm-l6": minilm}, data=Sizes(rows=rows, text_bytes={"corpus/train": 10_148_248}))
    waiting = list(planned.stages)
    found = estimate(planned, waiting, sizes, read_timings(planned, store, waiting, sizes.shapes), CPU)
    assert all(kind.basis.startswith("from ") for kind in found.kinds)
    took = 0.0
    for stage_id in waiting:
        kept = store.stage(stage_id).read_record()
        took += kept["result"].get("training", {}).get("seconds", kept["times"]["ended"] - kept["times"]["started"])
    assert found.hours == pytest.approx(took / 3600, rel=0.25)


# -- disk


def test_bytes_by_hand(planned: Plan) -> None:
    """1,950 parameters: 800 encoder, 105 x 10 embeddings, 100 pooler. fp32 7,800; with the int8 encoder and pooler 900
    more; teacher preparation with its head's transform 400 more. A checkpoint is three times the weights; three stand.
    """
    assert TINY.parameters == 1950

    def disk(kind: str) -> tuple[int, int]:
        found = estimate(planned, [next(iter(of_kind(planned, kind)))], SIZES, [], CPU)
        return found.artifact_bytes, found.checkpoint_bytes

    assert disk("dense") == (7800, 70_200)
    assert disk("quantization") == (8700, 70_200)
    assert disk("teacher_preparation") == (8200, 70_200)
    assert disk("evaluation") == (0, 0)
    assert disk("corpus") == (round(3600 * 0.61), 0)


# -- the limit


def costs(hours: float, *, on_gpu: bool) -> Estimate:
    kind = KindEstimate(kind="dense", stages=1, hours=hours, basis="assumed 14 TFLOP/s per GPU (fp32)")
    return Estimate(on_gpu=on_gpu, kinds=(kind,), artifact_bytes=0, checkpoint_bytes=0)


@pytest.mark.parametrize(
    ("hours", "on_gpu", "allowed", "starts"),
    [
        (24.0, True, None, True),
        (24.1, True, None, False),
        (8.0, False, None, True),
        (8.1, False, None, False),
        (100.0, True, 100.0, True),
        (100.0, True, 99.0, False),
        (1.0, False, 0.5, False),  # a limit of one's own may be lower, too
    ],
)
def test_the_limit(hours: float, on_gpu: bool, allowed: float | None, starts: bool) -> None:
    if starts:
        check_limit(costs(hours, on_gpu=on_gpu), allowed)
    else:
        with pytest.raises(UsageError, match="max_gpu_hours"):
            check_limit(costs(hours, on_gpu=on_gpu), allowed)


def test_the_refusal_says_both_numbers_the_basis_and_an_option_that_works() -> None:
    with pytest.raises(UsageError) as error:
        check_limit(costs(138.2, on_gpu=True), 100.0)
    problem = error.value.problems[0].on_command_line
    assert "about 140 GPU-hours" in problem
    assert "above --max-gpu-hours 100." in problem
    assert "assumed 14 TFLOP/s" in problem
    offered = float(problem.partition("Start it with --max-gpu-hours ")[2].partition(",")[0])
    assert offered == 140
    check_limit(costs(138.2, on_gpu=True), offered)


def test_a_run_above_the_limit_starts_only_when_asked_for(run_harness: Run, world: grid_world.World) -> None:
    """200 million steps of teacher preparation: half a million times the preset's, of so small a model."""
    words = world.grid("--methods", "prune-ofa", "--tasks", "sst2", "--set", "teacher_preparation.steps=200000000")
    before = grid_world.files_below(world.folder)
    refused = run_harness(words)
    assert refused.code == 2
    assert "teacher_preparation" in refused.err
    assert grid_world.files_below(world.folder) == before
    assert run_harness([*words, "--dry-run"]).code == 0
    assert run_harness([*words, "--max-gpu-hours", "1"]).code == 2
    assert not world.store.exists()
    assert run_harness([*words, "--max-gpu-hours", "100000"]).code == 0


@pytest.mark.parametrize("hours", ["0", "-1", "many", "inf", "nan"])
def test_a_limit_that_is_no_number_of_hours_is_refused(run_harness: Run, world: grid_world.World, hours: str) -> None:
    refused = run_harness(world.grid(f"--max-gpu-hours={hours}"))
    assert refused.code == 2
    assert f"--max-gpu-hours {hours}: expected a number of hours above 0." in refused.err


def test_the_estimate_stands_in_the_json_of_a_dry_run(run_harness: Run, world: grid_world.World) -> None:
    found = json.loads(run_harness(world.grid("--dry-run", "--json", "--tasks", "sst2")).out)["estimate"]
    assert found["approximate"] is True
    assert found["hours"] == pytest.approx(sum(kind["hours"] for kind in found["kinds"]))
    assert {kind["kind"] for kind in found["kinds"]} >= {"corpus", "student_pruning", "evaluation"}
    assert found["artifact_bytes"] > found["checkpoint_bytes"] / 9 > 0


# -- the machine


@pytest.mark.parametrize(
    ("present", "visible", "build", "expected"),
    [
        (["nvidia0"], None, "2.13.0", ("0",)),
        (["nvidia10", "nvidia2", "nvidiactl"], None, "2.13.0", ("0", "1")),
        (["nvidia0", "nvidia1"], "1, 0", "2.13.0+cu130", ("1", "0")),
        (["nvidia0"], "GPU-5a", "2.13.0", ("GPU-5a",)),
        (["nvidia0", "nvidia1"], "1,-1,0", "2.13.0", ("1",)),
        (["nvidia0"], "", "2.13.0", ()),
        (["nvidia0"], "-1", "2.13.0", ()),
        (["nvidia0"], None, "2.13.0+cpu", ()),
        (["nvidiactl"], "0", "2.13.0", ()),
    ],
)
def test_gpus_count_when_they_are_there_visible_and_torch_can_use_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    present: list[str],
    visible: str | None,
    build: str,
    expected: tuple[str, ...],
) -> None:
    for name in present:
        (tmp_path / name).touch()
    monkeypatch.setattr("harness.execution.hardware.metadata.version", lambda package: build)
    assert _gpus(tmp_path, {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}) == expected


@pytest.mark.parametrize(
    ("gpus", "cores", "threads", "workers"), [(("0", "1"), 64, 8, 2), ((), 16, 8, 2), ((), 2, 2, 1), ((), 2, 8, 1)]
)
def test_stages_side_by_side_one_for_each_gpu_or_as_many_as_the_cores_hold(
    gpus: tuple[str, ...], cores: int, threads: int, workers: int
) -> None:
    assert Machine(gpus=gpus, cores=cores).workers(threads) == workers


@pytest.mark.parametrize(
    ("gpus", "ranks", "workers"), [("01234567", 4, 2), ("01234567", 8, 1), ("01234567", 9, 1), ("", 2, 4), ("", 3, 2)]
)
def test_ranks_of_a_stage_have_a_gpu_each_or_its_threads(gpus: str, ranks: int, workers: int) -> None:
    """Eight GPUs; or sixteen cores, two threads to a rank."""
    assert Machine(gpus=tuple(gpus), cores=16).workers(2, ranks) == workers
