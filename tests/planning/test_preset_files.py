"""Presets of the user's own, read from a file; and the shipped presets, which are of the same form."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from grid_world import ROOT, SLICE, SPLITS, Ran, World, sentences, write_data

from harness.errors import UsageError
from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, expand
from harness.planning.kinds import KINDS
from harness.planning.method_registry import BUILT_IN
from harness.planning.planner import plan_cells
from harness.planning.preset import Rows, is_preset_file, load_preset, preset_names
from harness.specs import QUANTIZATIONS

Run = Callable[[Sequence[str]], Ran]
GOOD = """
description = "d"
tasks = ["sst2"]
rows = [{ method = "dense", sparsities = [0], quantization = ["none"] }]
"""


def write(folder: Path, text: str, name: str = "mine.toml") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def problems_of(path: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_preset(path)
    return sentences(caught.value)


# -- reading


@pytest.mark.parametrize("word", ["mine.toml", "./mine", "a/mine", "/a/mine.toml"])
def test_a_path_is_a_file(word: str) -> None:
    assert is_preset_file(word)


@pytest.mark.parametrize("word", ["paper", "reduced", "mine", "toml"])
def test_a_bare_word_is_a_shipped_preset(word: str) -> None:
    assert not is_preset_file(word)


def test_a_preset_file_is_named_by_its_stem_and_read_as_a_shipped_one(tmp_path: Path) -> None:
    found = load_preset(write(tmp_path, GOOD, "my.try-2.toml"))
    assert (found.name, found.tasks, found.seeds, found.data) == ("my.try-2", ("sst2",), (0,), None)
    assert found.rows == (Rows(method="dense", sparsities=(0.0,), quantization=("none",)),)


def test_a_preset_file_of_the_working_folder_needs_no_separator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    assert load_preset("mine.toml").name == "mine"


def test_what_a_file_does_not_say_it_takes_from_the_preset_it_extends(tmp_path: Path) -> None:
    base = load_preset("paper")
    text = 'description = "d"\nextends = "paper"\nnotes = ["mine"]\n'
    same = load_preset(write(tmp_path, text))
    assert (same.tasks, same.seeds, same.data, same.rows) == (base.tasks, base.seeds, base.data, base.rows)
    assert same.notes == (*base.notes, "mine")
    assert same.recipe_hash == base.recipe_hash
    other = load_preset(write(tmp_path, text + '[recipe.transfer]\nepochs = { value = 4.0, assumed = "a try" }\n'))
    before, after = base.recipe.settings, other.recipe.settings
    assert {key for key in before if before[key] != after[key]} == {"transfer.epochs"}
    assert (after["transfer.epochs"].value, after["transfer.epochs"].evidence) == (4.0, "assumed")


def test_the_example_of_the_readme_can_be_read(tmp_path: Path) -> None:
    _, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition("```toml\n")
    found = load_preset(write(tmp_path, rest.partition("```")[0]))
    cells = expand(Axes(models=["bert-base"]), found).cells
    # One row on one task, in fp32 and int8, with the paper's two seeds.
    assert len(cells) == 4
    assert {(cell.sparsity, cell.task) for cell in cells} == {(0.8, "sst2")}
    assert found.recipe.settings["transfer.epochs"].value == 3.0


# -- what is wrong with a file


def test_a_file_that_is_not_there_is_told_with_the_shipped_presets(tmp_path: Path) -> None:
    (problem,) = problems_of(str(tmp_path / "none.toml"))
    assert "none.toml does not exist" in problem
    assert "equal, methods, paper, paper-reference, paper-released, quick, reduced, sweep" in problem


def test_a_folder_is_no_preset(tmp_path: Path) -> None:
    (problem,) = problems_of(str(tmp_path))
    assert "cannot be read: Is a directory" in problem


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b'description = "\xff"')
    (problem,) = problems_of(str(tmp_path / "mine.toml"))
    assert "is not UTF-8 text (byte 15)" in problem


@pytest.mark.parametrize("text", [f"seeds = {'9' * 5000}", f"seeds = {'[' * 5000}"], ids=["digits", "deep"])
def test_what_python_cannot_read_is_not_toml(tmp_path: Path, text: str) -> None:
    (problem,) = problems_of(write(tmp_path, text))
    assert problem.startswith("preset 'mine' is not TOML: ")


def test_what_is_not_toml_is_told_with_its_line(tmp_path: Path) -> None:
    (problem,) = problems_of(write(tmp_path, 'description = "d"\ntasks = ["sst2"]\nrows\n'))
    assert problem.startswith("preset 'mine' is not TOML: ")
    assert "line 3" in problem


@pytest.mark.parametrize("name", preset_names())
def test_a_file_may_not_pass_for_a_shipped_preset(tmp_path: Path, name: str) -> None:
    (problem,) = problems_of(write(tmp_path, GOOD, f"{name}.toml"))
    assert f"{name!r} is a shipped preset" in problem


def test_an_empty_file_lacks_three_things(tmp_path: Path) -> None:
    problems = problems_of(write(tmp_path, ""))
    assert [problem.split(" is missing")[0] for problem in problems] == [
        f"preset 'mine': {key}" for key in ("description", "tasks", "rows")
    ]


def test_every_problem_of_a_file_is_listed_at_once(tmp_path: Path) -> None:
    text = """
extends = "papr"
notes = "one"
tasks = ["sst3", "qnli"]
taks = ["sst2"]
seeds = [0, -1]
data = 3

[[rows]]
method = "prune-off"
sparsities = [85, 0.5]
quantization = ["int4", "none"]

[[rows]]
models = "bert-base"
sparsity = [0.5]

[recipe.transfer]
learning_rat = { value = 1e-4, assumed = "x" }
batch_size = { value = true, assumed = "x" }
"""
    problems = problems_of(write(tmp_path, text))
    expected = [
        "description is missing",
        "'papr' is not known. Did you mean 'paper'",
        "notes = 'one': expected a list of texts",
        "task 'sst3' is not known. Did you mean 'sst2'",
        "key 'taks' is not known. Did you mean 'tasks'",
        "seeds: seed -1: expected 0 or more.",
        "data = 3: expected a text",
        "row 1: method 'prune-off' is not known. Did you mean 'prune-ofa'",
        "row 1: sparsity 85: expected a fraction in [0, 1). For 85 percent write 0.85.",
        "row 1: quantization 'int4' is not known. Did you mean 'int8'",
        "row 2: models = 'bert-base': expected a list of names",
        "row 2: method is missing",
        "row 2: sparsities is missing",
        "row 2: quantization is missing",
        "row 2: key 'sparsity' is not known. Did you mean 'sparsities'",
        "recipe key 'transfer.learning_rat' belongs to no stage kind",
        "transfer.batch_size: True is bool, expected int",
    ]
    assert all(problem.startswith("preset 'mine': ") for problem in problems)
    for words in expected:
        assert sum(words in problem for problem in problems) == 1, words
    assert len(problems) == len(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("description", "3"),
        ("description", '" "'),
        ("tasks", "[]"),
        ("tasks", '"sst2"'),
        ("tasks", '[["sst2"]]'),
        ("models", "[]"),
        ("models", '"tiny-wide"'),
        ("seeds", "[]"),
        ("seeds", "0"),
        ("seeds", "[true]"),
        ("seeds", "[0.0]"),
        ("notes", "[1]"),
        ("extends", '["paper"]'),
        ("rows", "[]"),
        ("rows", "[1]"),
        ("rows", "{ method = 1 }"),
        ("recipe", "3"),
        ("rows", '[{ method = ["dense"], sparsities = [0], quantization = ["none"] }]'),
        ("rows", '[{ method = "dense", sparsities = 0, quantization = ["none"] }]'),
        ("rows", '[{ method = "dense", sparsities = ["0"], quantization = ["none"] }]'),
        ("rows", '[{ method = "dense", sparsities = [nan], quantization = ["none"] }]'),
        ("rows", '[{ method = "dense", sparsities = [0], quantization = "none" }]'),
    ],
)
def test_a_value_of_another_form_is_one_problem(tmp_path: Path, key: str, value: str) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(key)]
    problems = problems_of(write(tmp_path, "\n".join([*lines, f"{key} = {value}"])))
    assert len(problems) == 1, problems


# -- on the command line


def test_a_grid_under_a_file_is_a_study_of_its_name(run_harness: Run, world: World, tmp_path: Path) -> None:
    path = write(tmp_path, SLICE.read_text(encoding="utf-8").replace('tasks = ["sst2", "squad"]', 'tasks = ["sst2"]'))
    done = run_harness(world.grid("--preset", path, "--dry-run", "--json"))
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert (found["study"], found["counts"]["cells"]) == ("mine", 5)
    # The file's place and name change no stage: they are those of the same preset elsewhere.
    under_slice = json.loads(run_harness(world.grid("--tasks", "sst2", "--dry-run", "--json")).out)
    assert found["stages"] == under_slice["stages"]


def test_the_problems_of_a_file_stand_beside_those_of_the_axes(run_harness: Run, world: World, tmp_path: Path) -> None:
    done = run_harness(world.grid("--preset", write(tmp_path, "tasks = [1]\n"), "--methods", "prune-off"))
    assert (done.code, done.out) == (2, "")
    for words in ("description is missing", "tasks = [1]", "rows is missing", "'prune-off' is not known"):
        assert done.err.count(words) == 1
    assert not world.store.exists()


def test_ls_prints_a_file_resolved(run_harness: Run, tmp_path: Path) -> None:
    text = 'description = "d"\nextends = "paper"\ntasks = ["sst2"]\n[recipe.transfer]\n'
    path = write(tmp_path, text + 'epochs = { value = 4.0, assumed = "a try" }\n')
    rows = json.loads(run_harness(["ls", "presets", path, "--json"]).out)
    assert len(rows) == len(load_preset("paper").recipe.settings)
    (changed,) = [row for row in rows if row["source or reason"] == "a try"]
    assert changed == {
        "key": "transfer.epochs *",
        "value": 4.0,
        "evidence": "assumed",
        "source or reason": "a try",
    }
    told = run_harness(["ls", "presets", path]).out.splitlines()
    assert "tasks: sst2; seeds: 0, 1" in told
    assert "row: prune-ofa at 0.9, quantization none, int8 (models bert-large)" in told


def test_ls_says_what_is_wrong_with_a_file(run_harness: Run, tmp_path: Path) -> None:
    done = run_harness(["ls", "presets", write(tmp_path, "")])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("3 problems; ")


# -- the shipped presets


@pytest.mark.parametrize("name", preset_names())
def test_every_row_of_a_shipped_preset_can_be_planned(name: str) -> None:
    preset = load_preset(name)
    assert preset.description
    for row in preset.rows:
        assert row.method in BUILT_IN
        assert set(row.quantization) <= set(QUANTIZATIONS)
    models = sorted({model for row in preset.rows for model in row.models or ("any",)})
    assert expand(Axes(models=models), preset).dropped == ()


def test_the_reduced_preset_on_one_model_is_195_cells_and_396_stages() -> None:
    """13 rows x 5 tasks x 3 seeds: dense; at 3 sparsities finetune-pruning, prune-ofa-no-kd, prune-ofa and its int8.

    Of each seed and task: transfer 3 x 2, quantization 3. student_pruning: one a sparsity, shared by all seeds.
    """
    preset = load_preset("reduced")
    data = {f"{task}/{split}": f"{task}/{split}" for task, splits in SPLITS.items() for split in splits}
    found = Inputs(models={"tiny": ModelIdentity(weights="w", tokenizer="t")}, data=data)
    plan = plan_cells(expand(Axes(models=["tiny"]), preset).cells, preset.recipe, found)
    assert len(plan.paths) == 195
    assert Counter(cell.task for cell in plan.paths) == dict.fromkeys(("sst2", "qnli", "qqp", "mnli", "squad"), 39)
    assert len(plan.stages) == 396
    assert plan.counts() == {
        "corpus": 1,
        "pairs": 1,
        "teacher_preparation": 1,
        "student_pruning": 3,
        "dense": 15,
        "task_pruning": 45,
        "transfer": 90,
        "quantization": 45,
        "evaluation": 195,
    }


def test_the_reduced_preset_trains_both_pre_training_stages_equally_long() -> None:
    recipe = load_preset("reduced").recipe
    prepared, pruned = (
        recipe.parameters(KINDS[kind], model="minilm-l6", task=None)
        for kind in ("teacher_preparation", "student_pruning")
    )
    assert prepared["steps"] == pruned["steps"]
    assert prepared["batch_size"] == pruned["batch_size"]


def test_the_sweep_preset_has_the_papers_methods_at_eight_sparsities_and_five_seeds() -> None:
    preset = load_preset("sweep")
    papers = ["dense", "finetune-pruning", "finetune-pruning-no-kd", "prune-ofa", "prune-ofa-no-kd"]
    sparsities = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97]
    assert {row.method: list(row.sparsities) for row in preset.rows} == {
        method: [0.0] if method == "dense" else sparsities for method in papers
    }
    cells = expand(Axes(models=list(preset.models)), preset).cells
    assert len(cells) == 3 * 5 * (1 + 4 * 8)  # tasks, seeds; dense and four methods
    assert {cell.seed for cell in cells} == {0, 1, 2, 3, 4}


def test_the_methods_preset_has_every_shipped_method_at_two_sparsities_and_five_seeds() -> None:
    preset = load_preset("methods")
    dense = {"dense", "dense-kd", "dense-prepared", "dense-prepared-kd", "dense-continued"}
    methods = {row.method for row in preset.rows}
    assert methods == set(BUILT_IN)
    for row in preset.rows:
        assert list(row.sparsities) == ([0.0] if row.method in dense else [0.85, 0.9])
    assert {row.method for row in preset.rows if "int8" in row.quantization} == {"dense", "prune-ofa"}
    cells = expand(Axes(models=list(preset.models)), preset).cells
    assert len(cells) == 3 * 5 * (6 + 2 * (len(methods) - 5 + 1))  # tasks, seeds; dense rows, sparse rows; int8 is one
    assert preset.recipe.settings == load_preset("quick").recipe.settings


def test_the_reduced_preset_is_planned_from_the_command_line(run_harness: Run, world: World) -> None:
    data = write_data(world.folder / "five", tasks=["sst2", "qnli", "qqp", "mnli", "squad"])
    done = run_harness([*world.grid("--dry-run", data=data), "--preset", "reduced"])
    assert done.code == 0, done.err
    assert done.out.startswith("study reduced: 195 cells, 396 stages, 396 to run\n")


def test_models_that_a_file_names_are_those_of_a_grid_that_names_none(run_harness: Run, world: World) -> None:
    def models(*arguments: str) -> set[str]:
        done = run_harness(["grid", *arguments, "--dry-run", "--json", "--store", str(world.store)])
        assert done.code == 0, done.err
        return {cell["model"] for cell in json.loads(done.out)["cells"]}

    assert models("--preset", "quick") == {"tiny-narrow"}
    assert models("--preset", "quick", "--models", "tiny-wide") == {"tiny-wide"}
    done = run_harness(["grid", "--preset", "paper", "--dry-run", "--store", str(world.store)])
    assert done.code == 2
    assert "--models is empty, here and in the preset" in done.err
    assert "harness ls models" in done.err
    assert "To try it: harness grid --preset quick." in done.err
    assert "To see a plan: harness grid --models bert-base --dry-run." in done.err


# -- what a grid would refuse


def listed(run_harness: Run, tmp_path: Path, text: str) -> list[str]:
    """The problems of `harness ls presets FILE`, each without its beginning."""
    path = tmp_path / "mine.toml"
    path.write_text('description = "d"\nextends = "quick"\n' + text)
    done = run_harness(["ls", "presets", str(path), "--json"])
    if done.code == 0:
        return []
    assert done.code == 2
    found = [problem["message"] for problem in json.loads(done.out)["problems"]]
    assert all(problem.startswith("preset 'mine': ") for problem in found)
    return [problem.removeprefix("preset 'mine': ") for problem in found]


@pytest.mark.parametrize("name", preset_names())
def test_a_shipped_preset_is_listed(run_harness: Run, name: str) -> None:
    assert run_harness(["ls", "presets", name]).code == 0


def test_ls_refuses_models_that_are_not_there(run_harness: Run, tmp_path: Path) -> None:
    assert listed(run_harness, tmp_path, "") == []
    found = listed(run_harness, tmp_path, f'models = ["tiny-wid", "mine={tmp_path / "absent"}", "tiny-wide"]')
    assert len(found) == 2
    assert found[0].startswith("model 'tiny-wid' is not known. Did you mean 'tiny-wide'")
    assert found[1].startswith(f"model 'mine': {tmp_path / 'absent'} is no folder.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('tasks = ["sst2", "sst3"]', "task 'sst3' is not known"),
        ("seeds = [0, 4294967296]", "seeds: seed 4294967296: expected 4294967295 or less"),
        ("seeds = [-1]", "seeds: seed -1: expected 0 or more."),
        ('[[rows]]\nmethod = "prune-of"\nsparsities = [0.5]\nquantization = ["none"]', "method 'prune-of' is not kn"),
        ('[[rows]]\nmethod = "prune-ofa"\nsparsities = [1.5]\nquantization = ["none"]', "sparsity 1.5: expected a fr"),
        ('[[rows]]\nmethod = "prune-ofa"\nsparsities = [0.5]\nquantization = ["int4"]', "'int4' is not known"),
        ('[[rows]]\nmethod = "prune-ofa"\nsparsities = [0.0]\nquantization = ["none"]', "the grid has no cell"),
        (
            "[recipe.student_pruning]\nramp_end = {value = 0.9, assumed = 'x'}",
            "student_pruning.ramp_end=0.9, student_pruning.last_event=0.8: expected mask updates until the ramp has",
        ),
        (
            "[recipe.transfer]\nce_weight = {value = 0, assumed = 'x'}\nkd_weight = {value = 0, assumed = 'x'}",
            "transfer.ce_weight=0.0, transfer.kd_weight=0.0: expected one of them above 0: else there is nothing",
        ),
    ],
)
def test_ls_refuses_what_a_grid_refuses(run_harness: Run, world: World, tmp_path: Path, text: str, words: str) -> None:
    found = listed(run_harness, tmp_path, text)
    assert words in found[0]
    done = run_harness(["grid", "--preset", str(tmp_path / "mine.toml"), "--store", str(world.store), "--dry-run"])
    assert (done.code, words in done.err) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ["--models", "tiny-wide"],
        ["--models", "tiny-wide", "--methods", "prune-ofa", "--tasks", "sst2"],
        [],
        ["--set", "transfer.epochs=1"],
        ["--data", "synthetic"],
    ],
)
def test_a_preset_that_cannot_be_read_is_the_only_problem_of_what_depends_on_it(
    run_harness: Run, tmp_path: Path, words: list[str]
) -> None:
    missing = tmp_path / "absent.toml"
    for preset, said in (("quik", "Did you mean 'quick'?"), (str(missing), f"preset file {missing} does not exist")):
        for verb in ("grid", "fetch"):
            given = words if verb == "grid" or "--store" not in words else []
            done = run_harness([verb, "--preset", preset, *given])
            assert done.code == 2
            assert done.err.startswith("error: ")  # one problem
            assert said in done.err


def test_beside_it_stands_what_does_not_depend_on_it(run_harness: Run) -> None:
    words = ["--models", "tiny-wid", "--tasks", "sst3", "--seeds", "-1", "--sparsities", "2", "--data", "nowhere"]
    done = run_harness(["grid", "--preset", "quik", *words, "--study", "a b"])
    for said in ("preset 'quik'", "model 'tiny-wid'", "task 'sst3'", "seed -1", "sparsity 2", "nowhere", "'a b'"):
        assert done.err.count(said) == 1, said
    assert done.err.startswith("7 problems")
