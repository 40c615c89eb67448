import json
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_stages import PERCENT, SHARE
from grid_world import (
    SLICE,
    Ran,
    World,
    files_below,
    inputs,
    make_world,
    plan,
    python,
    write_data,
    write_model,
    write_weights,
)

from harness.store.store import Store
from harness.studies.study import read_study

Run = Callable[[list[str]], Ran]


def dry(run_harness: Run, arguments: list[str]) -> dict:
    done = run_harness([*arguments, "--dry-run", "--json"])
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def problems(run_harness: Run, arguments: list[str]) -> list[str]:
    """The problems of a grid that is refused, one a line."""
    done = run_harness(arguments)
    assert done.code == 2
    assert done.out == ""
    if done.err.startswith("error: "):
        (line,) = done.err.splitlines()
        return [line.removeprefix("error: ")]
    head, *lines = done.err.splitlines()
    assert head == f"{len(lines)} problems; nothing was started:"
    assert all(line.startswith("  - ") for line in lines)
    return [line.removeprefix("  - ") for line in lines]


# -- grid --dry-run


def test_the_public_form_of_a_plan(run_harness: Run, world: World) -> None:
    found = dry(run_harness, world.grid("--seeds", "0,1"))
    assert list(found) == ["study", "cells", "stages", "counts", "estimate", "settings"]
    assert found["study"] == "slice"
    assert len(found["cells"]) == 20
    assert len(found["stages"]) == 44
    for cell in found["cells"]:
        assert set(cell) == {
            "model",
            "method",
            "sparsity",
            "task",
            "quantization",
            "seed",
            "pruning_seed",
            "stages",
        }
    for stage in found["stages"]:
        assert set(stage) == {"id", "kind", "parents", "state", "reason", "detail"}
        assert (stage["state"], stage["reason"], stage["detail"]) == ("pending", "new", "")
    # Worked by hand in test_plan.
    assert found["counts"] == {
        "cells": 20,
        "stages": {
            "dense": 4,
            "evaluation": 20,
            "task_pruning": 4,
            "corpus": 1,
            "pairs": 1,
            "teacher_preparation": 1,
            "student_pruning": 1,
            "transfer": 8,
            "quantization": 4,
        },
        "to_run": 44,
        "reasons": {"new": 44},
    }


def test_the_stages_of_the_plan_come_parents_first_and_cells_point_into_them(run_harness: Run, world: World) -> None:
    found = dry(run_harness, world.grid())
    seen: set[str] = set()
    for stage in found["stages"]:
        assert set(stage["parents"]) <= seen
        seen.add(stage["id"])
    kinds = {stage["id"]: stage["kind"] for stage in found["stages"]}
    for cell in found["cells"]:
        assert set(cell["stages"]) <= seen
        assert kinds[cell["stages"][-1]] == "evaluation"


def test_a_dry_run_in_words_counts_cells_and_stages(run_harness: Run, world: World) -> None:
    done = run_harness(world.grid("--dry-run", "--methods", "prune-ofa", "--sparsities", "0,0.5", "--tasks", "sst2"))
    planned, _, cost = done.out.partition("\n\n")
    head, columns, _, *kinds, dropped = planned.splitlines()
    # prune-ofa at 0.5 on one task, one seed: corpus, pairs, two pre-training stages, teacher, transfer, evaluation.
    assert head == "study slice: 1 cell, 7 stages, 7 to run"
    assert columns.split() == ["stage", "pending"]
    assert {line.split()[0]: int(line.split()[1]) for line in kinds} == dict.fromkeys(
        ["corpus", "pairs", "teacher_preparation", "student_pruning", "dense", "transfer", "evaluation"], 1
    )
    assert dropped.startswith("dropped: prune-ofa at sparsity 0")
    assert cost.startswith("estimate")


def test_a_dry_run_creates_nothing(run_harness: Run, world: World) -> None:
    before = files_below(world.folder)
    dry(run_harness, world.grid())
    run_harness(world.grid("--dry-run"))
    assert not world.store.exists()
    assert files_below(world.folder) == before


def test_stage_ids_do_not_depend_on_place_store_order_or_process(
    run_harness: Run, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids(found: dict) -> set[str]:
        return {stage["id"] for stage in found["stages"]}

    here = dry(run_harness, world.grid("--tasks", "sst2,squad", "--seeds", "0,1"))
    elsewhere = make_world(tmp_path / "else" / "where")
    monkeypatch.chdir(elsewhere.folder)
    there = [
        "grid", "--preset", str(SLICE), "--models", "tiny=model", "--data", "data", "--store", "other",
        "--tasks", "squad,sst2", "--seeds", "1,0", "--study", "other", "--resource", "checkpoint_minutes=9",
        "--resource", "micro_batch_size=3",
        "--dry-run", "--json",
    ]  # fmt: skip
    done = python("-m", "harness", *there, cwd=elsewhere.folder)
    assert done.returncode == 0, done.stderr
    assert ids(json.loads(done.stdout)) == ids(here)


def test_another_byte_of_weights_or_data_is_another_stage(run_harness: Run, world: World) -> None:
    def ids(found: dict) -> set[str]:
        return {stage["id"] for stage in found["stages"]}

    base = ids(dry(run_harness, world.grid("--methods", "dense", "--tasks", "sst2")))
    write_weights(world.folder / "model", "other weights")
    weights = ids(dry(run_harness, world.grid("--methods", "dense", "--tasks", "sst2")))
    path = world.folder / "model" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layer_norm_eps": 1e-5}))
    config = ids(dry(run_harness, world.grid("--methods", "dense", "--tasks", "sst2")))
    assert not base & weights
    assert not weights & config


# -- invalid grids


def test_every_problem_of_a_grid_is_listed_in_one_answer_and_nothing_is_created(run_harness: Run, world: World) -> None:
    found = problems(
        run_harness,
        world.grid(
            "--methods", "prune-off,dense",
            "--sparsities", "85,0.5",
            "--tasks", "sst,squad",
            "--quantization", "int4",
            "--seeds", "-1",
            "--executor", "debgu",
            "--set", "transfer.learning_rat=1e-4",
            "--set", "transfer.batch_size=true",
            "--set", "epochs",
            "--resource", "checkpoint_minuts=3",
            models="minilm-l7",
            data=world.folder / "no-such-data",
        ),
    )  # fmt: skip
    expected = [
        ("model 'minilm-l7' is not known", "Did you mean 'minilm-l6'"),
        ("method 'prune-off' is not known", "Did you mean 'prune-ofa'"),
        ("sparsity 85", "For 85 percent write 0.85."),
        ("task 'sst' is not known", "Did you mean 'sst2'"),
        ("quantization 'int4' is not known", "Did you mean 'int8'"),
        ("seed -1", "0 or more"),
        ("executor 'debgu' is not known", "Did you mean 'debug'"),
        ("'transfer.learning_rat' is not known", "Did you mean 'transfer.learning_rate'"),
        ("--set transfer.batch_size=true", "True is bool, expected int"),
        ("--set epochs", "expected KEY=VALUE"),
        ("resource 'checkpoint_minuts' is not known", "Did you mean 'checkpoint_minutes'"),
        ("no-such-data does not exist", "correct the path"),
    ]
    assert len(found) == len(expected)
    for words, hint in expected:
        (problem,) = (problem for problem in found if words in problem)
        assert hint in problem
    assert not world.store.exists()


def test_with_json_the_problems_are_data_on_standard_output_and_sentences_on_standard_error(
    run_harness: Run, world: World
) -> None:
    words = world.grid("--tasks", "sst", "--sparse-from", "two words=DIR", "--executor", "lokal", "--seeds", "x")
    plain, done = run_harness(words), run_harness([*words, "--json"])
    assert (plain.code, plain.out) == (done.code, "") == (2, "")
    assert done.err == plain.err
    found = json.loads(done.out)
    assert list(found) == ["problems"]
    assert {problem["option"] for problem in found["problems"]} == {"tasks", "sparse-from", "executor", "seeds"}
    assert [f"  - {problem['message']}" for problem in found["problems"]] == plain.err.splitlines()[1:]
    missing = run_harness(world.reading("status", "--json"))
    assert missing.code == 2
    (problem,) = json.loads(missing.out)["problems"]
    assert problem["option"] is None
    assert problem["found"] == f"{world.store} holds no study"
    assert problem["next_move"] == "Start one with harness grid."
    named = json.loads(run_harness(world.reading("status", "--json", "--study", "mine")).out)["problems"][0]
    assert named["found"] == f"no study in {world.store}"
    assert named["next_move"] == "Start one with harness grid, or name its folder with --store."


def test_an_unknown_preset_or_study_is_one_thing_and_what_to_do_another(run_harness: Run, world: World) -> None:
    done = run_harness([*world.grid("--json"), "--preset", "papr"])
    (problem,) = json.loads(done.out)["problems"]
    assert problem["found"] == "preset 'papr' is not known"
    assert problem["next_move"].startswith("Did you mean 'paper'")
    assert problem["next_move"].endswith(" A file of your own is named FILE.toml.")
    for name in ("one", "two"):
        assert run_harness(world.grid("--study", name)).code == 0
    found = [
        json.loads(run_harness(world.reading("status", "--json", *words)).out)["problems"][0]
        for words in ((), ("--study", "thre"))
    ]
    assert [(problem["found"], problem["next_move"]) for problem in found] == [
        (f"{world.store} holds several studies: one, two", "Name one with --study."),
        ("study 'thre' is not known", "Known: one, two."),
    ]


@pytest.mark.parametrize("words", [["--dry-run"], ["--dry-run", "--json"], []])
def test_a_setting_that_is_given_twice_is_told(run_harness: Run, world: World, words: list[str]) -> None:
    given = ["transfer.epochs=1", "transfer.epochs=1", "dense.epochs=1", "transfer.epochs=2.5"]
    done = run_harness(world.grid(*words, *(word for each in given for word in ("--set", each))))
    assert done.code == 0
    assert [line for line in done.err.splitlines() if "counts" in line] == [
        "note: --set transfer.epochs: given 3 times; 2.5 counts."
    ]
    twice = ["--resource", "checkpoint_minutes=5", "--resource", "checkpoint_minutes=6"]
    done = run_harness(world.grid(*words, *twice, "--study", "other"))
    assert "note: --resource checkpoint_minutes: given twice; 6 counts.\n" in done.err


def test_a_record_that_cannot_be_trusted_is_a_problem_in_json(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    store = Store(world.store)
    path = store.stage(next(iter(read_study(store, "slice").plan.stages))).record_path
    path.write_text(path.read_text()[:100])
    done = run_harness(world.reading("tables", "--json"))
    assert done.code == 1
    (problem,) = json.loads(done.out)["problems"]
    assert done.err == f"error: {problem['message']}\n"


def test_models_named_one_by_one_add_up(run_harness: Run, world: World) -> None:
    other = write_model(world.folder / "other", weights="other weights")
    found = dry(run_harness, world.grid("--models", f"other={other}", "--tasks", "sst2", "--methods", "dense"))
    assert [cell["model"] for cell in found["cells"]] == ["other", "tiny"]


def test_an_unknown_preset_stands_beside_the_other_problems(run_harness: Run, world: World) -> None:
    found = problems(run_harness, world.grid("--preset", "reducd", "--tasks", "sst"))
    assert len(found) == 2
    assert "Did you mean 'reduced'" in found[0]
    assert "Did you mean 'sst2'" in found[1]


def test_a_seed_that_is_no_number_is_one_problem(run_harness: Run, world: World) -> None:
    (problem,) = problems(run_harness, world.grid("--seeds", "x"))
    assert problem == "--seeds x: expected a whole number."


def test_missing_settings_of_several_tasks_are_all_listed(run_harness: Run, world: World) -> None:
    write_data(world.folder / "data", tasks=["mnli", "qqp"])
    found = problems(run_harness, world.grid("--methods", "dense", "--tasks", "mnli,qqp"))
    for task in ("mnli", "qqp"):
        for key in ("max_length", "train_examples", "train_subset_seed"):
            assert sum(f"task.{task}.{key}" in problem for problem in found) == 1, f"{task} {key}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("micro_batch_size=-1", "a whole number of examples, 1 or more"),
        ("micro_batch_size=2.5", "a whole number of examples, 1 or more"),
        ("micro_batch_size=half", "a whole number of examples, 1 or more"),
        ("micro_batch_size=", "a whole number of examples, 1 or more"),
        ("micro_batch_size", "expected KEY=VALUE, for example checkpoint_minutes=5."),
        ("micro_batch_size=true", "a whole number of examples, 1 or more"),
        ("checkpoint_minutes=-1", "a number of minutes, 0 or more"),
        ("checkpoint_minutes=soon", "a number of minutes, 0 or more"),
        ("checkpoint_minutes=inf", "a number of minutes, 0 or more"),
        ("ranks=0", "a whole number of processes, 1 to 1024"),
        ("ranks=two", "a whole number of processes, 1 to 1024"),
        ("ranks=1.5", "a whole number of processes, 1 to 1024"),
        ("micro_batch_sise=4", "Did you mean 'micro_batch_size'"),
    ],
)
def test_a_bad_resource_is_named_with_what_it_may_be(run_harness: Run, world: World, value: str, expected: str) -> None:
    (problem,) = problems(run_harness, world.grid("--resource", value))
    assert problem.startswith(f"--resource {value}: ")
    assert expected in problem


def test_a_bad_study_name_stands_beside_the_other_problems(run_harness: Run, world: World) -> None:
    found = problems(run_harness, world.grid("--study", "a/b", "--tasks", "sst"))
    assert [word in " ".join(found) for word in ("study 'a/b'", "task 'sst'")] == [True, True]


def test_a_value_that_is_no_finite_number_is_refused(run_harness: Run, world: World) -> None:
    (problem,) = problems(run_harness, world.grid("--set", "transfer.learning_rate=NaN"))
    assert "transfer.learning_rate" in problem


@pytest.mark.parametrize("split", ["sst2/validation", "squad/train", "corpus/train"])
def test_a_missing_data_file_is_named(run_harness: Run, world: World, split: str) -> None:
    path = world.folder / "data" / f"{split}.parquet"
    path.unlink()
    (problem,) = problems(run_harness, world.grid())
    assert problem.startswith(f"{path}: not found")


def test_the_corpus_is_needed_only_by_methods_that_prune_in_pretraining(run_harness: Run, world: World) -> None:
    for split in ("train", "validation"):
        (world.folder / "data" / "corpus" / f"{split}.parquet").unlink()
    assert dry(run_harness, world.grid("--methods", "dense,finetune-pruning"))["counts"]["cells"] == 4


@pytest.mark.parametrize(("data", "words"), [(None, "--data is missing"), ("synthetic:x", "synthetic:SEED")])
def test_a_place_for_the_data_must_be_named(run_harness: Run, world: World, data: str | None, words: str) -> None:
    arguments = world.grid()
    place = arguments.index("--data")
    arguments = arguments[:place] + arguments[place + 2 :] + ([] if data is None else ["--data", data])
    (problem,) = problems(run_harness, arguments)
    assert words in problem


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without internet on which nothing was fetched."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.mark.usefixtures("empty_cache")
def test_what_is_not_cached_is_a_warning_of_the_dry_run_and_an_error_of_the_run(run_harness: Run, world: World) -> None:
    arguments = ["grid", "--models", "bert-base", "--tasks", "sst2", "--store", str(world.store)]
    dry_run = run_harness([*arguments, "--dry-run"])
    assert dry_run.code == 0
    # 6 rows of Table 1, one task, two seeds.
    assert "study paper: 12 cells" in dry_run.out
    run = run_harness(arguments)
    assert run.code == 2
    for said in (dry_run.err, run.err):
        for what in ("model 'bert-base'", "task 'sst2'", "the corpus"):
            assert said.count(f"{what}: ") == 1
        assert "--models bert-base=DIR" in said
    assert not world.store.exists()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--executor", "slurm", "--workers", "2"), "--workers has no meaning for the executor slurm. Use stages_at"),
        (("--executor", "local", "--max-jobs", "2"), "--max-jobs has no meaning for the executor local. Use --exec"),
        (("--profile", "cpu"), "--profile has no meaning for the executor debug. Use --executor slurm"),
        (("--executor", "slurm", "--max-jobs", "0"), "--max-jobs 0: expected 1 or more"),
        (("--executor", "slurm", "--profile", "cpo"), "Did you mean 'cpu'?"),
        (("--executor", "slurm", "--profile", "nowhere/p.toml"), "profile nowhere/p.toml does not exist"),
    ],
)
def test_options_that_the_executor_does_not_read_are_refused(
    run_harness: Run, world: World, words: tuple[str, ...], found: str
) -> None:
    assert any(found in problem for problem in problems(run_harness, world.grid(*words)))


def test_a_store_whose_path_slurm_would_change_is_refused(run_harness: Run, world: World) -> None:
    words = world.grid("--executor", "slurm")
    words[words.index("--store") + 1] = str(world.folder / "50%j")
    assert "has a %" in problems(run_harness, words)[0]


def test_where_there_is_no_slurm_nothing_is_submitted(
    run_harness: Run, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = run_harness(world.grid("--executor", "slurm"))
    assert done.code == 2
    assert "there is no sbatch on this machine. Submit from a login node, or use --executor local." in done.err
    assert not world.store.exists()


# -- models


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", '{"model_type": "brt", "num_hidden_layers": 2}', "Did you mean 'bert'"),
        ("config.json", '{"model_type": "bert", "vocab_size": 5}', "num_hidden_layers"),
        ("config.json", "{", "config.json"),
        ("config.json", "[]", "config.json"),
        ("model.safetensors", None, "no model.safetensors"),
        ("vocab.txt", None, "neither tokenizer.json nor vocab.txt"),
    ],
)
def test_a_model_folder_that_lacks_something_is_named(
    run_harness: Run, world: World, file: str, text: str | None, words: str
) -> None:
    path = world.folder / "model" / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    (problem,) = problems(run_harness, world.grid())
    assert problem.startswith("model 'tiny': ")
    assert words in problem


def test_every_bad_model_is_named(run_harness: Run, world: World) -> None:
    found = problems(run_harness, world.grid(models=f"minilm-l7,other={world.folder / 'nowhere'}"))
    assert len(found) == 2
    assert "Did you mean 'minilm-l6'" in found[0]
    assert "NAME=DIR" in found[0]
    assert f"model 'other': {world.folder / 'nowhere'} is no folder" in found[1]


def test_one_name_for_two_folders_is_refused(run_harness: Run, world: World) -> None:
    other = write_model(world.folder / "other", weights="other weights")
    (problem,) = problems(run_harness, world.grid(models=f"tiny={world.folder / 'model'},tiny={other}"))
    assert "'tiny'" in problem


def test_a_folder_without_a_name_is_refused(run_harness: Run, world: World) -> None:
    (problem,) = problems(run_harness, world.grid(models=f"={world.folder / 'model'}"))
    assert "NAME=DIR" in problem


# -- running, on stages without torch


def test_a_grid_runs_to_its_tables(run_harness: Run, world: World, fakes: ModuleType) -> None:
    done = run_harness(world.grid())
    assert done.code == 0
    assert "24 stages done, 0 failed, 0 blocked." in done.out
    status = run_harness(world.reading("status"))
    assert status.code == 0
    assert "study slice: 10 of 10 cells done" in status.out
    tables = run_harness(world.reading("tables", "--json"))
    assert tables.code == 0
    values = {(row["task"], row["metric"]): row["value"] for row in json.loads(tables.out)}
    assert values == {("sst2", "accuracy"): 100 * SHARE, ("squad", "exact_match"): PERCENT, ("squad", "f1"): PERCENT}


def test_the_same_grid_again_starts_nothing(run_harness: Run, world: World, fakes: ModuleType) -> None:
    run_harness(world.grid("--tasks", "sst2"))
    fakes.CALLS.clear()
    before = files_below(world.store / "records")
    done = run_harness(world.grid("--tasks", "sst2"))
    assert done.code == 0
    assert "0 to run" in done.out
    assert "0 stages done, 0 failed, 0 blocked." in done.out
    assert fakes.CALLS == []
    assert files_below(world.store / "records") == before
    found = dry(run_harness, world.grid("--tasks", "sst2"))
    assert {stage["state"] for stage in found["stages"]} == {"done"}
    assert found["counts"]["to_run"] == 0


def test_a_grid_with_a_failed_stage_ends_with_1_and_says_so_in_json(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    def fail(context: object) -> None:
        raise RuntimeError("weights exploded")

    fakes.ACTIONS["quantization"] = fail
    done = run_harness(world.grid("--tasks", "sst2", "--json"))
    assert done.code == 1
    found = json.loads(done.out)
    assert found["study"] == "slice"
    assert len(found["done"]) == 12
    assert list(found["failed"].values()) == ["RuntimeError: weights exploded"]
    assert len(found["blocked"]) == 1
    assert "weights exploded" in done.err


def test_commands_to_copy_are_quoted(run_harness: Run, tmp_path: Path) -> None:
    world = make_world(tmp_path / "two words")
    done = run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    (following,) = [line for line in done.out.splitlines() if line.startswith("next: ")]
    assert run_harness(shlex.split(following)[2:]).code == 0


def test_a_grid_ends_with_the_next_command(run_harness: Run, world: World, fakes: ModuleType) -> None:
    def fail(context: object) -> None:
        raise RuntimeError("weights exploded")

    words = world.grid("--tasks", "sst2", "--methods", "dense")
    study = f"--store {world.store} --study slice"
    fakes.ACTIONS["dense"] = fail
    done = run_harness(words)
    result, again, *following = done.out.splitlines()[-4:]
    assert (done.code, result) == (1, "0 stages done, 1 failed, 1 blocked.")
    assert again == "The same command tries what failed again."
    assert following == [f"next: harness logs failed {study}", f"next: harness status {study}"]
    for line in following:
        assert "weights exploded" in run_harness(shlex.split(line)[2:]).out
    fakes.ACTIONS.clear()
    done = run_harness(words)
    assert done.out.splitlines()[-2:] == ["2 stages done, 0 failed, 0 blocked.", f"next: harness tables {study}"]


# -- status and tables


def test_status_codes_are_4_while_cells_are_missing_1_after_a_failure_0_at_the_end(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    def fail(context: object) -> None:
        raise RuntimeError("weights exploded")

    def stop(context: object) -> None:
        raise KeyboardInterrupt

    fakes.ACTIONS["pairs"] = stop
    assert run_harness(world.grid("--tasks", "sst2")).code == 130
    done = run_harness(world.reading("status"))
    assert done.code == 4
    assert "study slice: 2 of 5 cells done" in done.out  # dense and fine-tune pruning need no corpus

    fakes.ACTIONS["pairs"] = fail
    assert run_harness(world.grid("--tasks", "sst2")).code == 1
    done = run_harness(world.reading("status"))
    assert done.code == 1
    (line,) = [line for line in done.out.splitlines() if line.startswith("failed: ")]
    assert "RuntimeError: weights exploded" in line
    found = json.loads(run_harness(world.reading("status", "--json")).out)
    assert found["cells"] == {"total": 5, "done": 2}
    (failed,) = found["failed"]
    assert Path(failed["log"]).read_text().rstrip().endswith("RuntimeError: weights exploded")
    states = {stage["id"]: stage["state"] for stage in found["stages"]}
    assert sorted(states.values()) == ["blocked"] * 8 + ["done"] * 5 + ["failed"]

    fakes.ACTIONS.clear()
    assert run_harness(world.grid("--tasks", "sst2")).code == 0
    assert run_harness(world.reading("status")).code == 0


def test_a_failure_that_was_mended_by_other_data_is_forgotten(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    def fail(context: object) -> None:
        raise ValueError("row 1 has no label")

    fakes.ACTIONS["dense"] = fail
    words = world.grid("--methods", "dense", "--tasks", "sst2")
    assert run_harness(words).code == 1
    fakes.ACTIONS.clear()
    mended = write_data(world.folder / "mended", tasks=["sst2"])
    pq.write_table(pa.table({"sentence": ["mended"], "label": [0]}), mended / "sst2" / "train.parquet")
    words[words.index("--data") + 1] = str(mended)
    assert run_harness(words).code == 0
    status = run_harness(world.reading("status"))
    assert "1 of 1 cell done" in status.out
    assert status.code == 0


def test_tables_of_an_unfinished_study_print_missing_and_end_with_4(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    def stop(context: object) -> None:
        raise KeyboardInterrupt

    fakes.ACTIONS["pairs"] = stop
    run_harness(world.grid("--tasks", "sst2"))
    done = run_harness(world.reading("tables"))
    assert done.code == 4
    # Five cells; dense and fine-tune pruning need no pairs and are done.
    assert sum("missing" in line for line in done.out.splitlines() if line.startswith("|")) == 3


WRITTEN = ("mine.md", "mine.tex", "mine.csv", "mine.html")


def test_tables_are_written_where_asked(run_harness: Run, world: World, fakes: ModuleType, tmp_path: Path) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense", "--study", "mine"))
    done = run_harness(world.reading("tables", "--out", str(tmp_path / "out")))
    assert (done.code, done.out.splitlines()) == (0, [str(tmp_path / "out" / name) for name in WRITTEN])
    assert (tmp_path / "out" / "mine.md").read_text() == run_harness(world.reading("tables")).out
    assert (tmp_path / "out" / "mine.csv").read_text() == run_harness(world.reading("tables", "--format", "csv")).out


@pytest.mark.parametrize("verb", ["status", "tables"])
def test_reading_verbs_write_nothing_and_say_what_is_not_there(
    run_harness: Run, world: World, fakes: ModuleType, verb: str
) -> None:
    done = run_harness(world.reading(verb))
    assert done.code == {"status": 2, "tables": 4}[verb]
    assert ("## Table 1: BERT-Base" in done.out) == (verb == "tables")  # what is published is there without a study
    assert "no study" in done.err
    assert not world.store.exists()
    run_harness(world.grid("--methods", "dense", "--tasks", "sst2"))
    before = files_below(world.store)
    run_harness(world.reading(verb))
    run_harness(world.reading(verb, "--json"))
    assert files_below(world.store) == before
    done = run_harness(world.reading(verb, "--study", "slce"))
    assert done.code == 2
    assert "Did you mean 'slice'" in done.err


def test_an_edited_record_ends_the_tables_with_one_clear_line(
    run_harness: Run, world: World, fakes: ModuleType
) -> None:
    run_harness(world.grid("--methods", "dense", "--tasks", "sst2"))
    store = Store(world.store)
    planned = read_study(store, "slice").plan
    path = store.stage(planned.endpoint(next(iter(planned.paths)))).record_path
    path.write_text(path.read_text().replace("0.5", "0.9"))
    done = run_harness(world.reading("tables"))
    assert (done.code, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert line.startswith(f"error: record {path} was changed after it was written")


@pytest.mark.parametrize("harm", ["edited", "torn", "another store's"])
def test_a_record_that_cannot_be_trusted_stops_a_grid_and_invalidate_lets_it_go_on(
    run_harness: Run, world: World, fakes: ModuleType, harm: str
) -> None:
    words = world.grid("--tasks", "sst2", "--methods", "dense")
    run_harness(words)
    store = Store(world.store)
    dense, evaluation = read_study(store, "slice").plan.stages
    path = store.stage(dense).record_path
    if harm == "edited":
        path.write_text(path.read_text().replace('"tokens_seen": 1000', '"tokens_seen": 1001'))
    elif harm == "torn":
        path.write_text(path.read_text()[:100])
    else:  # the same stage, run at another time: whole in itself, and not what its evaluation was made from
        record = {key: value for key, value in store.stage(dense).read_record().items() if key != "digest"}
        path.unlink()
        store.stage(dense).publish_record({**record, "times": {**record["times"], "started": 1.0}})
    fakes.CALLS.clear()
    bad = evaluation if harm == "another store's" else dense
    for command in ([*words, "--seeds", "0,1"], world.reading("tables")):
        done = run_harness(command)
        assert done.code == 1
        (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
        assert line.startswith(f"error: record {store.stage(bad).record_path} ")
        assert line.endswith(f"harness invalidate {bad} --store {world.store}")
    assert fakes.CALLS == []
    assert run_harness(["invalidate", bad, "--yes", "--store", str(world.store)]).code == 0
    assert run_harness([*words, "--seeds", "0,1"]).code == 0
    assert run_harness(world.reading("tables")).code == 0


# -- files where folders are meant, and the other way round


@pytest.mark.parametrize("below", ["", "/runs"])
def test_a_store_that_is_a_file_is_one_clear_line(
    run_harness: Run, world: World, fakes: ModuleType, below: str
) -> None:
    (world.folder / "afile").write_text("not a folder")
    store = f"{world.folder / 'afile'}{below}"
    for words in (world.grid(), world.grid("--dry-run"), ["status"], ["tables"], ["logs", "dense"], ["gc"]):
        done = run_harness([*words, "--store", store])
        assert done.code == 2
        (line,) = done.err.splitlines()
        assert line == f"error: store {store}: {world.folder / 'afile'} is a file. Name a folder with --store."
    assert fakes.CALLS == []


def test_tables_that_cannot_be_written_are_one_clear_line(run_harness: Run, world: World, fakes: ModuleType) -> None:
    run_harness(world.grid("--tasks", "sst2", "--methods", "dense"))
    (world.folder / "afile").write_text("not a folder")
    for out in (world.folder / "afile", world.folder / "afile" / "x"):
        done = run_harness(world.reading("tables", "--out", str(out)))
        assert (done.code, done.out) == (2, "")
        (line,) = done.err.splitlines()
        assert line.startswith(f"error: --out {out}: ")


def test_data_and_models_that_are_files_are_named_as_such(run_harness: Run, world: World) -> None:
    (world.folder / "afile").write_text("not a folder")
    listed = problems(run_harness, world.grid(data=world.folder / "afile", models=f"tiny={world.folder / 'afile'}"))
    assert len(listed) == 2
    assert "is no folder" in listed[0]
    assert f"data folder {world.folder / 'afile'} is a file" in listed[1]


# -- studies


def test_a_torn_study_says_how_its_grid_goes_on(run_harness: Run, world: World, fakes: ModuleType) -> None:
    words = world.grid("--tasks", "sst2", "--methods", "dense")
    assert run_harness(words).code == 0
    path = Store(world.store).study_path("slice")
    path.write_text(path.read_text()[:200])
    for command in (words, [*words, "--dry-run"], world.reading("status"), world.reading("tables")):
        done = run_harness(command)
        assert done.code == 1
        (line,) = done.err.splitlines()
        assert line.startswith(f"error: study {path} is damaged")
        assert "Move it away and give its grid's command again" in line
    path.rename(path.with_suffix(".torn"))
    fakes.CALLS.clear()
    assert run_harness(words).code == 0
    assert fakes.CALLS == [], "finished stages stay finished"


def test_one_study_name_for_two_recipes_is_refused(run_harness: Run, world: World, fakes: ModuleType) -> None:
    words = world.grid("--methods", "dense", "--tasks", "sst2")
    run_harness(words)
    before = files_below(world.store)
    for more in ([], ["--dry-run"]):
        (problem,) = problems(run_harness, [*words, "--set", "dense.epochs=7", *more])
        assert "study 'slice' has another recipe (it differs in dense.epochs)" in problem
        assert "--study NAME" in problem
    assert files_below(world.store) == before
    assert run_harness([*words, "--set", "dense.epochs=7", "--study", "longer"]).code == 0
    done = run_harness(world.reading("status"))
    assert done.code == 2
    assert "several studies: longer, slice" in done.err


def test_the_planner_and_the_command_line_count_alike(run_harness: Run, world: World) -> None:
    assert dry(run_harness, world.grid())["counts"]["stages"] == plan(found=inputs()).counts()
