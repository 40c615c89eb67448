"""What the planning and reading verbs cost: no heavy library, and a help text at once."""

import json
import resource
import subprocess
import sys

import pytest
from grid_world import World, environment, of_kind, plan, preset, python

from harness.store.store import Store
from harness.studies.study import merged, write_study

# Runs the command line and tells which file first asked for a heavy library.
PROBE = """
import json, sys
class Watch:
    def __init__(self): self.seen = {}
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root in ("torch", "transformers", "datasets", "evaluate", "accelerate") and root not in self.seen:
            frame = sys._getframe(1)
            while frame and "importlib" in frame.f_code.co_filename: frame = frame.f_back
            self.seen[root] = f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "?"
watch = Watch()
sys.meta_path.insert(0, watch)
%s
try:
    from harness.cli.main import main
    code = main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code or 0
offenders = [f"{where} imports {name}" for name, where in watch.seen.items()]
print(json.dumps({"code": code, "offenders": offenders}), file=sys.stderr)
"""


def probe(*arguments: str, before: str = "") -> tuple[int, list[str]]:
    done = python("-c", PROBE % before, *arguments)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stderr.splitlines()[-1])
    return found["code"], found["offenders"]


READING = ("status", "tables", "plots", "logs", "show", "retry", "cancel", "invalidate", "gc", "doctor")


@pytest.mark.parametrize("verb", ["help", "grid help", "dry run", "invalid grid", *READING])
def test_planning_and_reading_import_no_heavy_library(world: World, verb: str) -> None:
    planned = plan(tasks=["sst2"])
    store = Store(world.store)
    if verb in READING:
        write_study(store, merged(store, "mine", preset(), planned))
        result = {"metrics": {"sst2": {"accuracy": 0.5}}, "cell_sparsity": 0.0}
        end = planned.endpoint(next(iter(planned.paths)))
        store.stage(end).publish_record({**planned.stages[end].fingerprint_fields(), "result": result})
    if verb in ("logs", "retry"):
        (pairs,) = of_kind(planned, "pairs")
        store.stage(pairs).end_attempt(store.stage(pairs).begin_attempt({}), {"outcome": "code"})
    command, expected = {
        "help": (["--help"], 0),
        "grid help": (["grid", "--help"], 0),
        "dry run": (world.grid("--dry-run", "--json"), 0),
        "invalid grid": (world.grid("--tasks", "sst"), 2),
        "status": (world.reading("status"), 4),
        "tables": (world.reading("tables"), 4),
        "plots": (world.reading("plots", "--out", str(world.folder / "figures")), 4),
        "logs": (world.reading("logs", "failed"), 0),
        "show": (world.reading("show", "dense"), 0),
        "retry": (world.reading("retry", "failed"), 0),
        "cancel": (world.reading("cancel", "transfer"), 0),
        "invalidate": (world.reading("invalidate", "state=done", "--yes"), 0),
        "gc": (world.reading("gc", "--keep", "records", "--yes"), 0),
        "doctor": (world.reading("doctor"), 0),
    }[verb]
    assert probe(*command) == (expected, [])


def test_the_probe_names_an_offender() -> None:
    # The search for the library is what the probe sees; it need not be loaded for this test.
    code, (offender,) = probe("--help", before="import importlib.util; importlib.util.find_spec('evaluate')")
    assert code == 0
    assert offender.startswith("<string>:")
    assert offender.endswith(" imports evaluate")


def test_the_help_text_takes_at_most_150_ms_of_processor_time() -> None:
    def seconds() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    taken = []
    for _ in range(5):
        before = seconds()
        done = python("-m", "harness", "--help")
        taken.append(seconds() - before)
        assert done.returncode == 0
        assert "grid" in done.stdout
    assert min(taken) <= 0.150, f"{min(taken) * 1000:.0f} ms"


def test_a_folder_called_like_a_package_of_ours_does_not_shadow_it(world: World) -> None:
    for name in ("methods", "harness", "paper_tables"):
        (world.folder / name).mkdir()
        (world.folder / name / "__init__.py").write_text("raise RuntimeError('shadowed')")
    done = python("-m", "harness", *world.grid("--dry-run", "--tasks", "sst2"), cwd=world.folder)
    assert done.returncode == 0, done.stderr
    assert "5 cells" in done.stdout


def test_a_reader_that_goes_away_is_no_error(world: World) -> None:
    command = [sys.executable, "-P", "-m", "harness", *world.grid("--dry-run", "--json", "--seeds", "0,1,2,3,4,5")]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()  # as `| head` does
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=30) == 0
