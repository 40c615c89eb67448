"""Methods of other packages, on made-up distributions: folders with metadata, as an installer leaves them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq
import pytest
from grid_world import Ran, World, inputs, of_kind, plan, preset, sentences
from sparse_files import write_sparse

from harness.errors import StoreError, UsageError
from harness.planning import method_entry_points as entry_points
from harness.planning.grid import Axes, expand
from harness.planning.method_check import check_method
from harness.planning.method_registry import BUILT_IN, get_method, installed_methods, is_method, method_names
from harness.planning.method_summary import MethodFacts
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import add_to_study, merged, read_study, write_study

Run = Callable[[Sequence[str]], Ran]
Install = Callable[..., Path]

# Prune OFA's sparse model, transferred in one epoch without a teacher.
GOOD = """
from harness.plugin import Method

def stages(chain):
    return chain.transfer(chain.sparse_model(), distillation=False, epochs=1)

METHOD = Method(
    name="short", title="Short", stages=stages, sparse=True, transfer_kd="no", note="n"
)
"""

KIND = """
from dataclasses import replace
from harness.plugin import StageKind

METHOD = replace(METHOD, kinds=(StageKind(name="short:lab", version=1, run="{}", recipe={{}}, work="data"),))
"""


def write_package(
    folder: Path,
    package: str,
    points: Mapping[str, str] | str,
    modules: Mapping[str, str] | None = None,
    *,
    version: str = "1.0",
) -> Path:
    """A distribution as an installer leaves it. points: name -> target of its methods, or the file's whole text."""
    metadata = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    if not isinstance(points, str):
        points = "\n".join(["[harness.methods]", *(f"{name} = {target}" for name, target in points.items())])
    (metadata / "entry_points.txt").write_text(points + "\n")
    for name, text in (modules or {}).items():
        (folder / f"{name}.py").write_text(text)
    return folder


def forget() -> None:
    entry_points.packaged_methods.cache_clear()
    entry_points.load_method.cache_clear()


@pytest.fixture(autouse=True)
def only_those_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else is installed in this environment is not seen by this process."""
    there = entry_points.distributions

    def made_here() -> Iterator[Distribution]:
        return (found for found in there() if Path(str(found.locate_file(""))).is_relative_to(tmp_path))

    monkeypatch.setattr(entry_points, "distributions", made_here)
    forget()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """install(package, points, modules, version=..) -> a folder that this process looks for packages in."""
    before = set(sys.modules)

    def made(
        package: str, points: Mapping[str, str] | str, modules: Mapping[str, str] | None = None, **more: str
    ) -> Path:
        folder = write_package(
            tmp_path / f"site-{package}-{len(list(tmp_path.iterdir()))}", package, points, modules, **more
        )
        monkeypatch.syspath_prepend(folder)
        forget()
        return folder

    yield made
    monkeypatch.undo()
    forget()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def short(install: Install) -> Path:
    return install("acme-methods", {"short": "acme_short:METHOD"}, {"acme_short": GOOD}, version="2.1")


# Target, the module's text (None: there is none), and what is told of it.
BROKEN: Mapping[str, tuple[str, str | None, str]] = {
    "module missing": ("acme_gone:METHOD", None, "(ModuleNotFoundError: No module named 'acme_gone')"),
    "attribute missing": ("acme_bad:METHODS", GOOD, "(AttributeError: module 'acme_bad' has no attribute 'METHODS')"),
    "not a method": (
        "acme_bad:stages",
        GOOD,
        "is a value of type function, expected a harness.plugin.Method named",
    ),
    "a class": ("acme_bad:Method", GOOD, "is the class Method, expected a harness.plugin.Method named"),
    "another name": ("acme_bad:METHOD", GOOD, "is a Method named 'short', expected 'broken' as its entry point says"),
    "raises": ("acme_bad:METHOD", "1 / 0", "acme_bad:METHOD cannot be loaded (ZeroDivisionError: division by zero)"),
    "raises nothing": ("acme_bad:METHOD", "raise OSError", "acme_bad:METHOD cannot be loaded (OSError)"),
    "leaves": ("acme_bad:METHOD", "raise SystemExit(3)", "acme_bad:METHOD cannot be loaded (SystemExit: 3)"),
    "no attribute named": ("acme_bad", GOOD, "its entry point is 'acme_bad', expected package.module:METHOD"),
    "no such quantization": (
        "acme_bad:METHOD",
        GOOD.replace('note="n"', 'note="n", quantization=("int4",)'),
        "(ValueError: quantization=('int4',): expected some of none, int8.)",
    ),
    "no such distillation": (
        "acme_bad:METHOD",
        GOOD.replace('"no"', '"maybe"'),
        "(ValueError: transfer_kd='maybe': expected one of yes, no, na.)",
    ),
}


@pytest.fixture(params=BROKEN)
def broken(install: Install, request: pytest.FixtureRequest) -> str:
    """A package whose method `broken` cannot be used; what is told of it."""
    target, text, told = BROKEN[request.param]
    install("acme-broken", {"broken": target}, {} if text is None else {"acme_bad": text}, version="0.3")
    return told


# -- naming one


@pytest.mark.usefixtures("short")
def test_what_the_method_fixes_enters_the_stage_in_the_recipes_type() -> None:
    (transfer,) = of_kind(plan(methods=["short"], tasks=["sst2"]), "transfer").values()
    (usual,) = of_kind(plan(methods=["prune-ofa-no-kd"], tasks=["sst2"]), "transfer").values()
    differing = {key for key in transfer.parameters if transfer.parameters[key] != usual.parameters[key]}
    assert differing == {"epochs"}
    assert repr(transfer.parameters["epochs"]) == "1.0"  # written as 1: the same stage as 1.0
    assert transfer.parents == usual.parents
    # The same epochs by the recipe: one and the same stage.
    (told,) = of_kind(plan("transfer.epochs=1", methods=["prune-ofa-no-kd"], tasks=["sst2"]), "transfer")
    assert transfer.stage_id == told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("epoch=1.0", "transfer: setting 'epoch' is not known. Did you mean 'epochs'?"),
        ("kd_weight=1.0", "transfer: setting 'kd_weight' is not known."),  # without a teacher nothing would read it
        ("epochs=-1.0", "transfer.epochs: -1.0: expected a number above 0."),
        ("epochs=True", "transfer.epochs: True is bool, expected float."),
        ("seed=3", "transfer: setting 'seed' is not known."),
    ],
)
def test_a_setting_that_a_stage_cannot_have_is_refused(install: Install, settings: str, told: str) -> None:
    install("acme-methods", {"short": "acme_short:METHOD"}, {"acme_short": GOOD.replace("epochs=1", settings)})
    with pytest.raises(UsageError) as caught:
        plan(methods=["short"])
    (problem,) = sentences(caught.value)
    assert problem.startswith(f"method 'short' of package acme-methods 1.0: its stages: {told.rstrip('.')}")
    assert "acme_short.py:5)" in problem


@pytest.mark.usefixtures("short")
def test_rows_of_a_preset_of_ones_own_may_name_it(run_harness: Run, world: World) -> None:
    path = world.folder / "mine.toml"
    path.write_text(
        'description = "d"\nextends = "reduced"\ntasks = ["sst2"]\nseeds = [0]\n'
        'rows = [{ method = "short", sparsities = [0.5, 0.7], quantization = ["none", "int8"] }]\n'
    )
    assert load_preset(str(path)).rows[0].method == "short"
    done = run_harness(["ls", "presets", str(path)])
    assert "row: short at 0.5, 0.7" in done.out
    arguments = world.grid("--dry-run", "--json")
    arguments[arguments.index("--preset") + 1] = str(path)
    found = json.loads(run_harness(arguments).out)
    # Two sparsities, each in fp32 and int8; the pre-training is shared but for the pruning.
    assert [cell["method"] for cell in found["cells"]] == ["short"] * 4
    assert found["counts"]["stages"] == {
        "corpus": 1,
        "pairs": 1,
        "teacher_preparation": 1,
        "student_pruning": 2,
        "transfer": 2,
        "evaluation": 4,
        "quantization": 2,
    }


@pytest.mark.usefixtures("short")
def test_its_name_is_suggested_and_is_no_name_for_a_checkpoint(run_harness: Run, world: World) -> None:
    done = run_harness(world.grid("--methods", "shrt"))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: method 'shrt' is not known. Did you mean 'short'")
    folder = write_sparse(world.folder / "sparse")
    done = run_harness(world.grid("--sparse-from", f"short={folder}"))
    assert done.code == 2
    assert f"--sparse-from short={folder}: 'short' is the name of a method." in done.err


def test_built_in_names_cost_no_look_at_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("looked at what is installed")

    forget()
    monkeypatch.setattr(entry_points, "distributions", refuse)
    planned = plan(methods=list(BUILT_IN))
    assert {cell.method for cell in planned.paths} == set(BUILT_IN)
    assert load_preset("paper").rows
    with pytest.raises(AssertionError, match="looked"):
        is_method("prune-off")


def test_packages_are_looked_at_once(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    look = entry_points.distributions
    monkeypatch.setattr(entry_points, "distributions", lambda: looks.append(1) or look())
    plan(methods=["short"], seeds=range(20))
    assert not is_method("nothing")
    assert len(looks) == 1


# -- one that cannot be used


def test_a_broken_one_is_one_problem_of_the_grid_that_names_it(run_harness: Run, world: World, broken: str) -> None:
    done = run_harness(world.grid("--methods", "dense,broken", "--tasks", "sst"))
    assert (done.code, done.out) == (2, "")
    head, task, method = done.err.splitlines()
    assert head == "2 problems; nothing was started:"
    assert "Did you mean 'sst2'" in task
    assert method.startswith("  - method 'broken' of package acme-broken 0.3: ")
    assert broken in method
    assert method.endswith("Mend or uninstall the package, or leave the method out.")


def test_a_broken_one_in_a_presets_rows_is_told_as_well(install: Install, run_harness: Run, world: World) -> None:
    install("acme-broken", {"broken": "acme_bad:METHOD"}, {"acme_bad": "1 / 0"})
    path = world.folder / "mine.toml"
    path.write_text(
        'description = "d"\nextends = "reduced"\ntasks = ["sst2"]\nseeds = [0]\n'
        'rows = [{ method = "broken", sparsities = [0.5], quantization = ["none"] }]\n'
    )
    arguments = world.grid("--dry-run")
    arguments[arguments.index("--preset") + 1] = str(path)
    done = run_harness(arguments)
    assert done.code == 2
    assert done.err.startswith("error: method 'broken' of package acme-broken 1.0: acme_bad:METHOD cannot be loaded")


def test_a_grid_that_names_no_broken_one_never_meets_it(run_harness: Run, world: World, broken: str) -> None:
    done = run_harness(world.grid("--dry-run", "--json"))
    assert (done.code, done.err) == (0, "")
    assert len(json.loads(done.out)["cells"]) == 10
    assert "acme_bad" not in sys.modules


def test_a_broken_one_is_told_by_the_check(broken: str) -> None:
    (found,) = installed_methods()
    told = check_method(found)
    assert told is not None
    assert told.startswith("method 'broken' of package acme-broken 0.3: ")
    assert broken in told
    assert "acme_bad" not in sys.modules


@pytest.mark.parametrize(
    ("text", "limit_seconds", "told"),
    [
        ("import torch\n" + GOOD, 30, "its declaration imports torch, which planning does without"),
        (GOOD + KIND.format("acme_odd:run"), 30, None),
        (
            GOOD + KIND.format("acme_lab.stage:run"),
            30,
            "'short:lab' is run by acme_lab.stage:run, and there is no acme_lab",
        ),
        (GOOD.replace("return chain", "chain"), 30, "its stages returned None ("),
        (GOOD.replace("return chain.transfer", "return stages"), 30, "its stages raised TypeError: stages() got"),
        ("import time; time.sleep(60)", 0.6, "acme_odd:METHOD was not loaded and planned within 0.6 seconds"),
        ("import os; os._exit(7)", 30, "loading acme_odd:METHOD ended the process with code 7 (it said nothing)"),
        ("import os; os._exit(0)", 30, "loading acme_odd:METHOD ended the process with code 0 (it said nothing)"),
        ("import os; os.write(2, b'a\\nlast words\\n'); os.abort()", 30, "ended the process with code -6 (last words)"),
        ("print('null')\n" + GOOD + "input()", 30, "EOFError"),
        ("print('null')\n" + GOOD, 30, None),  # what it prints is not taken for the answer
    ],
)
def test_the_check_outlives_what_the_code_does(
    install: Install, text: str, limit_seconds: float, told: str | None
) -> None:
    modules = {"acme_odd": text, "torch": ""}  # a torch of its own: the real one takes seconds to import
    folder = install("acme-odd", {"short": "acme_odd:METHOD"}, modules)
    assert sys.path[0] == str(folder)
    (found,) = installed_methods()
    said = check_method(found, limit_seconds)
    assert (said is None) == (told is None)
    assert told is None or told in str(said)


def test_a_built_in_name_stays_ours(install: Install, run_harness: Run, world: World) -> None:
    install("acme-dense", {"dense": "acme_dense:METHOD"}, {"acme_dense": "1 / 0"})
    assert get_method("dense").title == "Reference (dense)"
    assert run_harness(world.grid("--methods", "dense", "--dry-run")).code == 0
    why = "the name is a built-in method's, which stays in use; the package must choose another."
    listed = run_harness(["ls", "methods"])
    assert listed.code == 0
    assert listed.out.splitlines()[-1] == f"not listed: method 'dense' of package acme-dense 1.0: {why}"
    checked = run_harness(["ls", "methods", "--check", "--json"])
    assert checked.code == 1
    assert json.loads(checked.out) == [
        {"name": "dense", "package": "acme-dense 1.0", "problem": f"method 'dense' of package acme-dense 1.0: {why}"}
    ]


def test_a_name_that_two_packages_claim_is_neithers(
    short: Path, install: Install, run_harness: Run, world: World
) -> None:
    install("acme-other", {"short": "acme_short:METHOD"})
    done = run_harness(world.grid("--methods", "short"))
    assert done.code == 2
    assert "more than one entry point has that name (packages acme-methods, acme-other)." in done.err
    assert run_harness(["ls", "methods", "--check"]).code == 1
    assert "short" not in {row["name"] for row in json.loads(run_harness(["ls", "methods", "--json"]).out)}


def test_the_first_copy_of_a_package_counts(short: Path, install: Install) -> None:
    install("Acme.Methods", {"short": "acme_newer:METHOD"}, {"acme_newer": GOOD}, version="3.0")
    (found,) = installed_methods()
    assert (found.version, found.target) == ("3.0", "acme_newer:METHOD")


@pytest.mark.parametrize(
    ("points", "names", "told"),
    [
        ("[harness.methods]\nno equals sign", ["?"], "its entry_points.txt cannot be read"),
        ("[harness.methods]\nodd name = m:M", ["odd name"], "a name has at most 100 letters"),
        ("[harness.methods]\nsparse-from:x = m:M", ["sparse-from:x"], "a name has at most 100 letters"),
        (f"[harness.methods]\n{'x' * 101} = m:M", ["x" * 101], "a name has at most 100 letters"),
        ("[console_scripts]\nno equals sign", [], None),
    ],
)
def test_metadata_that_give_no_method_break_nothing(
    install: Install, run_harness: Run, world: World, points: str, names: list[str], told: str | None
) -> None:
    install("acme-odd", points)
    assert [found.name for found in installed_methods()] == names
    assert sorted(method_names()) == sorted(BUILT_IN)
    assert run_harness(world.grid("--methods", "prune-off")).code == 2
    done = run_harness(["ls", "methods", "--check"])
    assert done.code == (1 if names else 0)
    assert told is None or told in " ".join(done.out.split())


def test_a_package_without_metadata_is_called_so(short: Path) -> None:
    (short / "acme_methods-2.1.dist-info" / "METADATA").unlink()
    forget()
    (found,) = installed_methods()
    assert str(found) == "method 'short' of package (no name) (no version)"
    assert get_method("short").title == "Short"


# -- the list


@pytest.mark.usefixtures("short")
def test_the_list_names_it_with_its_package_and_imports_nothing(run_harness: Run) -> None:
    rows = json.loads(run_harness(["ls", "methods", "--json"]).out)
    assert [row["name"] for row in rows] == [*BUILT_IN, "short"]
    assert rows[-1]["note"] == "package acme-methods 2.1"
    assert "package acme-methods 2.1" in run_harness(["ls", "methods", "short"]).out
    assert "acme_short" not in sys.modules


@pytest.mark.usefixtures("short")
def test_the_check_in_words(install: Install, run_harness: Run) -> None:
    fine = run_harness(["ls", "methods", "--check"])
    assert fine.code == 0
    assert fine.out.splitlines()[-1].split() == ["short", "acme-methods", "2.1", "none"]
    install("acme-broken", {"broken": "acme_gone:METHOD"})
    both = run_harness(["ls", "methods", "--check"])
    assert both.code == 1
    assert [line.split()[0] for line in both.out.splitlines()[2:] if line[0] != " "] == ["broken", "short"]
    assert "ModuleNotFoundError" in both.out
    assert run_harness(["ls", "methods", "short", "--check"]).code == 0


def test_what_the_check_cannot_be_asked(run_harness: Run) -> None:
    forget()
    assert run_harness(["ls", "methods", "--check"]) == (0, "no other package provides methods.\n", "")
    assert run_harness(["ls", "methods", "--check", "--json"]) == (0, "[]\n", "")
    unknown = run_harness(["ls", "methods", "dense", "--check"])
    assert (unknown.code, unknown.err) == (2, "error: method of another package 'dense' is not known. Known: none.\n")
    other = run_harness(["ls", "presets", "--check"])
    assert (other.code, other.err) == (
        2,
        "error: --check is for methods: harness ls methods --check, not ls presets.\n",
    )


# -- a study outlives the package


def uninstall(folder: Path, module: str) -> None:
    sys.path.remove(str(folder))
    del sys.modules[module]
    forget()


def test_a_study_is_read_without_the_package(short: Path, run_harness: Run, world: World, fakes: ModuleType) -> None:
    grid = world.grid("--methods", "dense,short", "--tasks", "sst2", "--pruning-seeds", "4")
    assert run_harness(grid).code == 0
    readings = [world.reading(verb, *words) for verb, *words in (["status"], ["tables"], ["tables", "--json"], ["gc"])]
    before = [run_harness(words) for words in readings]
    rows = {row["method"]: row for row in json.loads(before[2].out)}
    assert (rows["short"]["transfer_kd"], rows["short"]["value"]) == ("no", 50.0)
    uninstall(short, "acme_short")
    assert [run_harness(words) for words in readings] == before
    again = run_harness(grid)
    assert again.code == 2
    assert again.err.startswith("error: method 'short' is not known.")
    assert run_harness(world.grid("--methods", "dense", "--tasks", "sst2")).code == 0  # another grid on that study
    assert [run_harness(words) for words in readings] == before


def test_a_study_keeps_who_provided_a_method(short: Path, store: Store) -> None:
    built_in = merged(store, "mine", preset(), plan(methods=["dense"]))
    assert built_in.as_json()["methods"] == {"dense": {"transfer_kd": "na", "prunes_in_pretraining": False}}
    write_study(store, merged(store, "mine", preset(), plan(methods=["short"])))
    facts = MethodFacts(package="acme-methods", version="2.1", transfer_kd="no", prunes_in_pretraining=True)
    assert read_study(store, "mine").plan.methods == {"short": facts}
    dense = MethodFacts(transfer_kd="na", prunes_in_pretraining=False)
    # Cells of others that are added take nothing away, and a later version that plans its cells anew is the one named.
    write_study(store, merged(store, "mine", preset(), plan(methods=["dense"])))
    assert read_study(store, "mine").plan.methods == {"short": facts, "dense": dense}
    (short / "acme_methods-2.1.dist-info" / "METADATA").write_text("Name: acme-methods\nVersion: 2.2\n")
    forget()
    write_study(store, merged(store, "mine", preset(), plan(methods=["short"])))
    assert read_study(store, "mine").plan.methods == {"short": replace(facts, version="2.2"), "dense": dense}


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("change", [('"transfer_kd": "no"', '"transfer_kd": "x"'), ('"version"', '"versoin"')])
def test_a_study_with_edited_facts_is_damaged(store: Store, change: tuple[str, str]) -> None:
    write_study(store, merged(store, "mine", preset(), plan(methods=["short"])))
    path = store.study_path("mine")
    before = path.read_text()
    assert before.count(change[0]) == 1 or change[0] == '"version"'
    path.write_text(before.replace(*change, 1))
    with pytest.raises(StoreError, match="is damaged"):
        read_study(store, "mine")


@pytest.mark.usefixtures("short")
def test_the_facts_of_every_method_are_kept() -> None:
    axes = Axes(models=["tiny"], methods=["prune-ofa", "short"], sparse_from={"mine": 0.5}, tasks=["sst2"])
    found = replace(inputs(), sparse_from={"mine": "checkpoint"})
    planned = plan_cells(expand(axes, preset()).cells, preset().recipe, found)
    assert {cell.method for cell in planned.paths} == {"prune-ofa", "short", "sparse-from:mine"}
    assert list(planned.methods) == ["prune-ofa", "short", "sparse-from:mine"]
    kept = {name: (facts.transfer_kd, facts.prunes_in_pretraining) for name, facts in planned.methods.items()}
    assert kept == {"prune-ofa": ("yes", True), "short": ("no", True), "sparse-from:mine": ("yes", False)}


def edited(folder: Path, before: str, after: str) -> None:
    """The package's module with another text, under the same version, as the next process would find it."""
    module = folder / "acme_short.py"
    assert module.read_text().count(before) == 1
    compiled_of = module.stat().st_mtime_ns
    module.write_text(module.read_text().replace(before, after))
    os.utime(module, ns=(compiled_of + 10**9,) * 2)  # Python takes a file of the same second and size for unchanged
    del sys.modules["acme_short"]
    forget()


@pytest.mark.parametrize(
    "more",
    [[], ["--seeds", "1"], ["--sparsities", "0.9"], ["--dry-run"]],
    ids=["the same cells", "another seed", "another sparsity", "dry run"],
)
def test_a_method_edited_under_the_same_version_does_not_join_its_older_cells(
    short: Path, run_harness: Run, world: World, fakes: ModuleType, more: list[str]
) -> None:
    grid = world.grid("--methods", "dense,short", "--sparsities", "0.85", "--tasks", "sst2")
    assert run_harness(grid).code == 0
    before = run_harness(world.reading("tables"))
    edited(short, "epochs=1", "epochs=2")
    assert run_harness([*grid, *more]) == (
        2,
        "",
        "error: study 'slice': method 'short' of package acme-methods 2.1 has changed: 1 cell of the study would have "
        "other stages, which differ in transfer.epochs (1.0 and 2.0), then and now. Give this grid its own name: "
        "--study NAME.\n",
    )
    assert run_harness(world.reading("tables")) == before
    assert run_harness([*grid, *more, "--study", "new"]).code == 0
    edited(short, "epochs=2", "epochs=1")
    assert run_harness([*grid, *more]).code == 0


def test_a_methods_other_data_and_versions_are_no_change_of_it(
    short: Path, run_harness: Run, world: World, fakes: ModuleType
) -> None:
    grid = world.grid("--methods", "short", "--tasks", "sst2")
    assert run_harness(grid).code == 0
    path = world.folder / "data" / "sst2" / "train.parquet"
    pq.write_table(pq.read_table(path).slice(0, 1), path)
    assert run_harness(grid).code == 0


def test_a_study_of_an_earlier_version_is_read_and_left_as_it_is(store: Store) -> None:
    """Without the facts of built-in methods: their declarations give them, and the same grid writes nothing."""
    whole = merged(store, "mine", preset(), plan())
    facts = dict(whole.plan.methods)
    assert {name for name, each in facts.items() if each.prunes_in_pretraining} == {"prune-ofa", "prune-ofa-no-kd"}
    write_study(store, replace(whole, plan=replace(whole.plan, methods={})))
    path = store.study_path("mine")
    before = path.read_bytes()
    assert b'"methods"' not in before
    assert read_study(store, "mine").plan.methods == facts
    add_to_study(store, "mine", preset(), plan())
    assert path.read_bytes() == before
    add_to_study(store, "mine", preset(), plan(seeds=(0, 1)))
    assert b'"methods"' in path.read_bytes()
