"""The command line. Each verb lives in its own function and imports what it needs when it runs.

Verbs that only plan or read import no torch. Exit codes: 0 ok, 1 a stage failed or a number regressed, 2 usage or
invalid grid, 3 could not check, 4 cells missing, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from harness.streams import open_closed_streams

EXIT_FAILED, EXIT_USAGE, EXIT_MISSING, EXIT_INTERRUPTED = 1, 2, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `harness` command; returns the exit code."""
    open_closed_streams()
    options = _parser().parse_args(arguments)
    from harness.errors import HarnessError, Interrupted, UsageError, system_problem

    try:
        code: int = options.verb(options)
        sys.stdout.flush()
        return code
    except UsageError as error:
        _print_problems(error.problems)
        return EXIT_USAGE
    except Interrupted as error:
        print(f"interrupted: {error}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        runs = options.verb is _grid and not options.dry_run
        return EXIT_FAILED if runs else 0
    except OSError as error:
        print(f"error: {system_problem(error)}", file=sys.stderr)
        return EXIT_FAILED


def _print_problems(problems: Sequence[str]) -> None:
    if len(problems) == 1:
        print(f"error: {problems[0]}", file=sys.stderr)
        return
    print(f"{len(problems)} problems; nothing was started:", file=sys.stderr)
    for problem in problems:
        print(f"  - {problem}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness", description="Compress Transformer encoders, reproducibly: plan, run, tabulate."
    )
    verbs = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    grid = verbs.add_parser("grid", help="plan a grid of cells and run what is not done")
    _axes(grid)
    grid.add_argument(
        "--sparse-from",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="a sparse checkpoint of the one base model: locked, transferred, tabulated as row NAME; repeatable. "
        "Without --methods these and the dense row are meant, with it they stand beside the named methods",
    )
    grid.add_argument("--study", metavar="NAME", help="default: the preset's name")
    grid.add_argument(
        "--executor", default="local", help="local: worker processes on this machine (default); debug: in this process"
    )
    grid.add_argument(
        "--workers", type=int, metavar="N", help="stages run side by side (default: as many as GPUs, or cores, allow)"
    )
    grid.add_argument(
        "--resource",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="checkpoint_minutes=N, device_batch=N (examples on the device at a time); changes no identity",
    )
    grid.add_argument(
        "--max-gpu-hours",
        metavar="H",
        help="start a run estimated at up to H hours (without it: 24 GPU-hours, or 8 hours without a GPU)",
    )
    grid.add_argument("--dry-run", action="store_true", help="print the plan, start nothing, write nothing")
    _common(grid)
    grid.set_defaults(verb=_grid)

    fetch = verbs.add_parser("fetch", help="fill the hub's cache with what a grid needs (needs internet)")
    _axes(fetch)
    fetch.set_defaults(verb=_fetch)

    ls = verbs.add_parser("ls", help="list what a grid can name")
    ls.add_argument("what", choices=("models", "methods", "tasks", "presets"))
    ls.add_argument(
        "name", nargs="?", help="one of them; a preset (also FILE.toml) is shown with every setting and its evidence"
    )
    ls.add_argument("--json", action="store_true", help="machine-readable output")
    ls.set_defaults(verb=_ls)

    status = verbs.add_parser("status", help="what is done, running, failed or missing")
    status.add_argument("--study", metavar="NAME")
    status.add_argument("--watch", action="store_true", help="again every two seconds while something runs")
    _common(status)
    status.set_defaults(verb=_status)

    tables = verbs.add_parser("tables", help="tables from the records of a study")
    tables.add_argument("--study", metavar="NAME")
    tables.add_argument("--format", default="md", choices=("md", "csv"))
    tables.add_argument("--out", metavar="DIR", help="write DIR/STUDY.md and DIR/STUDY.csv instead of printing")
    _common(tables)
    tables.set_defaults(verb=_tables)

    plots = verbs.add_parser("plots", help="accuracy over compression from the records of a study, as PNG and SVG")
    plots.add_argument("--study", metavar="NAME")
    plots.add_argument("--out", default="figures", metavar="DIR", help="folder of the pictures (default figures)")
    _common(plots)
    plots.set_defaults(verb=_plots)
    _acting(verbs)

    doctor = verbs.add_parser("doctor", help="what this machine has, what it enables, what to do where something lacks")
    doctor.add_argument("--online", action="store_true", help="also ask whether the hub answers (a few seconds)")
    _common(doctor)
    doctor.set_defaults(verb=_doctor)
    return parser


def _acting(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The verbs that act on stages a user names, and gc."""
    logs = verbs.add_parser("logs", help="what a stage's last attempt logged")
    _what(logs)
    logs.add_argument("--attempt", type=int, metavar="N", help="another attempt than the last")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the attempt ends; for one stage")
    _store(logs)
    logs.set_defaults(verb=_logs)

    retry = verbs.add_parser("retry", help="let failed and cancelled stages start again")
    _what(retry)
    _common(retry)
    retry.set_defaults(verb=_retry)

    cancel = verbs.add_parser("cancel", help="stop stages, and keep them from starting until they are retried")
    _what(cancel)
    _common(cancel)
    cancel.set_defaults(verb=_cancel)

    invalidate = verbs.add_parser("invalidate", help="take back finished stages and all that rests on them")
    _what(invalidate)
    invalidate.add_argument("--yes", action="store_true", help="do it; without, only show what it takes")
    _common(invalidate)
    invalidate.set_defaults(verb=_invalidate)

    gc = verbs.add_parser("gc", help="free the space of what nobody needs; records, attempts and logs stay")
    gc.add_argument(
        "--keep",
        default="all",
        choices=("records", "final", "all"),
        help="which artifacts stay: all that a study names (default), those of scored models, or none but what "
        "unfinished stages need (which always stays)",
    )
    gc.add_argument("--yes", action="store_true", help="do it; without, only show what it frees")
    _common(gc)
    gc.set_defaults(verb=_gc)


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        metavar="WHAT",
        help="words joined by commas that must all match: a stage id (6 digits or more), a kind, a state such as "
        "failed, or KEY=VALUE with KEY of kind, method, model, seed, sparsity, state, task",
    )
    parser.add_argument("--study", metavar="NAME", help="needed where the store has several")


def _axes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models", required=True, metavar="M,..", help="aliases, or NAME=DIR for a folder in the hub's layout"
    )
    parser.add_argument("--methods", metavar="M,..", help="default: the preset's rows")
    parser.add_argument("--sparsities", metavar="S,..", help="fractions in [0, 1)")
    parser.add_argument("--tasks", metavar="T,..", help="default: the preset's tasks")
    parser.add_argument("--quantization", metavar="Q,..", help="none, int8")
    parser.add_argument("--seeds", metavar="N,..", help="of the fine-tuning stages (default: the preset's)")
    parser.add_argument("--pruning-seeds", default="0", metavar="N,..", help="of the pre-training stages (default 0)")
    parser.add_argument(
        "--preset",
        default="paper",
        metavar="NAME|FILE",
        help="named set of hyperparameters (default paper), or FILE.toml of the same form with your own",
    )
    parser.add_argument("--data", metavar="hub|DIR", help="the hub, or a folder with TASK/SPLIT.parquet in its schema")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a hyperparameter")


def _common(parser: argparse.ArgumentParser) -> None:
    _store(parser)
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def _store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", default="runs", metavar="DIR", help="folder of studies and records (default runs)")


def _grid(options: argparse.Namespace) -> int:
    from harness.commands.grid import run

    return run(options)


def _fetch(options: argparse.Namespace) -> int:
    from harness.commands.fetch import run

    return run(options)


def _ls(options: argparse.Namespace) -> int:
    from harness.commands.ls import run

    return run(options)


def _status(options: argparse.Namespace) -> int:
    from harness.commands.status import run

    return run(options)


def _tables(options: argparse.Namespace) -> int:
    from harness.commands.tables import run

    return run(options)


def _plots(options: argparse.Namespace) -> int:
    from harness.commands.plots import run

    return run(options)


def _logs(options: argparse.Namespace) -> int:
    from harness.commands.logs import run

    return run(options)


def _retry(options: argparse.Namespace) -> int:
    from harness.commands.retry import run

    return run(options)


def _cancel(options: argparse.Namespace) -> int:
    from harness.commands.cancel import run

    return run(options)


def _invalidate(options: argparse.Namespace) -> int:
    from harness.commands.invalidate import run

    return run(options)


def _gc(options: argparse.Namespace) -> int:
    from harness.commands.gc import run

    return run(options)


def _doctor(options: argparse.Namespace) -> int:
    from harness.commands.doctor import run

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
