"""A small world for the core tests: hand-made identities for plans, model and data folders for the command line."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

import harness
from harness.errors import UsageError
from harness.grids.options import read_value
from harness.inputs.data_sources import HubData
from harness.inputs.encoder_folder import read_sizes
from harness.inputs.families import FAMILIES
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import Preset, load_preset
from harness.specs import StageSpec
from harness.store.processes import this_process
from harness.tasks import TASKS

ROOT = Path(harness.__file__).parents[1]
HERE = Path(__file__).parent
# A preset of the tests' own: the counts below rest on its rows, tasks and settings, not on a shipped one.
SLICE = HERE / "presets" / "slice.toml"
SPLITS = {
    "corpus": ("train", "validation"),
    "mnli": ("train", "validation_matched"),
    **dict.fromkeys(("sst2", "squad", "qqp", "qnli"), ("train", "validation")),
}
# What that preset leaves out: the sizes of the tasks it does not run.
OTHER_TASKS = [
    f"task.{task}.{key}"
    for task in ("mnli", "qqp", "qnli")
    for key in ("max_length=128", "train_examples=1000", "train_subset_seed=0")
]


def inputs(
    models: Mapping[str, ModelIdentity] | Sequence[str] = ("tiny",), changed: Mapping[str, str] | None = None
) -> Inputs:
    """Every split's content hash is its own name, but for those in `changed`."""
    if not isinstance(models, Mapping):
        models = {alias: ModelIdentity(weights=f"weights of {alias}", tokenizer="vocabulary") for alias in models}
    names = [f"{task}/{split}" for task, splits in SPLITS.items() for split in splits]
    return Inputs(models=models, data={**{name: name for name in names}, **(changed or {})})


def settings(*assignments: str) -> dict[str, Any]:
    """KEY=VALUE each, as after --set."""
    return {key: read_value(value) for key, _, value in (text.partition("=") for text in assignments)}


def preset(*assignments: str, methods: Sequence[str] = ()) -> Preset:
    return load_preset(str(SLICE), methods).changed(settings(*assignments))


def plan(*assignments: str, found: Inputs | None = None, measures: Sequence[str] = (), **axes: Any) -> Plan:
    """The plan of a grid under the preset `slice` with these --set assignments."""
    named = Axes(**{"models": ["tiny"], **axes})
    chosen = preset(*assignments, methods=named.methods or ())
    grid = expand(named, chosen)
    return plan_cells(grid.cells, chosen.recipe, found or inputs(named.models), grid.methods, measures)


PAPER_MODELS = ("bert-base", "bert-large", "distilbert")


def papers_plan(**axes: object) -> Plan:
    """The plan of a grid under the preset `paper`; nothing is cached and nothing is downloaded."""
    paper = load_preset("paper")
    cells = expand(Axes(**{"models": PAPER_MODELS, **axes}), paper).cells  # type: ignore[arg-type]
    identities = {alias: ModelIdentity(weights=f"{alias} weights", tokenizer=alias) for alias in PAPER_MODELS}
    data = HubData().content_ids(TASKS.values(), corpus=True)
    return plan_cells(cells, paper.recipe, Inputs(models=identities, data=data))


def of_kind(planned: Plan, *kinds: str) -> dict[str, StageSpec]:
    return {stage_id: spec for stage_id, spec in planned.stages.items() if spec.kind in kinds}


def with_descendants(planned: Plan, roots: Sequence[str]) -> set[str]:
    """The stages that rest on one of `roots`, told from the parents alone (not by `Plan.ancestors`)."""
    reached = set(roots)
    while more := {i for i, s in planned.stages.items() if i not in reached and reached & set(s.parents.values())}:
        reached |= more
    return reached


def gone_process() -> dict[str, str | int]:
    """The identity of a process of this machine that runs no more: its id is this one's now."""
    here = this_process()
    boot, _, tick = str(here["process_started"]).partition(":")
    return {**here, "process_started": f"{boot}:{int(tick) - 1}"}


def sentences(error: UsageError) -> list[str]:
    """The problems of an error as the command line shows them."""
    return [problem.on_command_line for problem in error.problems]


class Ran(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class World:
    """model/, data/ and (once something ran) runs/ in one folder."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "runs"

    def grid(self, *words: str, models: str | None = None, data: Path | None = None) -> list[str]:
        """Arguments of a grid on this world."""
        chosen = models or f"tiny={self.folder / 'model'}"
        folder = data or self.folder / "data"
        return [
            "grid",
            "--preset",
            str(SLICE),
            "--models",
            chosen,
            "--data",
            str(folder),
            "--store",
            str(self.store),
            "--executor",
            "debug",
            *words,
        ]

    def reading(self, verb: str, *words: str) -> list[str]:
        return [verb, "--store", str(self.store), *words]


# A BERT of two layers as small as one can be; its vocabulary is the two tokens of `write_model`.
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TINY_CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 5,
    "max_position_embeddings": 512,
}


def write_model(folder: Path, weights: str = "weights", **config: Any) -> Path:
    """A folder in the hub's layout, as far as planning looks at it.

    config: beside or instead of what `TINY_CONFIG` has; None leaves a key out.
    """
    folder.mkdir(parents=True)
    said = {key: value for key, value in {**TINY_CONFIG, **config}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(said))
    count = FAMILIES[said["model_type"]].setting(said, "vocab_size")
    words = [f"word{i}" for i in range(count - len(SPECIAL_TOKENS))] if isinstance(count, int) else []
    with_words(folder, *SPECIAL_TOKENS, *words)
    write_weights(folder, weights)
    return folder


def with_words(folder: Path, *tokens: str) -> None:
    """Writes the vocab.txt of these tokens."""
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))


def write_weights(folder: Path, weights: str) -> None:
    """The model.safetensors that a folder's config.json asks for; its data begin with the bytes of a text.

    What no model can have is written as that text alone.
    """
    config = json.loads((folder / "config.json").read_text())
    family = FAMILIES[config["model_type"]]
    path = folder / "model.safetensors"
    try:
        shapes = family.tensors(read_sizes(config, family, "a test's model"))
    except UsageError:
        path.write_text(weights)
        return
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + weights.encode())
        file.truncate(8 + len(text) + end)


def write_data(folder: Path, tasks: Sequence[str] = ("sst2", "squad")) -> Path:
    """Two rows in every split."""
    answers = pa.array([{"text": ["a"], "answer_start": [0]}] * 2)
    glue = {"sst2": ["sentence"], "qqp": ["question1", "question2"], "qnli": ["question", "sentence"]}
    glue["mnli"] = ["premise", "hypothesis"]
    for task in ("corpus", *tasks):
        if task == "corpus":
            table = pa.table({"title": ["x", "y"], "text": ["One. Two.", "Three. Four."]})
        elif task == "squad":
            table = pa.table({"id": ["1", "2"], "question": ["q", "r"], "context": ["a", "a"], "answers": answers})
        else:
            table = pa.table({**{column: ["a", "b"] for column in glue[task]}, "label": [0, 1]})
        for split in SPLITS[task]:
            path = folder / task / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path)
    return folder


def make_world(folder: Path) -> World:
    write_model(folder / "model")
    write_data(folder / "data")
    return World(folder)


def environment(*installed: Path) -> dict[str, str]:
    """For subprocesses: this checkout's packages, the fakes beside this file, and folders of installed packages."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, *installed)))}


def python(*words: str, cwd: Path | None = None, installed: Sequence[Path] = ()) -> subprocess.CompletedProcess[str]:
    """`python -P` as the workers start it."""
    return subprocess.run(
        [sys.executable, "-P", *words],
        cwd=cwd,
        env=environment(*installed),
        capture_output=True,
        text=True,
        timeout=60,
    )


def files_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file's time of change and content."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
