"""`--track` and `harness track` as they are given: in a process of its own, behind the records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest
from filled_stores import finish
from grid_world import Ran, World, environment, files_below, python
from tracked_store import filled, install_trackers, lines_of, result

from harness.store.store import Store
from harness.studies.study import read_study
from harness.tracking import behind, trackers
from harness.tracking.behind import tracked
from harness.tracking.trackers import track_problems

Run = Callable[[Sequence[str]], Ran]
SMALL = ("--tasks", "sst2", "--methods", "dense")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Trackers `lines` and `other`."""
    install_trackers(tmp_path / "site", monkeypatch, "lines", "other")
    yield tmp_path
    for name in ("lines", "other"):
        sys.modules.pop(f"tracker_{name}", None)


def test_a_grid_writes_what_it_runs_and_json_stays_json(run_harness: Run, world: World, fake: Path) -> None:
    ran = run_harness([*world.grid(*SMALL, "--json"), "--track", "lines,other"])
    assert (ran.code, json.loads(ran.out)["study"]) == (0, "slice")
    assert "banner" not in ran.out + ran.err
    stages = read_study(Store(world.store), "slice").plan.stages
    for name in ("lines", "other"):
        assert [line["stage"] for line in lines_of(world.store / "trackers", name)] == list(stages)
    log = (world.store / "trackers" / "slice.log").read_text()
    assert "a banner on standard output" in log
    assert "a banner of a process of its own" in log


def test_the_same_command_writes_only_what_is_missing(run_harness: Run, world: World, fake: Path) -> None:
    run_harness(world.grid(*SMALL))  # without a tracker
    grid = [*world.grid(*SMALL, "--seeds", "0,1"), "--track", "lines"]
    assert run_harness(grid).code == 0
    assert run_harness(grid).code == 0
    assert run_harness(world.reading("track", "--to", "lines")).code == 0
    written = [line["stage"] for line in lines_of(world.store / "trackers", "lines")]
    assert sorted(written) == sorted(read_study(Store(world.store), "slice").plan.stages)


def test_identities_and_records_are_the_same_with_a_tracker_and_without(
    run_harness: Run, world: World, fake: Path, tmp_path: Path
) -> None:
    run_harness([*world.grid(*SMALL), "--track", "lines"])
    tracked_study = (world.store / "studies" / "slice.json").read_bytes()
    with_tracker = set(files_below(world.store / "records"))
    text = "".join(path.read_text() for path in (world.store / "records").rglob("*.json"))
    assert "lines" not in text
    world.store.rename(tmp_path / "tracked")
    run_harness(world.grid(*SMALL))
    assert (world.store / "studies" / "slice.json").read_bytes() == tracked_study
    assert set(files_below(world.store / "records")) == with_tracker


@pytest.mark.parametrize("word", ["FAIL_OPEN", "FAIL_WRITE", "FAIL_CLOSE"])
def test_a_failing_tracker_costs_one_warning_and_nothing_else(
    run_harness: Run, world: World, fake: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv(word, "lines")
    ran = run_harness([*world.grid(*SMALL), "--track", "lines,other"])
    assert ran.code == 0
    (warning,) = [line for line in ran.err.splitlines() if line.startswith("warning:")]
    assert "tracker lines: " in warning
    later = f"harness track --to lines --store {world.store} --study slice"
    assert warning.endswith(later)
    stages = list(read_study(Store(world.store), "slice").plan.stages)
    assert [line["stage"] for line in lines_of(world.store / "trackers", "other")] == stages
    assert Store(world.store).finished(stages) == set(stages)
    monkeypatch.delenv(word)
    assert run_harness(later.split()[1:]).code == 0
    assert [line["stage"] for line in lines_of(world.store / "trackers", "lines")] == stages


def test_a_writer_that_dies_costs_one_warning_for_each_tracker(
    run_harness: Run, world: World, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIE", "other")
    ran = run_harness([*world.grid(*SMALL), "--track", "lines,other"])
    assert ran.code == 0
    warnings = [line for line in ran.err.splitlines() if line.startswith("warning:")]
    assert [line.split(":")[1] for line in warnings] == [" tracker lines", " tracker other"]
    assert f"its process ended early, see {world.store / 'trackers' / 'slice.log'}" in warnings[0]


def test_a_tracker_that_hangs_is_left_after_a_while(
    world: World, fake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    filled(tmp_path / "runs")
    monkeypatch.setenv("HANG", "lines")
    monkeypatch.setattr(behind, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(behind, "SILENT_SECONDS", 0.1)
    begun = time.monotonic()
    writer = behind.Behind(Store(tmp_path / "runs"), "mine", ["lines"], tmp_path / "out", patience=4.0)
    writer.start()
    writer.finish()
    assert time.monotonic() - begun < 30
    err = capsys.readouterr().err
    assert "writing to lines; Ctrl-C leaves the rest to harness track --to lines --out " in err
    assert "warning: tracker lines: not a word for 4 s." in err


def test_a_run_that_is_stopped_stops_its_writer_at_once(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(fake / "runs")
    monkeypatch.setenv("HANG", "lines")
    running = tracked(Store(fake / "runs"), "mine", ["lines"])
    found = running.__enter__()
    assert found is not None
    _wait(lambda: "a banner" in _text(fake / "runs" / "trackers" / "mine.log"))  # it hangs in the first stage
    begun = time.monotonic()
    assert not running.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert found._process.poll() is not None
    assert time.monotonic() - begun < 5


def test_records_of_another_machine_are_caught_up_while_a_run_goes_on(fake: Path) -> None:
    study = filled(fake / "runs", without=("evaluation",))
    out = fake / "runs" / "trackers"
    with tracked(Store(fake / "runs"), "mine", ["lines"]):
        _wait(lambda: len(lines_of(out, "lines")) >= 3)
        finish(fake / "runs", study, who="a node", result=result)
        before = time.time()
        _wait(lambda: len(lines_of(out, "lines")) == len(study.plan.stages))
    assert lines_of(out, "lines")[-1]["at"] >= before  # while the block ran, not at its end


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _wait(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_two_writers_of_a_study_take_turns(fake: Path) -> None:
    study = filled(fake / "runs")
    threads = [
        threading.Thread(target=lambda: subprocess.run(_track(fake / "runs"), env=environment(fake / "site")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [line["stage"] for line in lines_of(fake / "runs" / "trackers", "lines")]
    assert written == list(study.plan.stages)


def _track(store: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "harness", "track", "--to", "lines", "--store", str(store)]


def test_the_verb_says_what_it_wrote_and_where(run_harness: Run, fake: Path) -> None:
    study = filled(fake / "runs", without=("evaluation",))
    words = ["track", "--store", str(fake / "runs"), "--to", "lines", "--out", str(fake / "shown")]
    ran = run_harness(words)
    done = sum(spec.kind != "evaluation" for spec in study.plan.stages.values())
    place = f"{fake / 'shown' / 'lines'} mine"
    assert (ran.code, ran.err) == (4, "")  # evaluations are not finished
    assert ran.out == f"lines: {done} stages written, 0 there before: {place}\n  to look at it: cat lines\n"
    finish(fake / "runs", study, result=result)
    ran = run_harness([*words, "--json"])
    (told,) = json.loads(ran.out)["trackers"]
    assert (ran.code, told["written"], told["found"], told["place"]) == (0, len(study.plan.stages) - done, done, place)
    assert not (fake / "runs" / "trackers").exists()


def test_the_verb_that_fails_ends_with_1(run_harness: Run, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(fake / "runs")
    monkeypatch.setenv("FAIL_WRITE", "lines")
    ran = run_harness(["track", "--store", str(fake / "runs"), "--to", "lines,other", "--json"])
    assert ran.code == 1
    assert [each["reason"] for each in json.loads(ran.out)["trackers"]] == [
        "RuntimeError: the server said no. And more of it.",
        None,
    ]


def test_the_verb_refuses_records_that_cannot_be_trusted(run_harness: Run, fake: Path) -> None:
    study = filled(fake / "runs")
    path = Store(fake / "runs").stage(next(iter(study.plan.stages))).record_path
    path.write_text(path.read_text().replace('"started": 1.0', '"started": 1.5'))
    ran = run_harness(["track", "--store", str(fake / "runs"), "--to", "lines"])
    assert ran.code == 1
    assert "was changed after it was written" in ran.err
    assert not (fake / "runs" / "trackers").exists()


def test_all_that_is_wrong_is_told_before_anything_starts(
    run_harness: Run, world: World, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "locate", lambda name: None)
    grid = world.grid(*SMALL, "--seeds", "x")
    for words in ([*grid, "--track", "linse,wandb", "--dry-run"], [*grid, "--track", "linse", "--track", "wandb"]):
        ran = run_harness(words)
        assert ran.code == 2
        assert "tracker 'linse' is not known. Did you mean 'lines'? Known: lines, mlflow, other, " in ran.err
        assert "--track wandb: wandb is not installed. pip install 'encoder-compression-harness[wandb]'" in ran.err
        assert "seeds x" in ran.err
    assert not world.store.exists()
    empty = run_harness([*world.grid(*SMALL), "--track", ""])
    assert (empty.code, "--track ''" in empty.err) == (2, True)


@pytest.mark.parametrize("stands", ["a file", "a link to nothing"])
def test_a_folder_that_cannot_be_is_told_before_the_grid_starts(
    run_harness: Run, world: World, fake: Path, stands: str
) -> None:
    world.store.mkdir()
    in_the_way = world.store / "trackers"
    in_the_way.write_text("") if stands == "a file" else in_the_way.symlink_to(world.folder / "nowhere")
    ran = run_harness([*world.grid(*SMALL), "--track", "lines"])
    assert ran.code == 2
    assert f"the trackers' folder {in_the_way}: {in_the_way} is {stands}. " in ran.err
    assert "harness track --to NAME --out DIR" in ran.err
    assert not (world.store / "studies").exists()


def test_a_read_only_place_is_told(mounted: Callable[[str], Path]) -> None:
    folder = mounted("size=1m")
    assert track_problems(["tensorboard"], folder / "out") == [] or trackers.BUILT_IN["tensorboard"].absent()
    mounted("remount,ro")
    (problem,) = track_problems([], folder / "out")
    assert f"{folder} cannot be written" in problem.message


def test_a_package_whose_tracker_is_none_is_named(run_harness: Run, world: World, fake: Path) -> None:
    (fake / "site" / "tracker_lines.py").write_text("TRACKER = 3\n")
    (fake / "site" / "tracker_other.py").write_text("raise RuntimeError('half a package')\n")
    ran = run_harness([*world.grid(*SMALL), "--track", "lines,other"])
    assert ran.code == 2
    assert "entry point tracker_lines:TRACKER is 3, expected a Tracker named 'lines'" in ran.err
    assert "cannot be loaded (RuntimeError: half a package)" in ran.err


def test_a_cluster_is_told_how_to_catch_up(
    run_harness: Run, world: World, fake: Path, stub: object, fakes: ModuleType
) -> None:
    words = world.grid(*SMALL)
    words[words.index("debug")] = "slurm"
    ran = run_harness([*words, "--track", "lines"])
    assert ran.code == 0, ran.err
    assert f"next: harness track --to lines --store {world.store} --study slice" in ran.out.splitlines()
    study = read_study(Store(world.store), "slice")
    finish(world.store, study, who="a node", result=result)
    assert run_harness(world.reading("track", "--to", "lines")).code == 0
    assert len(lines_of(world.store / "trackers", "lines")) == len(study.plan.stages)


IMPORTS = """
import sys
from harness.cli.main import main
LIBRARIES = {"tensorboard", "wandb", "mlflow", "trackio", "torch", "sqlalchemy", "alembic"}
main(sys.argv[1:])
print([name for name in sys.modules if name.partition(".")[0] in LIBRARIES or name.startswith("harness.tracking")])
main([*sys.argv[1:], "--track", "tensorboard,wandb,mlflow,trackio"])
print([name for name in sys.modules if name.partition(".")[0] in LIBRARIES])
"""


def test_without_track_nothing_of_it_is_imported_and_with_it_no_library(world: World) -> None:
    done = python("-c", IMPORTS, *world.grid(*SMALL, "--dry-run"))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("[")] == ["[]", "[]"]


def test_gc_and_merge_leave_a_trackers_files_alone(run_harness: Run, fake: Path) -> None:
    filled(fake / "runs")
    run_harness(["track", "--store", str(fake / "runs"), "--to", "lines"])
    before = files_below(fake / "runs" / "trackers")
    assert run_harness(["gc", "--store", str(fake / "runs"), "--keep", "records", "--yes"]).code == 0
    assert run_harness(["merge", str(fake / "runs"), "--into", str(fake / "other")]).code == 0
    assert files_below(fake / "runs" / "trackers") == before
    assert not (fake / "other" / "trackers").exists()
    assert run_harness(["tables", "--store", str(fake / "runs")]).code == 0
    assert os.path.isdir(fake / "runs" / "trackers" / "mine.lease")
