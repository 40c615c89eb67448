"""Stage kinds that methods bring: the example package planned, its settings, what a study keeps, what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from grid_world import HERE, Ran, World, inputs, of_kind, plan, preset, sentences, settings

from harness.errors import StoreError, UsageError
from harness.planning import method_entry_points
from harness.planning.chain import Chain
from harness.planning.grid import Axes, expand
from harness.planning.kinds import KINDS
from harness.planning.method import Method
from harness.planning.method_needs import Needs, needs
from harness.planning.method_registry import find_method, kind_of, owned_kinds
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset, parse_preset
from harness.planning.recipe import split_key
from harness.specs import StageSpec
from harness.store.store import Store
from harness.studies.study import add_to_study, merged, read_study, write_study

Run = Callable[[Sequence[str]], Ran]
EXAMPLE = HERE / "example_method"
TARGET, KIND = "random_pruning:METHOD", "random-pruning:pruning"
AXES: dict[str, Any] = {"methods": [TARGET], "tasks": ["sst2"], "sparsities": [0.85]}
EPOCHS = f"{KIND}.epochs=2"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The example's modules can be imported; what is installed here is not seen."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(EXAMPLE)
    monkeypatch.setattr(method_entry_points, "distributions", lambda: iter(()))
    method_entry_points.packaged_methods.cache_clear()
    method_entry_points.load_method.cache_clear()
    yield
    method_entry_points.packaged_methods.cache_clear()
    method_entry_points.load_method.cache_clear()
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("random_pruning", "acme"):
            del sys.modules[name]


def planned(*settings: str) -> list[StageSpec]:
    return list(of_kind(plan(*settings, **AXES), KIND).values())


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """acme(text, like=..) -> the target of a module acme.NAME that holds the example's declaration, edited."""

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "__init__.py").write_text("")

    def made(module: str, *edits: tuple[str, str]) -> str:
        text = (EXAMPLE / "random_pruning" / "__init__.py").read_text()
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "acme" / f"{module}.py").write_text(text)
        return f"acme.{module}:METHOD"

    return made


# -- planned


def test_the_kind_is_planned_by_the_name_of_its_method() -> None:
    found = plan(EPOCHS, **AXES)
    assert {cell.method for cell in found.paths} == {"random-pruning"}
    assert found.counts() == {"dense": 1, KIND: 1, "evaluation": 1}
    (spec,) = of_kind(found, KIND).values()
    assert spec.parameters["sparsity"] == 0.85
    assert (spec.parameters["mask_seed"], spec.parameters["epochs"]) == (0, 2.0)
    assert spec.parents.keys() == {"teacher"}
    assert spec.inputs.keys() == {"model", "tokenizer", "train"}
    assert spec.versions == {"kind": 1}
    assert "random_pruning.stage" not in sys.modules


def test_where_the_kind_is_declared_travels_with_the_stage_and_enters_no_id() -> None:
    (spec,) = of_kind(plan(EPOCHS, **AXES), KIND).values()
    assert spec.declared_by == TARGET
    assert replace(spec, declared_by=None).stage_id == spec.stage_id
    assert StageSpec.from_json(json.loads(json.dumps(spec.order()))).declared_by == TARGET
    assert kind_of(spec).run == "random_pruning.stage:prune"
    assert all(other.declared_by is None for other in plan(EPOCHS, **AXES).stages.values() if other.kind != KIND)
    with pytest.raises(UsageError, match="stage kind 'random-pruning:pruning' is not known"):
        kind_of(replace(spec, declared_by=None))


def test_int8_follows_it_with_its_teacher() -> None:
    found = plan(EPOCHS, **AXES, quantization=["int8"])
    (pruned,), (quantized,) = (of_kind(found, kind).values() for kind in (KIND, "quantization"))
    assert quantized.parents == {"model": pruned.stage_id, "teacher": pruned.parents["teacher"]}
    (end,) = of_kind(found, "evaluation").values()
    assert end.parameters["arithmetic"] == "int8"


def test_a_method_may_give_its_own_quantization() -> None:
    def quantize(chain: Chain, model: StageSpec) -> StageSpec:
        return chain.fine_tuning("transfer", start=model, mask_from=model)

    method = replace(find_method(TARGET).method, quantize=quantize)
    known = {method.name: replace(find_method(TARGET), method=method)}
    chosen = preset(EPOCHS, methods=[TARGET])
    cells = expand(Axes(models=["tiny"], quantization=["int8"], **AXES), chosen).cells
    found = plan_cells(cells, chosen.recipe, inputs(), known)
    assert "quantization" not in found.counts()
    (own,) = of_kind(found, "transfer").values()
    assert own.parents["mask"] == own.parents["model"] == next(iter(of_kind(found, KIND)))


def test_labels_and_work_come_with_the_plan() -> None:
    found = plan(EPOCHS, **AXES)
    (stage_id,) = of_kind(found, KIND)
    assert found.work(stage_id) == "training"
    assert found.label(stage_id) == "random-pruning:pruning tiny sst2 0.85 seed 0"
    assert found.label(list(found.stages)[-1]) == "evaluation of random-pruning:pruning tiny sst2 0.85 seed 0"


# -- settings


def test_its_own_parameter_is_set_and_makes_another_stage() -> None:
    (usual,), (other,) = planned(EPOCHS), planned(EPOCHS, f"{KIND}.mask_seed=3")
    assert (usual.parameters["mask_seed"], other.parameters["mask_seed"]) == (0, 3)
    assert usual.stage_id != other.stage_id
    (told,) = planned(EPOCHS, f"{KIND}.tasks.sst2.mask_seed=3", f"{KIND}.mask_seed=4")
    assert told.stage_id == other.stage_id


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        (f"{KIND}.mask_sed=1", f"'{KIND}.mask_sed' is not known. Did you mean '{KIND}.mask_seed'"),
        (f"{KIND}.mask_seed=-1", "-1: expected 0 or more"),
        (f"{KIND}.mask_seed=1.5", "1.5 is float, expected int"),
        ("random-pruning:prune.mask_seed=1", "is not known"),
    ],
)
def test_a_bad_assignment_of_it_is_named(assignment: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_preset("quick", [TARGET]).changed(settings(assignment))
    (problem,) = sentences(caught.value)
    assert words in problem


def test_a_grid_that_does_not_name_the_method_knows_no_such_key() -> None:
    with pytest.raises(UsageError, match="recipe key 'random-pruning:pruning.mask_seed' is not known"):
        load_preset("quick").changed({f"{KIND}.mask_seed": 1})
    assert KIND not in KINDS


def section(kind: str, entry: str) -> str:
    return f'description = "d"\nextends = "quick"\n[recipe."{kind}"]\n{entry}\n'


SEED = 'mask_seed = { value = 5, published = "page 3" }'


def test_a_preset_has_a_section_for_it_which_goes_before_the_default() -> None:
    found = parse_preset("mine", section(KIND, SEED), [TARGET]).recipe
    kind = found.owned[KIND]
    filled = found.changed(settings(EPOCHS))
    assert filled.parameters(kind, task="sst2")["mask_seed"] == 5
    assert f"{KIND}.mask_seed" not in filled.defaults(kind)
    assert found.settings[f"{KIND}.mask_seed"].source == "page 3"


@pytest.mark.parametrize(
    ("text", "named", "words"),
    [
        (section(KIND, SEED.replace("5", "-5")), [TARGET], "random-pruning:pruning.mask_seed: -5: expected 0 or more"),
        (section("random-pruning:prune", SEED), [TARGET], "belongs to no stage kind"),
        (section("random-prunign:pruning", SEED), [TARGET], "belongs to no stage kind"),
        (section("dense:pruning", SEED), [TARGET], None),  # a method there is, which this grid does not name
        (section("dense:pruning", SEED), ["dense"], "belongs to no stage kind"),
    ],
)
def test_a_section_is_checked_where_its_method_is_named(text: str, named: list[str], words: str | None) -> None:
    text = text.replace(
        'extends = "quick"',
        'extends = "quick"\nrows = [{ method = "prune-ofa", sparsities = [0.5], quantization = ["none"] }]',
    )
    if words is None:
        assert "dense:pruning.mask_seed" in parse_preset("mine", text, named).recipe.settings
        return
    with pytest.raises(UsageError) as caught:
        parse_preset("mine", text, named)
    assert words in sentences(caught.value)[0]


@pytest.mark.parametrize(
    ("key", "parts"),
    [
        ("transfer.tasks.sst2.epochs", ("transfer", ["tasks", "sst2"], "epochs")),
        ("a.b-c:kind.models.x.rate", ("a.b-c:kind", ["models", "x"], "rate")),
        ("transfer.models.x:y.epochs", ("transfer", ["models", "x:y"], "epochs")),
        ("epochs", ("", [], "epochs")),
    ],
)
def test_a_key_is_split_at_its_section(key: str, parts: tuple[str, list[str], str]) -> None:
    assert split_key(key) == parts


# -- in a study


def test_defaults_in_use_are_settings_of_the_study_and_leave_the_hash(store: Store) -> None:
    chosen = preset(EPOCHS, methods=[TARGET])
    before = merged(store, "mine", chosen, plan(methods=["dense"], tasks=["sst2"]))
    assert not [key for key in before.recipe["settings"] if "mask_seed" in key]
    write_study(store, before)
    write_study(store, merged(store, "mine", chosen, plan(EPOCHS, **AXES)))
    found = read_study(store, "mine")
    assert found.recipe["settings"][f"{KIND}.mask_seed"] == [0, "assumed", "any draw is as good as another"]
    assert found.recipe["hash"] == before.recipe["hash"]
    assert found.plan.methods["random-pruning"].kinds == {KIND: "training"}
    # Cells of another method take the default out of nothing.
    again = merged(store, "mine", chosen, plan(methods=["dense"], tasks=["sst2"]))
    assert again.recipe["settings"] == found.recipe["settings"]


def test_the_hash_of_a_study_with_defaults_is_checked_and_of_an_earlier_one_cannot_be(store: Store) -> None:
    chosen = preset(EPOCHS, methods=[TARGET])
    write_study(store, merged(store, "mine", chosen, plan(EPOCHS, **AXES)))
    path = store.study_path("mine")
    tree = json.loads(path.read_text())
    assert tree["recipe"]["defaults"] == sorted(plan(EPOCHS, **AXES).defaults)
    tree["recipe"]["settings"]["dense.epochs"] = [77.0, "set", "command line"]
    path.write_text(json.dumps(tree))
    with pytest.raises(StoreError, match="a value was changed"):
        read_study(store, "mine")
    # An earlier version did not say which settings are defaults: its hash is not checked, and it is not rewritten.
    write_study(store, merged(Store(store.root / "new"), "mine", chosen, plan(EPOCHS, **AXES)))
    tree = json.loads(path.read_text())
    del tree["recipe"]["defaults"]
    path.write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n")
    before = path.stat().st_mtime_ns
    assert read_study(store, "mine").recipe["hash"] == chosen.recipe_hash
    add_to_study(store, "mine", chosen, plan(EPOCHS, **AXES))
    assert path.stat().st_mtime_ns == before


def test_a_default_that_changed_is_another_recipe(store: Store) -> None:
    chosen = preset(EPOCHS, methods=[TARGET])
    found = plan(EPOCHS, **AXES)
    write_study(store, merged(store, "mine", chosen, found))
    setting = found.defaults[f"{KIND}.mask_seed"]
    found.defaults[f"{KIND}.mask_seed"] = replace(setting, value=1)
    with pytest.raises(UsageError, match=f"study 'mine' has another value of {KIND}.mask_seed: the default changed"):
        merged(store, "mine", chosen, found)


def test_a_study_is_read_where_the_method_is_not(
    store: Store, run_harness: Run, world: World, fakes: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.worker.run.kind_of", lambda spec: fakes.FAKE_KINDS["task_pruning"])
    words = ["--methods", f"dense,{TARGET}", "--tasks", "sst2", "--set", EPOCHS]
    done = run_harness(world.grid(*words))
    assert done.code == 0, done.err
    readings = [world.reading(verb) for verb in ("status", "tables", "gc")]
    before = [run_harness(reading) for reading in readings]
    assert all(done.code == 0 for done in before)
    assert "random-pruning" in before[1].out
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(EXAMPLE)])
    method_entry_points.load_method.cache_clear()
    for name in [name for name in sys.modules if name.startswith("random_pruning")]:
        del sys.modules[name]
    assert [run_harness(reading) for reading in readings] == before
    assert f"method: {TARGET} cannot be loaded (ModuleNotFoundError" in run_harness(world.grid(*words)).err


# -- what is refused


def problem_of(target: str) -> str:
    with pytest.raises(UsageError) as caught:
        find_method(target)
    (problem,) = sentences(caught.value)
    return problem


def test_a_kind_is_named_after_its_method_or_package(acme: Callable[..., str]) -> None:
    renamed = acme("one", ('name="random-pruning:pruning"', 'name="acme:pruning"'))
    assert find_method(renamed).method.kinds[0].owner == "acme"
    for module, name in (("two", "other:pruning"), ("three", "pruning"), ("four", "transfer")):
        target = acme(module, ('name="random-pruning:pruning"', f'name="{name}"'))
        problem = problem_of(target)
        assert problem.startswith(
            f"method {target}: stage kind {name!r}: expected the name random-pruning:NAME or acme:"
        )


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("version=1", "version=0"), "(ValueError: stage kind 'random-pruning:pruning': version=0"),
        (("at_least=0", "at_least=1"), "(ValueError: 0: expected 1 or more.)"),
        (("(PRUNING,)", "PRUNING"), "expected a tuple of StageKind"),
        (("(PRUNING,)", "(PRUNING, PRUNING)"), "random-pruning:pruning is declared twice"),
        (('work="training"', 'work="fun"'), "work='fun': expected one of data"),
        (('    name="random-pruning",', '    name="random pruning",'), "a name has at most 100 letters, digits"),
        (
            ('    name="random-pruning",', '    name="dense",'),
            "its name 'dense' is that of another method, methods.dense",
        ),
    ],
)
def test_a_bad_declaration_is_a_named_problem(
    acme: Callable[..., str], run_harness: Run, world: World, edit: tuple[str, str], words: str
) -> None:
    target = acme("bad", edit)
    done = run_harness(world.grid("--methods", f"dense,{target}", "--dry-run"))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: method")
    assert done.err.count("\n") == 1
    assert target in done.err
    assert words in done.err
    assert run_harness(world.grid("--methods", "dense", "--dry-run")).code == 0


def test_two_declarations_of_one_kind_clash(acme: Callable[..., str]) -> None:
    one = acme("one", ('name="random-pruning:pruning"', 'name="acme:pruning"'))
    other = acme(
        "other",
        ('name="random-pruning:pruning"', 'name="acme:pruning"'),
        ("version=1", "version=2"),
        ('    name="random-pruning",', '    name="random-pruning-2",'),
    )
    assert owned_kinds([one]).keys() == {"acme:pruning"}
    with pytest.raises(
        UsageError, match=f"'acme:pruning' is declared by method {one} and, differently, by method {other}"
    ):
        owned_kinds([one, other])


def test_a_kind_that_the_method_does_not_declare_cannot_be_added(acme: Callable[..., str]) -> None:
    target = acme("bare", ("    kinds=(PRUNING,),\n", ""))
    with pytest.raises(UsageError, match="stage kind 'random-pruning:pruning' is not known.*Name it in the method's"):
        plan(**{**AXES, "methods": [target]})


@pytest.mark.parametrize("word", ["task", "parents", "inputs", "without"])
def test_what_the_chain_gives_a_stage_no_method_can(acme: Callable[..., str], word: str) -> None:
    target = acme("taken", ("sparsity=chain.cell.sparsity", f"sparsity=chain.cell.sparsity, **{{{word!r}: 1}}"))
    with pytest.raises(UsageError, match=f"random-pruning:pruning: {word}: given by the chain") as caught:
        plan(EPOCHS, **{**AXES, "methods": [target]})
    assert len(caught.value.problems) == 1


def test_an_identity_that_is_a_word_of_the_chain_is_refused(acme: Callable[..., str]) -> None:
    target = acme("parents", ('"sparsity", "seed")', '"sparsity", "seed", "parents")'))
    assert "identity: 'parents' is a word of the chain's own calls" in problem_of(target)


def test_an_error_in_its_stages_is_a_sentence(acme: Callable[..., str], run_harness: Run, world: World) -> None:
    target = acme("odd", ("start, teacher = chain.pretrained_model(), chain.teacher()", "raise KeyError('what')"))
    done = run_harness(world.grid("--methods", f"dense,{target}", "--tasks", "sst2", "--dry-run"))
    assert (done.code, done.out) == (2, "")
    (problem,) = done.err.splitlines()
    assert problem.startswith(f"error: method {target}: its stages raised KeyError: 'what' (")
    assert problem.endswith(
        ", as for tiny random-pruning 0.85 sst2 none seed 0. Mend the package, or leave the method out."
    )


# -- what a method needs is read off its chain


def method(stages: Callable[[Chain], StageSpec]) -> Method:
    return Method(name="lab", title="Lab", stages=stages, sparse=True, transfer_kd="no", note="n")


@pytest.mark.parametrize(
    ("stages", "here", "released"),
    [
        (lambda chain: chain.dense(), (False, False, False), (False, False, False)),
        (
            lambda chain: chain.transfer(chain.sparse_model(), distillation=True),
            (True, True, False),
            (False, False, True),
        ),
        # Its own pruning on the corpus, wherever the preset's models come from; one pruning seed serves all.
        (lambda chain: chain.stage("dense", parents={"p": chain.pairs()}), (True, False, False), (True, False, False)),
        (lambda chain: chain.transfer(chain.own_sparse_model("x"), distillation=False), (False,) * 3, (False,) * 3),
        (lambda chain: chain.dense(seed=chain.cell.pruning_seed), (False, True, False), (False, True, False)),
    ],
)
def test_the_corpus_the_pruning_seed_and_released_models_are_found(
    stages: Callable[[Chain], StageSpec], here: tuple[bool, ...], released: tuple[bool, ...]
) -> None:
    for expected, with_released in ((here, False), (released, True)):
        found = needs(method(stages), released=with_released)
        assert found == Needs(corpus=expected[0], pruning_seed=expected[1], released=expected[2])
