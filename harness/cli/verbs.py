"""The verbs of the command line as data: each with its name, its arguments and the function it runs.

A verb's function is in `harness.cli.commands` and is imported only when the verb runs, so that the help costs nothing
and no verb pays for the imports of another.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import NamedTuple


class Verb(NamedTuple):  # no dataclass: importing `dataclasses` would add a tenth to what the help text takes
    """One command. arguments: adds its own to a parser. command: "module:function", called with what was parsed."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    command: str

    def run(self, options: argparse.Namespace) -> int:
        """The exit code of the command; its module is imported here."""
        module, _, function = self.command.partition(":")
        command: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), function)
        return command(options)

    def starts_stages(self, options: argparse.Namespace) -> bool:
        """Whether the command runs stages, so that one cut short leaves work undone."""
        return self.name == "grid" and not options.dry_run


def _grid(parser: argparse.ArgumentParser) -> None:
    _axes(parser)
    parser.add_argument(
        "--sparse-from",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="a sparse checkpoint of the one base model: locked, transferred, tabulated as row NAME; repeatable. "
        "Without --methods the grid is these and the dense row, with it they join the named methods",
    )
    parser.add_argument(
        "--measures",
        action="append",
        metavar="M,..",
        help="measure every cell's model as well: packing (bytes of a packed file, scores after reading it back), "
        "latency (times in every runtime here)",
    )
    parser.add_argument("--study", metavar="NAME", help="default: the preset's name")
    _how_it_runs(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan, start nothing, write nothing")
    _common(parser)


def _how_it_runs(parser: argparse.ArgumentParser) -> None:
    """What changes no stage: where stages run, with what, and what is told of them."""
    parser.add_argument(
        "--executor",
        default="local",
        help="local: worker processes on this machine (default); debug: in this process; slurm: queue it on the "
        "cluster and return",
    )
    parser.add_argument(
        "--profile",
        metavar="FILE",
        help="of slurm: what to ask of the cluster for each kind of stage, a TOML file or a shipped profile "
        "(harness ls profiles; default cpu)",
    )
    parser.add_argument(
        "--max-jobs",
        type=int,
        metavar="N",
        help="of slurm: at most N tasks of the store in the queue; small stages share one where needed",
    )
    parser.add_argument(
        "--workers", type=int, metavar="N", help="stages run side by side (default: as many as GPUs, or cores, allow)"
    )
    parser.add_argument(
        "--resource",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="checkpoint_minutes=N, micro_batch_size=N (examples on the device at a time), processes=N (that prepare "
        "data), ranks=N (processes that train a stage together); changes no stage id; repeatable",
    )
    parser.add_argument(
        "--max-gpu-hours",
        metavar="H",
        help="start a run estimated at up to H hours (default: 24 GPU-hours, or 8 hours without a GPU)",
    )
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="NAME,..",
        help="also write finished stages to tensorboard, wandb, mlflow or trackio (harness track, behind the run); "
        "changes no stage, and a tracker that fails costs a warning",
    )


def _track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", metavar="NAME")
    parser.add_argument(
        "--to",
        action="append",
        required=True,
        metavar="NAME,..",
        help="tensorboard, wandb, mlflow, trackio, or one that another package brings",
    )
    parser.add_argument("--out", metavar="DIR", help="folder of the trackers' files (default: trackers in the store)")
    _common(parser)


def _ls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("models", "methods", "tasks", "presets", "profiles", "tables"))
    parser.add_argument(
        "name",
        nargs="?",
        help="one of them; a preset (also FILE.toml) is shown with every setting and its evidence, a profile or a "
        "table (also FILE.toml) is checked and shown; with --check also package.module:METHOD",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="with methods: load those of other packages and plan toy cells with them, each in a process of its own, "
        "and say which cannot be used",
    )
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", metavar="NAME")
    parser.add_argument(
        "--watch",
        action="store_true",
        help="again while something runs or is queued: every two seconds, or every 30 s where a cluster has it",
    )
    parser.add_argument(
        "--hours", action="store_true", help="also wall, CPU- and GPU-hours by kind and method, beside the estimate"
    )
    _common(parser)


def _tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", metavar="NAME")
    parser.add_argument(
        "--table",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="a shipped table (harness ls tables), FILE.toml of yours, or all; repeatable (default: every cell of the "
        "study; the paper's tables where there is no study)",
    )
    parser.add_argument("--format", default="md", choices=("md", "latex", "csv", "html"))
    parser.add_argument("--out", metavar="DIR", help="write DIR/STUDY.*, or DIR/TABLE.*, in every format")
    parser.add_argument(
        "--compare", metavar="STUDY", help="differences from another study, or STORE:STUDY, on shared cells and seeds"
    )
    parser.add_argument(
        "--trace", metavar="CELL", help="the records behind the numbers of KEY=VALUE,.. of a cell (model, method, ..)"
    )
    parser.add_argument(
        "--claims",
        nargs="?",
        const="",
        metavar="FILE",
        help="instead: what the study says of the paper's claims (or of those in FILE.toml): held, not held, cannot "
        "say; as md or --json, with --out as DIR/STUDY-claims.md and .json",
    )
    _common(parser)


def _plots(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", metavar="NAME")
    parser.add_argument("--out", default="figures", metavar="DIR", help="folder of the pictures (default figures)")
    parser.add_argument(
        "--only",
        metavar="KIND,..",
        help="figures of these kinds: accuracy (default), methods, stored, speed, tokens, sparsity, curves; or all",
    )
    parser.add_argument("--stage", metavar="WHAT", help="learning curves of these stages, as `harness show` names them")
    parser.add_argument(
        "--with",
        dest="beside",
        metavar="STUDY,..",
        help="further studies of the store beside this one over pre-training tokens",
    )
    _common(parser)


def _check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", metavar="NAME")
    parser.add_argument(
        "--expected", metavar="FILE", help="what is expected, a TOML file (default: expected.toml in the store)"
    )
    parser.add_argument("--write", action="store_true", help="write the expected file from the study; check nothing")
    parser.add_argument("--junit", metavar="FILE", help="also write the report as JUnit XML")
    parser.add_argument("--summary", metavar="FILE", help="also append the report in Markdown, as to a job's page")
    _common(parser)


def _compare(parser: argparse.ArgumentParser) -> None:
    for name in ("first", "second"):
        parser.add_argument(
            name,
            metavar=f"{name.upper()}",
            help="KEY=VALUE,.. of a cell (model, method, sparsity, task, quantization, seed, pruning_seed); cells that "
            "differ in seeds alone are compared seed by seed",
        )
    parser.add_argument("--study", metavar="NAME")
    _common(parser)


def _merge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="STORE", help="folders of stores; they are only read")
    parser.add_argument("--into", required=True, metavar="STORE", help="the store to add to, or a new folder")
    parser.add_argument("--study", metavar="NAME", help="merge this study alone, with its records")
    parser.add_argument(
        "--prefer",
        metavar="STORE",
        help="of this merge: where stores have other results of a stage, take this one's, and leave out what others "
        "made from theirs",
    )
    brought = parser.add_mutually_exclusive_group()
    brought.add_argument(
        "--artifacts",
        action="store_true",
        help="also copy models and data of stages, beside records, predictions and attempts",
    )
    brought.add_argument(
        "--records-only",
        action="store_true",
        help="copy records and studies alone: all that tables, figures and the gate read, as for a repository",
    )
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--study", metavar="NAME")
    parser.add_argument("--out", metavar="FILE", help="the page (default STUDY-report.html)")
    _common(parser)


def _logs(parser: argparse.ArgumentParser) -> None:
    _what(parser)
    parser.add_argument("--attempt", type=int, metavar="N", help="another attempt than the last")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the attempt ends; for one stage")
    _store(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    _what(parser, also="; words that are all KEY=VALUE of a cell (model, method, quantization, ..) name cells instead")
    _common(parser)


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "cell",
        metavar="CELL",
        help="KEY=VALUE,.. that one cell alone has: model, method, sparsity, task, quantization, seed, pruning_seed",
    )
    parser.add_argument(
        "--format",
        default="hub",
        metavar="F",
        help="hub: as transformers loads it, with a model card (default); packed: zeros left out, 8-bit weights in 8 "
        "bits or less; onnx: with QDQ nodes where it is quantised; openvino: OpenVINO's IR",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--score-on",
        metavar="hub|DIR|synthetic",
        help="the data of its grid: score what was written on its evaluation splits, in the runtime that reads it",
    )
    parser.add_argument("--study", metavar="NAME", help="needed where the store has several")
    _common(parser)


def _selection(parser: argparse.ArgumentParser) -> None:
    _what(parser)
    _common(parser)


def _invalidate(parser: argparse.ArgumentParser) -> None:
    _what(parser)
    parser.add_argument("--yes", action="store_true", help="do it; without, only show what it takes")
    _common(parser)


def _gc(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep",
        default="all",
        choices=("records", "final", "all"),
        help="which artifacts stay: all that a study names (default), those of scored models, or none but predictions "
        "and what unfinished stages need (which always stay)",
    )
    parser.add_argument("--yes", action="store_true", help="do it; without, only show what it frees")
    _common(parser)


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--online", action="store_true", help="also try whether the hub responds (a few seconds)")
    parser.add_argument(
        "--profile", metavar="FILE", help="also print a profile's batch files and ask SLURM whether it takes them"
    )
    _common(parser)


def _what(parser: argparse.ArgumentParser, also: str = "") -> None:
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="words joined by commas that must all match: a stage id (6 digits or more), a kind, a state such as "
        f"failed, or KEY=VALUE with KEY of kind, method, model, seed, sparsity, state, task{also}",
    )
    parser.add_argument("--study", metavar="NAME", help="needed where the store has several")


def _axes(parser: argparse.ArgumentParser) -> None:
    def axis(name: str, metavar: str, text: str) -> None:
        parser.add_argument(name, action="append", metavar=metavar, help=text)

    axis(
        "--models",
        "M,..",
        "aliases, or NAME=DIR for a folder in the hub's layout (default: the preset's, where it names any); an axis "
        "given several times adds up",
    )
    axis("--methods", "M,..", "names, or package.module:METHOD (default: the preset's rows)")
    axis("--sparsities", "S,..", "fractions in [0, 1)")
    axis("--tasks", "T,..", "default: the preset's tasks")
    parser.add_argument(
        "--task-file",
        action="append",
        metavar="FILE",
        help="a task of yours, declared in TOML (docs/new-task.md), for --tasks to name; repeatable",
    )
    axis("--quantization", "Q,..", "none, int8")
    axis("--seeds", "N,..", "of the fine-tuning stages (default: the preset's)")
    axis("--pruning-seeds", "N,..", "of the pre-training stages (default 0)")
    parser.add_argument(
        "--preset",
        default="paper",
        metavar="NAME|FILE",
        help="named set of hyperparameters (default paper), or FILE.toml of the same form with your own",
    )
    parser.add_argument(
        "--data",
        metavar="hub|DIR|synthetic",
        help="the hub, a folder with TASK/SPLIT.parquet in its schema, or the synthetic world (or synthetic:SEED)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a hyperparameter; repeatable, the last value of a key counts",
    )


def _common(parser: argparse.ArgumentParser) -> None:
    _store(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def _store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", default="runs", metavar="DIR", help="folder of studies and records (default runs)")


# In the order of the help text.
VERBS = (
    Verb("grid", "plan a grid of cells and run what is not done", _grid, "harness.cli.commands.grid:run"),
    Verb(
        "fetch", "fill the hub's cache with what a grid needs (needs internet)", _axes, "harness.cli.commands.fetch:run"
    ),
    Verb("ls", "list what a grid can name", _ls, "harness.cli.commands.ls:run"),
    Verb("status", "what is done, running, failed or pending", _status, "harness.cli.commands.status:run"),
    Verb("tables", "tables of a study, of the paper, or of yours", _tables, "harness.cli.commands.tables:run"),
    Verb(
        "plots",
        "figures from the records of a study, as PNG and SVG: accuracy over compression and more",
        _plots,
        "harness.cli.commands.plots:run",
    ),
    Verb("check", "a study's numbers against those that a file expects", _check, "harness.cli.commands.check:run"),
    Verb(
        "compare",
        "two cells example by example: McNemar's test and paired intervals",
        _compare,
        "harness.cli.commands.compare:run",
    ),
    Verb(
        "report",
        "one page of HTML: what ran, numbers and what is behind each, deviations, hours",
        _report,
        "harness.cli.commands.report:run",
    ),
    Verb(
        "track",
        "write finished stages to TensorBoard, W&B, MLflow or trackio",
        _track,
        "harness.cli.commands.track:run",
    ),
    Verb(
        "show",
        "a stage's settings, parents, losses, metrics, times; or a cell's path",
        _show,
        "harness.cli.commands.show:run",
    ),
    Verb(
        "export",
        "a cell's model as hub folder, packed file, ONNX or OpenVINO",
        _export,
        "harness.cli.commands.export:run",
    ),
    Verb(
        "merge",
        "studies and records of several stores into one",
        _merge,
        "harness.cli.commands.merge:run",
    ),
    Verb("logs", "what a stage's last attempt logged", _logs, "harness.cli.commands.logs:run"),
    Verb("retry", "let failed and cancelled stages start again", _selection, "harness.cli.commands.retry:run"),
    Verb(
        "cancel",
        "stop stages, and keep them from starting until they are retried",
        _selection,
        "harness.cli.commands.cancel:run",
    ),
    Verb(
        "invalidate",
        "make finished stages, and all that depend on them, run again",
        _invalidate,
        "harness.cli.commands.invalidate:run",
    ),
    Verb(
        "gc", "free the space of what nobody needs; records, attempts and logs stay", _gc, "harness.cli.commands.gc:run"
    ),
    Verb(
        "doctor",
        "what this machine has, what it enables, what to do about what is missing",
        _doctor,
        "harness.cli.commands.doctor:run",
    ),
)
