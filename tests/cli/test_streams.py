"""Commands that are started with some of the standard streams closed, or with an encoding that lacks a letter."""

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from grid_world import HERE, Ran, World, environment

from harness.inputs.content_hashes import ContentHashes
from harness.inputs.data_sources import HubData
from harness.inputs.models import find_models
from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import merged, read_study, write_study
from harness.tasks import TASKS

Run = Callable[[list[str]], Ran]
FAKE = [sys.executable, "-P", str(HERE / "fake_stages.py")]


def shell(command: Sequence[str], closed: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run with redirections as a shell writes them."""
    line = f"{shlex.join(command)} {closed}"
    return subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("executor", ["debug", "local"])
def test_a_grid_runs_whichever_stream_is_closed_and_writes_none_of_it_into_the_store(
    world: World, closed: str, executor: str
) -> None:
    grid = world.grid("--tasks", "sst2", "--methods", "dense", "--executor", executor)
    done = shell([*FAKE, "--", *grid], closed, world.folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert ("stages done" in done.stdout) == (closed == "2>&-")
    store = Store(world.store)
    stages = read_study(store, "slice").plan.stages
    assert all(store.stage(stage_id).read_record()["stage_id"] == stage_id for stage_id in stages)
    printed = [path for path in world.store.rglob("*") if path.is_file() and b"stages done" in path.read_bytes()]
    assert printed == []


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_wrong_command_has_its_exit_code_all_the_same(world: World, closed: str) -> None:
    done = shell([*FAKE, "--", "grid", "--models", "none-of-that-name"], closed, world.folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_file_opened_later_gets_the_number_of_no_standard_stream(world: World) -> None:
    script = (
        "import os, harness.cli.streams as s; s.open_closed_streams(); os._exit(os.open('/dev/zero', os.O_RDONLY) > 2)"
    )
    assert shell([sys.executable, "-P", "-c", script], "<&- >&- 2>&-", world.folder).returncode == 1


# -- encodings that lack a letter


def spoken(encoding: str, *words: str, folder: Path, variables: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Exit code and all that a command prints, its errors among it."""
    variables = variables or {"PYTHONIOENCODING": encoding}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "harness", *words],
        cwd=folder,
        env={**environment(), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def compared(world: World) -> World:
    """A study with two seeds of a number that the paper prints too: its page has ± and Δ."""
    chosen = load_preset("paper")
    model = find_models([("bert-base", None)], ContentHashes()).models["bert-base"]
    identity = ModelIdentity(weights=model.weights, tokenizer=model.tokenizer)
    data = HubData().content_ids(TASKS.values(), corpus=True)
    cells = expand(Axes(models=["bert-base"], methods=["dense"], tasks=["sst2"], seeds=(0, 1)), chosen).cells
    plan = plan_cells(cells, chosen.recipe, Inputs(models={"bert-base": identity}, data=data))
    store = Store(world.store)
    write_study(store, merged(store, "mine", chosen, plan))
    for number, cell in enumerate(plan.paths):
        stage_id = plan.endpoint(cell)
        result = {"metrics": {"sst2": {"accuracy": 0.9 + number / 100}}, "cell_sparsity": 0.0}
        store.stage(stage_id).publish_record({**plan.stages[stage_id].fingerprint_fields(), "result": result})
    return world


@pytest.mark.parametrize(
    ("encoding", "signs"),
    [
        ("utf-8", ("90.50±0.71", "paper, Δ")),
        ("latin-1", ("90.50\xb10.71", "paper, delta")),
        ("ascii", ("90.50+/-0.71", "paper, delta")),
    ],
)
def test_a_table_is_printed_in_any_encoding(compared: World, encoding: str, signs: tuple[str, str]) -> None:
    code, printed = spoken(encoding, *compared.reading("tables"), folder=compared.folder)
    assert code == 0, printed
    text = printed.decode(encoding)
    assert all(sign in text for sign in signs), text


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_a_table_is_printed_in_the_c_locale(compared: World, variables: dict[str, str]) -> None:
    code, printed = spoken("", *compared.reading("tables"), folder=compared.folder, variables=variables)
    assert code == 0, printed
    assert b"90.50" in printed


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ls", "models", "Δ"], 2),
        (["grid", "--models", "\u0394=nowhere", "--dry-run"], 2),
        (["grid", "--models", "\udcff", "--dry-run"], 2),  # a byte that is no letter in the encoding of file names
        (["status", "--store", "no such \u0394"], 2),
        (["status", "--study", "\udcff\u0394"], 2),
        (["tables", "--out", "\u0394 \udcff"], 0),
        (["doctor", "--store", "\u0394"], None),
    ],
    ids=lambda value: ascii(value[:2]) if isinstance(value, list) else "",
)
def test_names_with_odd_letters_are_printed_in_any_encoding(
    compared: World, encoding: str, words: list[str], expected: int | None
) -> None:
    store = [] if "--store" in words or words[0] == "ls" else ["--store", str(compared.store)]
    code, printed = spoken(encoding, *words, *store, folder=compared.folder)
    assert b"Traceback" not in printed, printed
    assert b"UnicodeEncodeError" not in printed, printed
    assert printed
    assert code == expected or expected is None


def test_what_a_message_quotes_is_nothing_that_a_terminal_obeys(run_harness: Run, tmp_path: Path) -> None:
    """A store comes from somebody else, and so do the names and texts in its files."""
    store = tmp_path / "a\x1b[31m\u202eb"
    (store / "studies").mkdir(parents=True)
    (store / "studies" / "mine.json").write_text('{"\\u001b]0;title\\u0007": 1, "schema": "\\u001b[2J"}')
    for words in (["tables"], ["report"], ["tables", "--claims"], ["status"], ["plots", "--out", str(tmp_path / "o")]):
        done = run_harness([*words, "--store", str(store)])
        assert done.code == 1
        assert "\\x1b[31m\\u202eb" in done.err
        assert set(done.out + done.err) & {"\x1b", "\x07", "\u202e"} == set()
    done = run_harness(["merge", str(store), "--into", str(tmp_path / "new")])
    assert (done.code, set(done.err) & {"\x1b", "\u202e"}) == (1, set())
