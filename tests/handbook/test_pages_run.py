"""Every command and every snippet of every page is run: here, or by the test that is named for it.

Here stages are made up (`fake_stages`), so that a page takes a second; what a stage computes is other tests' matter.
A grid of `methods/` is planned: `tests/methods/test_every_method.py` trains each method.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import fake_stages
import pytest
from grid_world import ROOT, write_data
from pages import Piece, commands, pieces, unrolled

from handbook import tree
from harness.cli.main import main
from harness.planning.kinds import StageKind
from slurm.profiles import load_profiles

OF_CI = "tests/handbook/test_pages_run.py::test_make_has_the_targets_that_pages_name"
OF_TENSORBOARD = "tests/tracking/test_page.py::test_commands_for_tensorboard"
OF_THE_OTHERS = "tests/tracking/test_page.py::test_commands_for_the_others"
# Page -> the test that runs all of its commands and reads its files.
ELSEWHERE = {
    "docs/cluster.md": "tests/cluster/test_guide.py::test_every_command_of_the_page_does_what_it_says",
    "docs/merging.md": "tests/cli/test_merging_page.py::test_every_command_of_the_page_runs",
    "docs/tables.md": "tests/paper_tables/test_guide_of_tables.py::test_every_command_runs",
    "docs/figures.md": (
        "tests/paper_tables/test_figures_page.py::test_the_commands_of_the_page_draw_the_files_that_it_names"
    ),
    "docs/gate.md": "tests/paper_tables/test_gate_guide.py::test_the_commands_of_the_page_run",
    "docs/report.md": "tests/paper_tables/test_report_guide.py::test_every_command_writes_the_page_that_it_names",
    "docs/statistics.md": "tests/paper_tables/test_statistics_page.py::test_a_command_of_the_page_runs",
    "docs/results.md": "tests/results/test_results_page.py::test_every_trace_runs",
    "docs/new-method.md": "tests/end_to_end/test_new_method.py::test_the_pages_commands_are_those_that_are_run_below",
    "docs/new-task.md": (
        "tests/end_to_end/test_new_task.py::test_the_pages_commands_run_and_its_file_is_not_needed_afterwards"
    ),
    "docs/own-model.md": "tests/handbook/test_pages_for_real.py::test_a_model_of_ones_own",
    "docs/export.md": "tests/handbook/test_pages_for_real.py::test_a_model_that_ships",
}
# (page, how the piece begins) -> the test that runs it.
PIECES_ELSEWHERE = {
    ("README.md", "make "): OF_CI,
    ("CONTRIBUTING.md", "make "): OF_CI,
    ("docs/quick-start.md", "make "): OF_CI,
    ("docs/benchmarks.md", "make "): OF_CI,
    ("README.md", "description"): "tests/planning/test_preset_files.py::test_the_example_of_the_readme_can_be_read",
    ("README.md", "import harness"): "tests/test_api.py::test_the_notebook_of_the_readme_runs",
    ("README.md", "harness grid --preset quick --models tiny-wide --sparse-from"): (
        "tests/end_to_end/test_sparse_from.py::test_ones_own_checkpoint_is_locked_transferred_quantized_and_tabulated"
    ),
    ("docs/new-encoder.md", 'name = "camembert"'): (
        "tests/inputs/test_declared_families.py::test_two_lines_declare_a_family_that_is_named_as_a_known_one"
    ),
    ("docs/new-encoder.md", 'name = "mpnet"'): (
        "tests/end_to_end/test_encoder_families.py::test_int8_is_scored_from_its_integers_and_packed"
    ),
    ("docs/new-encoder.md", "[project.entry-points"): (
        "tests/inputs/test_declared_families.py::test_an_entry_point_declares_a_family"
    ),
    ("docs/benchmarks.md", "python -m benchmarks"): (
        "tests/benchmarks/test_report.py::test_the_programs_take_the_commands_of_the_page"
    ),
    ("results/reduced/choices/learning-rates.md", "python"): (
        "tests/results/test_slice_of_train.py::test_all_tasks_are_cut_and_the_corpus_is_the_same"
    ),
    ("docs/tracking.md", "harness grid"): OF_TENSORBOARD,
    ("docs/tracking.md", "harness track --to tensorboard"): OF_TENSORBOARD,
    ("docs/tracking.md", "WANDB_MODE=offline harness track"): OF_THE_OTHERS,
    ("docs/tracking.md", "harness track --to mlflow,trackio"): OF_THE_OTHERS,
    ("docs/tracking.md", "import json"): "tests/tracking/test_page.py::test_its_package_is_a_tracker",
    ("docs/ranks.md", "[work.pretraining]"): (
        "tests/handbook/test_pages_run.py::test_the_profile_of_the_page_on_ranks_asks_for_what_it_says"
    ),
}
# What no test runs, and why. CONTRIBUTING.md names the pages.
NOT_RUN = {
    ("docs/quick-start.md", ". .venv/bin/activate"): "of the reader's shell; every test runs in that environment",
}
# What a page's words stand for here.
INSTEAD = {
    "docs/running.md": {
        " WHAT [-f]": " transfer",
        "invalidate WHAT [--yes]": "invalidate dense",
        " [--keep all|final|records] [--yes]": "",
        " WHAT": " transfer",
    },
    "docs/benchmarks.md": {"--data DIR": "--data data"},
    "methods/controls/README.md": {"--data DIR": "--data data --models minilm-l6"},
    "methods/movement/README.md": {" .. ": " --preset quick --models tiny-narrow "},
    "results/reduced/choices/learning-rates.md": {"--data SLICE": "--data data"},
}
# Commands that end otherwise than with 0, as their page says.
CODES: dict[str, int] = {}
PAGES = [page for page in tree.pages() if pieces(page)]


def of(table: dict[tuple[str, str], str], piece: Piece) -> str | None:
    return next(
        (told for (page, begin), told in table.items() if page == piece.page and piece.text.startswith(begin)), None
    )


def run_here(page: str) -> list[Piece]:
    if page in ELSEWHERE:
        return []
    return [piece for piece in pieces(page) if not of(PIECES_ELSEWHERE, piece) and not of(NOT_RUN, piece)]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: ModuleType) -> Path:
    """A folder to stand in, with data; every stage kind runs its fake, a method's own too."""
    (tmp_path / "results").symlink_to(ROOT / "results")
    write_data(tmp_path / "data", ("sst2", "squad", "qqp", "qnli", "mnli"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(StageKind, "function", lambda kind: fake_stages.run)
    return tmp_path


def ran(piece: Piece) -> list[tuple[list[str], int]]:
    """Each command of a line or loop with its exit code."""
    text = piece.text
    for theirs, ours in INSTEAD.get(piece.page, {}).items():
        text = text.replace(theirs, ours)
    lines = unrolled(text)
    is_planned = piece.page.startswith("methods/") and len(lines) == 1  # a loop's tables are of what its grids ran
    found = []
    for program, *words in (command for line in lines for command in commands(line)):
        assert program == "harness", f"{piece}: no test is named for it"
        if words[0] == "grid" and "--dry-run" not in words:
            words += ["--dry-run"] if is_planned else ["--executor", "debug"]
        found.append((words, main(words)))
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if run_here(page)])
def test_the_commands_of_a_page_run(
    page: str, place: Path, fakes: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    if page == "docs/running.md":
        prepare_failed(fakes)
    for piece in run_here(page):
        if piece.language == "python":
            exec(piece.text, {})
            continue
        for words, code in ran(piece):
            assert code == CODES.get(" ".join(words), 0), f"harness {' '.join(words)}\n{capsys.readouterr()}"


def prepare_failed(fakes: ModuleType) -> None:
    """A study whose transfers failed: what the commands for single stages are about."""
    fakes.ACTIONS["transfer"] = fake_stages.fail
    words = "grid --preset quick --methods dense,prune-ofa --tasks sst2 --seeds 0 --executor debug"
    assert main(words.split()) == 1
    fakes.ACTIONS.clear()


def test_pages_name_tests_that_there_are() -> None:
    for told in {*ELSEWHERE.values(), *PIECES_ELSEWHERE.values()}:
        file, _, name = told.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), told
    for page, told in ELSEWHERE.items():
        file = ROOT / told.partition("::")[0]
        assert Path(page).name in file.read_text(encoding="utf-8"), (page, told)


def test_nothing_is_excused_that_no_page_has() -> None:
    everything = [piece for page in PAGES for piece in pieces(page)]
    for table in (PIECES_ELSEWHERE, NOT_RUN):
        for page, begin in table:
            assert any(piece.page == page and piece.text.startswith(begin) for piece in everything), (page, begin)
    assert {page for page in ELSEWHERE if page not in PAGES} == set()
    for page, words in INSTEAD.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [theirs for theirs in words if theirs not in text] == []


def test_what_is_not_run_is_said() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert all(f"`{begin}` ({page})" in told for page, begin in NOT_RUN)


def test_make_has_the_targets_that_pages_name() -> None:
    """CI runs environment, lint, test, test-cluster and every slow test (.ci/run); the rest are there."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {piece.text.split()[1] for page in PAGES for piece in pieces(page) if piece.text.startswith("make ")}
    assert {"demo", "test", "environment", "bench"} <= named
    assert named <= targets


def test_the_profile_of_the_page_on_ranks_asks_for_what_it_says(tmp_path: Path) -> None:
    (text,) = (piece.text for piece in pieces("docs/ranks.md") if piece.language == "toml")
    (tmp_path / "mine.toml").write_text(f'[default]\ntime = "01:00:00"\n{text}', encoding="utf-8")
    profile = load_profiles(str(tmp_path / "mine.toml")).for_stage("student_pruning", "pretraining")
    assert "eight ranks" in text
    assert (profile.nodes * profile.tasks, profile.gpus, profile.cpus) == (8, 4, 8)
