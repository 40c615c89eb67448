"""What every method of the catalogue must do, a plug-in's too, on a toy BERT and a toy DistilBERT.

The tests are over the registry: a method that is added there is in them. What one is to do is read from its declaration
and its stages. Where a method cannot do what the others do, it stands in one of the tables below, with the reason.
"""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
import transformers
from method_bench import (
    METHODS,
    SPARSITY,
    Bench,
    Made,
    found_method,
    in_double_without_dropout,
    is_exact,
    with_pruning_off,
    with_values,
    without_matrices,
)
from safetensors import safe_open
from safetensors.torch import load_file

from harness.errors import HarnessError, UsageError
from harness.planning.method_registry import kind_of
from harness.specs import StageSpec
from harness.stages.context import Resources

FAMILIES = ("bert", "distilbert")
CASES = list(product(FAMILIES, METHODS))
# Settings that do something beside pruning: off, where pruning off is compared with none.
BESIDE_PRUNING = {"max_grad_norm": 0.0, "freeze_embeddings": False, "rewind_head": True}
# Kind -> why sparsity 0 is not the same training without pruning.
NOT_PLAIN_AT_ZERO: dict[str, str] = {}
# Kind -> why a batch in two parts is not the same batch.
NOT_IN_PARTS: dict[str, str] = {
    "quantization": "the first part is rounded with the range known by then (quantization.observed_as_one_batch)",
}
EXACT_TO = 1e-6  # of the weights, where sums are in another order


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bench]:
    made: dict[str, Bench] = {}

    def bench(family: str) -> Bench:
        if family not in made:
            made[family] = Bench.at(tmp_path_factory.mktemp(family), family)
        return made[family]

    return bench


def over_methods(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.parametrize(("family", "name"), CASES, ids=lambda value: value)(test)


# -- planning: nothing runs


@over_methods
def test_what_a_cell_names_leads_to_other_stages_and_nothing_else_does(
    benches: Callable[[str], Bench], family: str, name: str
) -> None:
    """Seed and sparsity are part of the cell's own model; the seed is not where a method trains nothing."""
    bench, method = benches(family), found_method(name).method
    last = bench.trained(name)[-1]
    assert kind_of(last).makes_model
    assert bench.trained(name)[-1].stage_id == last.stage_id
    assert bench.trained(name, seed=1)[-1].stage_id != last.stage_id
    if method.sparse:
        assert bench.trained(name, sparsity=0.5)[-1].stage_id != last.stage_id
    if "int8" in method.quantization:
        quantized = bench.trained(name, quantization="int8")[-1]
        assert quantized.stage_id != last.stage_id
        assert last.stage_id in bench.plan(name, quantization="int8").stages


@over_methods
def test_a_method_that_distils_has_a_teacher_and_one_that_does_not_has_none(
    benches: Callable[[str], Bench], family: str, name: str
) -> None:
    told = found_method(name).method.transfer_kd
    on_task = [spec for spec in benches(family).trained(name) if "task" in spec.parameters]
    with_teacher = [spec for spec in on_task if "teacher" in spec.parents]
    if told != "na":
        assert bool(with_teacher) == (told == "yes")
    for spec in on_task:
        assert ("teacher" in spec.parents) == ("kd_weight" in spec.parameters)


# -- repeating


@pytest.mark.slow
@over_methods
def test_a_stage_that_is_stopped_at_three_random_steps_ends_as_the_one_that_was_not_bit_for_bit(
    benches: Callable[[str], Bench], family: str, name: str
) -> None:
    """Which is to say that it repeats as well: same seed, same bytes. A stage without steps is run again."""
    bench = benches(family)
    for spec in bench.one_of_each_kind(name):
        bench.once("resume", spec, lambda spec=spec: check_resumes(bench, spec))  # type: ignore[misc]


def check_resumes(bench: Bench, spec: StageSpec) -> None:
    whole = bench.make(spec)
    stops = sorted(random.Random(spec.stage_id).sample(range(1, whole.steps), 3)) if whole.steps >= 4 else []
    resumed = bench.run(spec, stops=stops)
    assert resumed.digest == whole.digest, f"{spec.kind}, stopped after steps {stops}"
    assert resumed.told == whole.told, f"{spec.kind}, stopped after steps {stops}"
    assert resumed.steps == whole.steps, f"{spec.kind}, stopped after steps {stops}"


@pytest.mark.slow
@over_methods
def test_another_seed_makes_another_model(benches: Callable[[str], Bench], family: str, name: str) -> None:
    bench = benches(family)
    one, other = (bench.make(bench.trained(name, seed=seed)[-1]) for seed in (0, 1))
    names = one.weights.keys() & other.weights.keys()
    assert names == one.weights.keys()
    assert any(not torch.equal(one.weights[each], other.weights[each]) for each in names)


# -- zeros


@pytest.mark.slow
@over_methods
def test_zeros_are_as_many_as_the_cell_says_by_count(benches: Callable[[str], Bench], family: str, name: str) -> None:
    bench, method = benches(family), found_method(name).method
    made = bench.make(bench.trained(name)[-1])
    zeros = bench.zeros(made)
    sizes = [kept.numel() for kept in bench.pattern(made.weights).values()]
    # Whatever the method: the record has what is in the weights, to the last one.
    assert list(made.sparsity["zeros_by_matrix"].values()) == zeros
    assert made.sparsity["encoder_zeros"] == sum(zeros)
    assert made.sparsity["encoder"] == sum(zeros) / sum(sizes)
    if not method.sparse:
        assert sum(zeros) == 0
    elif not is_exact(method):
        assert 0 < made.sparsity["encoder"] < 1
    else:
        pooler = [count for count in made.sparsity["pooler"].values() if count[0]]
        assert (sum(zeros), zeros) in allowed(zeros, sizes, pooler)


def allowed(zeros: list[int], sizes: list[int], pooler: list[list[int]]) -> list[tuple[int, list[int]]]:
    """The total and the zeros by matrix: each by itself, or all in one ranking, the pooler in it or not.

    .85 of 1,024 is 870.4 and of 2,048 1,740.8: one ranking over all has six zeros more than each by itself.
    """
    floors = [int(SPARSITY * size) for size in sizes]
    found = [(sum(floors), floors), (int(SPARSITY * sum(sizes)), zeros)]
    for pruned, size in pooler:
        found.append((int(SPARSITY * (sum(sizes) + size)) - pruned, zeros))
    return found


@pytest.mark.slow
@over_methods
def test_a_model_without_a_matrix_to_prune_fails_before_its_first_step(
    benches: Callable[[str], Bench], family: str, name: str
) -> None:
    bench = benches(family)
    quantized = ["int8"] if "int8" in found_method(name).method.quantization else []
    stages = {
        spec.kind: spec
        for quantization in ["none", *quantized]
        for spec in bench.trained(name, quantization=quantization)
        if spec.kind == "quantization" or prunes(bench, spec)
    }
    assert bool(stages) == (found_method(name).method.sparse or bool(quantized))
    for spec in stages.values():
        bench.once("no matrices", spec, lambda spec=spec: check_fails_loudly(bench, spec))  # type: ignore[misc]


def prunes(bench: Bench, spec: StageSpec) -> bool:
    """Whether the stage is to have zeros: by its sparsity, or by that of the model it begins with."""
    return spec.parameters.get("sparsity", 0.0) > 0 or sum(bench.zeros(bench.make(spec))) > 0


def check_fails_loudly(bench: Bench, spec: StageSpec) -> None:
    steps: list[int] = []
    with pytest.raises((ValueError, HarnessError)) as failed:
        bench.run(spec, inside=without_matrices, on_step=lambda: steps.append(1))
    assert str(failed.value).strip()
    assert not steps, f"{spec.kind}: {len(steps)} steps were made of a training that prunes nothing"


@pytest.mark.slow
@over_methods
def test_sparsity_zero_is_the_same_training_without_pruning(
    benches: Callable[[str], Bench], family: str, name: str
) -> None:
    bench, method = benches(family), found_method(name).method
    if not method.sparse or not is_exact(method):
        return
    try:
        stages = bench.trained(name, sparsity=0.0)
    except UsageError:  # not defined there
        return
    for spec in {spec.kind: spec for spec in stages}.values():
        if spec.kind not in NOT_PLAIN_AT_ZERO:
            bench.once("zero", spec, lambda spec=spec: check_is_plain(bench, spec))  # type: ignore[misc]


def check_is_plain(bench: Bench, spec: StageSpec) -> None:
    spec = with_values(spec, **BESIDE_PRUNING)
    pruned, plain = bench.run(spec), bench.run(spec, inside=with_pruning_off)
    assert sum(bench.zeros(pruned)) == 0
    assert apart(pruned, plain) <= EXACT_TO, spec.kind


def apart(one: Made, other: Made) -> float:
    """The largest difference of two models' weights."""
    first, second = one.weights, other.weights
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.slow
@over_methods
def test_zeros_survive_saving_loading_another_transfer_and_quantization(
    benches: Callable[[str], Bench], family: str, name: str
) -> None:
    bench, method = benches(family), found_method(name).method
    if not method.sparse:
        return
    final = bench.make(bench.trained(name)[-1])
    pattern = bench.pattern(final.weights)

    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(final.artifact)
    again = {each: loaded.get_submodule(each).weight.detach() != 0 for each in bench.matrices}
    assert all(torch.equal(pattern[each], again[each]) for each in bench.matrices)

    transfer = next(spec for spec in bench.trained("prune-ofa") if spec.kind == "transfer")
    parents = {**transfer.parents, "model": final.spec.stage_id}
    moved = bench.run(StageSpec(**{**vars_of(transfer), "parents": parents}))
    assert all(torch.equal(pattern[each], kept) for each, kept in bench.pattern(moved.weights).items())
    assert any(not torch.equal(final.weights[each], moved.weights[each]) for each in final.weights)

    if "int8" in method.quantization:
        check_codes(bench, bench.make(bench.trained(name, quantization="int8")[-1]), final)


def vars_of(spec: StageSpec) -> dict[str, object]:
    return {name: getattr(spec, name) for name in inspect.signature(StageSpec).parameters}


def check_codes(bench: Bench, quantized: Made, final: Made) -> None:
    codes = load_file(quantized.artifact / "int8.safetensors")
    for each, kept in bench.pattern(final.weights).items():
        assert not codes[f"{each}.codes"][~kept].any(), f"{each}: a zero came back"
        assert bool(codes[f"{each}.codes"].any()), f"{each}: everything is zero"
    if quantized.spec.kind == "quantization":  # the digest is over where the weights were zero before rounding
        assert quantized.sparsity["pattern_sha256"] == final.sparsity["pattern_sha256"]


@pytest.mark.slow
@over_methods
def test_zeros_are_the_same_number_in_the_same_places_where_products_are_in_bfloat16(
    benches: Callable[[str], Bench], family: str, name: str
) -> None:
    """A stage that keeps the zeros of another keeps them; one that prunes has as many as in fp32."""
    bench = benches(family)
    for spec in bench.one_of_each_kind(name):
        bench.once("bfloat16", spec, lambda spec=spec: check_bfloat16(bench, spec, name))  # type: ignore[misc]


def check_bfloat16(bench: Bench, spec: StageSpec, name: str) -> None:
    made, whole = bench.run(with_values(spec, precision="bf16")), bench.make(spec)
    if whole.steps:
        assert apart(made, whole) > 0, f"{spec.kind}: nothing was in bfloat16"
    parents = [bench.make(bench.specs[spec.parents[role]]) for role in ("model", "mask") if role in spec.parents]
    kept = [parent for parent in parents if sum(bench.zeros(parent)) == sum(bench.zeros(whole)) > 0]
    for parent in kept:
        pattern = bench.pattern(parent.weights)
        assert all(torch.equal(pattern[each], kept) for each, kept in bench.pattern(made.weights).items()), spec.kind
    if is_exact(found_method(name).method):
        assert sum(bench.zeros(made)) == sum(bench.zeros(whole)), spec.kind


# -- what is saved


@pytest.mark.slow
@over_methods
def test_nothing_of_a_teacher_and_nothing_of_the_training_is_in_an_artifact(
    benches: Callable[[str], Bench], family: str, name: str
) -> None:
    """The weights are those of the library's own class, name by name; and there is no other file of tensors."""
    bench = benches(family)
    stages = bench.one_of_each_kind(name)
    if "int8" in found_method(name).method.quantization:
        stages.append(bench.trained(name, quantization="int8")[-1])
    for spec in stages:
        artifact = bench.make(spec).artifact
        tensors = {path.name for path in artifact.rglob("*") if path.suffix in (".safetensors", ".bin", ".pt", ".pth")}
        assert tensors <= {"model.safetensors", "int8.safetensors"}, spec.kind
        own = plain_model(artifact)
        names = set(own.state_dict())
        assert stored(artifact / "model.safetensors") <= names, spec.kind
        if "int8.safetensors" in tensors:
            modules = {key.rpartition(".")[0] for key in stored(artifact / "int8.safetensors")}
            assert modules <= {each for each, _ in own.named_modules()}
        parameters = sum(parameter.numel() for parameter in own.parameters())
        assert sum(tensor.numel() for tensor in load_file(artifact / "model.safetensors").values()) <= parameters


def plain_model(artifact: Path) -> torch.nn.Module:
    config = transformers.AutoConfig.from_pretrained(artifact)
    (architecture,) = json.loads((artifact / "config.json").read_text())["architectures"]
    model: torch.nn.Module = getattr(transformers, architecture)(config)
    return model


def stored(path: Path) -> set[str]:
    with safe_open(path, "pt") as file:
        return set(file.keys())


# -- micro-batches


@pytest.mark.slow
@over_methods
def test_two_micro_batches_are_the_batch_of_both(benches: Callable[[str], Bench], family: str, name: str) -> None:
    """4 + 4 examples against 8, in double precision: what a fault would change is far above 1e-6."""
    bench = benches(family)
    for spec in bench.one_of_each_kind(name):
        if spec.kind not in NOT_IN_PARTS:
            bench.once("parts", spec, lambda spec=spec: check_parts(bench, spec))  # type: ignore[misc]


def check_parts(bench: Bench, spec: StageSpec) -> None:
    whole = bench.run(spec, inside=in_double_without_dropout)
    parts = bench.run(spec, inside=in_double_without_dropout, resources=Resources(micro_batch_size=4))
    if whole.steps:
        assert parts.steps == whole.steps
        accumulation = parts.result.details["training"]["batches"]["device"][0]["accumulation"]
        assert accumulation == 2
    assert apart(whole, parts) <= EXACT_TO, spec.kind
