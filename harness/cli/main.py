"""The command line: parses, runs the verb and turns what it raises into messages and exit codes.

Verbs that only plan or read import no torch. Exit codes: 0 ok, 1 a stage failed or a number regressed, 2 usage or
invalid grid, 3 could not check, 4 cells missing, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from harness import __version__
from harness.cli.streams import open_closed_streams, spell_what_cannot_be_encoded, tell
from harness.cli.verbs import VERBS

if TYPE_CHECKING:
    from harness.errors import Problem

EXIT_FAILED, EXIT_USAGE, EXIT_CANNOT_CHECK, EXIT_INTERRUPTED = 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `harness` command; returns the exit code."""
    open_closed_streams()
    spell_what_cannot_be_encoded()
    options = _parser().parse_args(arguments)
    try:
        code = _run(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of a pipe went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED if options.verb.starts_stages(options) else 0


def _run(options: argparse.Namespace) -> int:
    """The verb's exit code, or that of what it raises, which is printed."""
    from harness.errors import CannotCheck, HarnessError, Interrupted, Problem, StoreError, UsageError, system_problem
    from harness.store.processes import ALLOCATION

    os.environ.pop(ALLOCATION, None)  # of the task in whose shell a user stands; only the task's own driver is the task
    try:
        return int(options.verb.run(options))
    except UsageError as error:
        what = "started" if options.verb.name == "grid" else "changed"
        _print_problems([problem.on_command_line for problem in error.problems], undone=f"nothing was {what}")
        if vars(options).get("json"):
            _print_as_json(error.problems)
        return EXIT_USAGE
    except Interrupted as error:
        tell(f"interrupted: {error}")
        return EXIT_INTERRUPTED
    except CannotCheck as error:
        tell(f"error: {error}")
        if vars(options).get("json"):
            _print_as_json([Problem(str(error))])
        return EXIT_CANNOT_CHECK
    except HarnessError as error:
        tell(f"error: {error}")
        if isinstance(error, StoreError) and vars(options).get("json"):  # raised while reading: nothing is printed yet
            _print_as_json([Problem(str(error))])
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        tell(f"error: {system_problem(error)}")
        return EXIT_FAILED


def _print_problems(problems: Sequence[str], undone: str) -> None:
    if len(problems) == 1:
        tell(f"error: {problems[0]}")
        return
    tell(f"{len(problems)} problems; {undone}:")
    for problem in problems:
        tell(f"  - {problem}")


def _print_as_json(problems: Iterable[Problem]) -> None:
    """The problems as data: standard output is for programs, standard error for people."""
    import json

    print(json.dumps({"problems": [problem.as_json() for problem in problems]}, indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="harness", description="Compress Transformer encoders, reproducibly: plan, run, tabulate."
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for verb in VERBS:
        command = commands.add_parser(verb.name, help=verb.help)
        verb.arguments(command)
        command.set_defaults(verb=verb)
    return parser


if __name__ == "__main__":
    sys.exit(main())
