"""What a method's own code can do wrong while a grid is planned: always one problem that names it and the line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from grid_world import Ran, World, write_data

from harness.planning.method_check import loading_problem
from harness.planning.method_entry_points import load_method
from harness.planning.method_needs import needs
from harness.planning.method_registry import get_method

Run = Callable[[Sequence[str]], Ran]

DECLARATION = """
from harness.plugin import Method, StageKind

OWN = StageKind(name="odd:lab", version=1, run="odd_lab:run", recipe={{}}, work="training")

def good(chain):
    return chain.transfer(chain.sparse_model(), distillation=False, epochs=1)

def stages(chain):
    {body}

METHOD = Method(name="odd", title="Odd", stages=stages, sparse=True, transfer_kd="no", note="n", kinds=(OWN,){more})
"""
LINE = 10  # of the body

# What stands in `stages`, and what is told of it. BAD: {place} is the file and the line.
BAD = {
    "raises": ("1 / 0", "its stages raised ZeroDivisionError: division by zero ({place})"),
    "raises nothing to say": ("raise OSError", "its stages raised OSError ({place})"),
    "raises what cannot be shown": (
        "raise type('Mute', (Exception,), {{'__str__': lambda self: 1 / 0}})()",
        "its stages raised Mute ({place})",
    ),
    "leaves": ("raise SystemExit(3)", "its stages raised SystemExit: 3 ({place})"),
    "recurses": ("return stages(chain)", "its stages called itself without end ({place})"),
    "a generator's end": ("raise GeneratorExit('x')", "its stages raised GeneratorExit: x ({place})"),
    "an exception beside Exception": (
        "raise type('Own', (BaseException,), {{}})('hello')",
        "its stages raised Own: hello ({place})",
    ),
    "asserts": ("assert False", "its stages raised AssertionError ({place})"),
    "returns nothing": ("good(chain)", "its stages returned None ({begin})"),
    "returns a text": ("return 'transfer'", "its stages returned the text 'transfer' ({begin})"),
    "returns an id": ("return good(chain).stage_id", "its stages returned the text '"),
    "returns a number": ("return 3", "its stages returned a value of type int ({begin})"),
    "returns the base model": (
        "return chain.pretrained_model()",
        "its stages returned a value of type PretrainedModel ({begin})",
    ),
    "returns what is not of the chain": (
        "from dataclasses import replace; return replace(good(chain), kind='dense')",
        "its stages returned a stage dense that it did not add to the chain ({begin})",
    ),
    "returns data": ("return chain.corpus()", "its stages returned a stage corpus, which makes no model ({begin})"),
    "returns an evaluation": (
        "return chain.evaluation(good(chain))",
        "its stages returned a stage evaluation, which makes no model ({begin})",
    ),
    "another task": (
        "return chain.stage('dense', task='squad' if chain.cell.task == 'sst2' else 'sst2')",
        "its stages returned a stage dense on another task, ",
    ),
    "a parameter that is no data": (
        "return chain.stage('dense', model=chain.cell.model, task=chain.cell.task, seed=object())",
        "its stages raised TypeError: ",
    ),
    "no such kind": ("return chain.stage('trnsfer')", "its stages: stage kind 'trnsfer' is not known. Did you mean"),
    "a wrong word": (
        "return chain.transfer(good(chain), distillation=False, epoch=1)",
        "its stages: transfer: setting 'epoch' is not known. Did you mean 'epochs'?",
    ),
    "other data": ("chain.inputs.data['mnli/test']; return good(chain)", "its stages raised KeyError: 'mnli/test' ("),
}


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """odd(body) -> the file of a module `odd_method` whose METHOD has that body of `stages`."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "site" / "odd_lab.py").write_text("")

    def made(body: str, more: str = "") -> Path:
        path = tmp_path / "site" / "odd_method.py"
        path.write_text(DECLARATION.format(body=body.replace("{{", "{").replace("}}", "}"), more=more))
        sys.modules.pop("odd_method", None)
        load_method.cache_clear()
        return path

    yield made
    sys.modules.pop("odd_method", None)
    load_method.cache_clear()


@pytest.mark.parametrize(("body", "told"), BAD.values(), ids=BAD)
def test_a_grid_with_it_is_one_problem_that_names_the_method_and_the_line(
    odd: Callable[..., Path], run_harness: Run, world: World, body: str, told: str
) -> None:
    path = odd(body)
    told = told.format(place=f"{path}:{LINE}", begin=f"{path}:{LINE - 1}")
    done = run_harness(world.grid("--methods", "dense,odd_method:METHOD", "--sparsities", "0.5,0.9", "--dry-run"))
    assert (done.code, done.out) == (2, "")
    (problem,) = done.err.splitlines()
    assert problem.startswith(f"error: method odd_method:METHOD: {told}")
    assert "as for tiny odd 0.5 " in problem
    assert problem.endswith(".")
    assert ".." not in problem.replace("(..)", "")


@pytest.mark.parametrize(("body", "told"), [pair for name, pair in BAD.items() if name != "other data"])
def test_the_check_plans_a_toy_cell_with_it(odd: Callable[..., Path], body: str, told: str) -> None:
    path = odd(body)
    told = told.format(place=f"{path}:{LINE}", begin=f"{path}:{LINE - 1}")
    problem = str(loading_problem("odd_method:METHOD"))
    assert problem.startswith(f"method odd_method:METHOD: {told}")


@pytest.mark.parametrize("where", ["stages", "module"])
def test_what_it_prints_is_not_heard(odd: Callable[..., Path], run_harness: Run, world: World, where: str) -> None:
    """A plan calls it for every cell, and as JSON the plan is all that standard output has."""
    path = odd("print('SAID'); return good(chain)" if where == "stages" else "return good(chain)")
    if where == "module":
        path.write_text(path.read_text() + "\nprint('SAID')\n")
    words = ["--methods", "odd_method:METHOD", "--tasks", "sst2", "--dry-run"]
    done = run_harness(world.grid(*words))
    assert done.code == 0
    assert "SAID" not in done.out + done.err
    assert json.loads(run_harness(world.grid(*words, "--json")).out)["cells"]


@pytest.mark.parametrize("where", ["stages", "module"])
def test_an_interrupt_in_it_is_the_users_and_is_said(
    odd: Callable[..., Path], run_harness: Run, world: World, where: str
) -> None:
    path = odd("raise KeyboardInterrupt" if where == "stages" else "return good(chain)")
    if where == "module":
        path.write_text("raise KeyboardInterrupt")
    done = run_harness(world.grid("--methods", "odd_method:METHOD", "--dry-run"))
    assert done == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def (:", "cannot be loaded (SyntaxError: invalid syntax) at {path}:1."),
        ("\n1 / 0", "cannot be loaded (ZeroDivisionError: division by zero) at {path}:2."),
        ("import odd_nowhere", "cannot be loaded (ModuleNotFoundError: No module named 'odd_nowhere') at {path}:1."),
        ("raise GeneratorExit", "cannot be loaded (GeneratorExit) at {path}:1."),
        ("class Own(BaseException): pass\nraise Own('x')", "cannot be loaded (Own: x) at {path}:2."),
        ("x = 1\0", "cannot be loaded (SyntaxError: source code string cannot contain null bytes) at {path}."),
    ],
)
def test_a_module_that_cannot_be_loaded_is_one_problem_whatever_its_settings(
    odd: Callable[..., Path], run_harness: Run, world: World, text: str, told: str
) -> None:
    """Its kinds are not known, so keys of them are not judged; those of others are."""
    path = odd("return good(chain)")
    path.write_text(text)
    words = ["--methods", "odd_method:METHOD", "--set", "odd:lab.epochs=3", "--dry-run"]
    done = run_harness(world.grid(*words))
    assert done.code == 2
    (problem,) = done.err.splitlines()
    assert problem.startswith(f"error: method: odd_method:METHOD {told.format(path=path)}")
    done = run_harness(world.grid(*words, "--set", "dense.epoch=3"))
    assert "--set dense.epoch=3: recipe key 'dense.epoch' is not known" in done.err
    preset = world.folder / "mine.toml"
    preset.write_text(
        'description = "d"\nextends = "reduced"\ntasks = ["sst2"]\n'
        'recipe."odd:lab".epochs = { value = 3, assumed = "so" }\n'
    )
    arguments = world.grid("--methods", "odd_method:METHOD", "--dry-run")
    arguments[arguments.index("--preset") + 1] = str(preset)
    assert run_harness(arguments).err.startswith(f"error: method: odd_method:METHOD {told.format(path=path)}")


@pytest.mark.parametrize("run", ["odd_nowhere:run", "odd_nowhere.stage:run", "odd_lab.stage:run"])
def test_a_kind_whose_module_is_not_there_is_found_while_planning(
    odd: Callable[..., Path], run_harness: Run, world: World, run: str
) -> None:
    path = odd("return good(chain)")
    path.write_text(path.read_text().replace("odd_lab:run", run))
    told = f"odd_method:METHOD: stage kind 'odd:lab' is run by {run}, and there is no {run.partition(':')[0]}."
    done = run_harness(world.grid("--methods", "odd_method:METHOD", "--dry-run"))
    assert done.code == 2
    assert done.err.startswith(f"error: method: {told}")
    done = run_harness(["ls", "methods", "odd_method:METHOD", "--check"])
    assert done.code == 1
    assert told in " ".join(done.out.split())


def test_looking_for_a_kinds_module_imports_nothing(odd: Callable[..., Path], run_harness: Run, world: World) -> None:
    path = odd("return good(chain)")
    (path.parent / "odd_package").mkdir()
    for name in ("__init__", "stage"):
        (path.parent / "odd_package" / f"{name}.py").write_text("raise AssertionError('imported')")
    path.write_text(path.read_text().replace("odd_lab:run", "odd_package.stage:run"))
    assert run_harness(world.grid("--methods", "odd_method:METHOD", "--dry-run")).code == 0


def test_one_that_is_named_by_its_place_can_be_checked(odd: Callable[..., Path], run_harness: Run) -> None:
    odd("return good(chain)")
    done = run_harness(["ls", "methods", "odd_method:METHOD", "--check", "--json"])
    assert (done.code, json.loads(done.out)) == (
        0,
        [{"name": "odd_method:METHOD", "package": "odd_method", "problem": None}],
    )
    odd("return None")
    (row,) = json.loads(run_harness(["ls", "methods", "odd_method:METHOD", "--check", "--json"]).out)
    assert row["problem"].startswith("method odd_method:METHOD: its stages returned None (")


def test_what_quantizes_is_called_in_the_same_place(odd: Callable[..., Path], run_harness: Run, world: World) -> None:
    path = odd("return good(chain)", ", quantize=lambda chain, model: None")
    words = ["--methods", "odd_method:METHOD", "--quantization", "int8", "--tasks", "sst2", "--dry-run"]
    done = run_harness(world.grid(*words))
    assert done.code == 2
    assert done.err.startswith(f"error: method odd_method:METHOD: its quantize returned None ({path}:12), as for")
    assert "its quantize returned None" in str(loading_problem("odd_method:METHOD"))


@pytest.mark.parametrize("value", ["3", "None", "'stages'"])
def test_stages_that_cannot_be_called_are_refused_where_they_are_declared(
    odd: Callable[..., Path], run_harness: Run, world: World, value: str
) -> None:
    path = odd("return good(chain)")
    path.write_text(path.read_text().replace("stages=stages", f"stages={value}"))
    done = run_harness(world.grid("--methods", "odd_method:METHOD", "--dry-run"))
    assert done.code == 2
    assert f"(ValueError: stages={value}: expected a function of a Chain.)" in done.err


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (('name="odd", title', "name=3, title"), "(ValueError: name=3: expected a text.)"),
        (('note="n"', "note=None"), "(ValueError: note=None: expected a text.)"),
        (("sparse=True", 'sparse="no"'), "(ValueError: sparse='no': expected True or False.)"),
        (('name="odd:lab"', "name=3"), "stage kind 3: run='odd_lab:run': expected a name and a run that are texts.)"),
        (('run="odd_lab:run"', "run=None"), "run=None: expected a name and a run that are texts.)"),
        (("recipe={}", 'recipe={}, identity="seed"'), "identity='seed': expected a tuple of names.)"),
        (("recipe={}", "recipe={}, task_data=[1]"), "task_data=[1]: expected a tuple of names.)"),
    ],
)
def test_a_declaration_of_other_types_is_refused(odd: Callable[..., Path], edit: tuple[str, str], told: str) -> None:
    path = odd("return good(chain)")
    assert edit[0] in path.read_text()
    path.write_text(path.read_text().replace(*edit))
    problem = str(loading_problem("odd_method:METHOD"))
    assert problem.startswith("method: odd_method:METHOD cannot be loaded (ValueError: ")
    assert told in problem


def test_data_that_are_read_by_name_count_as_what_the_method_needs(
    odd: Callable[..., Path], run_harness: Run, world: World
) -> None:
    """Its own kind reads the corpus, which no stage of the kind `corpus` shows."""
    odd("return chain.stage(OWN, inputs={'text': chain.inputs.data['corpus/train']}, task=chain.cell.task)")
    assert needs(get_method("odd_method:METHOD"), released=False).corpus
    assert loading_problem("odd_method:METHOD") is None
    words = world.grid("--methods", "odd_method:METHOD", "--tasks", "sst2", "--dry-run")
    assert run_harness(words).code == 0
    (world.folder / "data" / "corpus" / "train.parquet").unlink()
    done = run_harness(words)
    assert done.code == 2
    assert re.match(r"error: .*corpus/train.parquet: not found", done.err)


def test_a_corpus_that_only_some_cells_read_is_a_problem_of_the_method(
    odd: Callable[..., Path], run_harness: Run, world: World
) -> None:
    odd("return good(chain) if chain.cell.sparsity > 0.8 else chain.dense()")
    told = str(loading_problem("odd_method:METHOD"))
    assert told.startswith(
        "method odd_method:METHOD: its stages read the corpus at sparsity 0.85 and pruning seed 0, and not at 0.5"
    )
    write_data(world.folder / "data")
    done = run_harness(world.grid("--methods", "odd_method:METHOD", "--sparsities", "0.9", "--dry-run"))
    assert done.code == 2
    (problem,) = done.err.splitlines()
    assert problem.startswith("error: method odd_method:METHOD: its stages: method 'odd' reads corpus/train, which")


def test_a_method_that_looks_at_the_recipe_passes_the_check(odd: Callable[..., Path]) -> None:
    odd("chain.recipe.settings['transfer.batch_size'].value; return good(chain)")
    assert loading_problem("odd_method:METHOD") is None
