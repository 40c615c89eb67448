"""The command line: python -m slurm.devcluster start DIR [--nodes 2] [--no-accounting] | stop DIR | status DIR."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError, UsageError
from slurm.devcluster.cluster import Cluster, start
from slurm.devcluster.conf import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done (status: all of it runs), 1 it failed (status: not all runs), 2 it cannot be done here."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except UsageError as error:
        print("\n".join(problem.on_command_line for problem in error.problems), file=sys.stderr)
        return 2
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m slurm.devcluster", description="A real SLURM on this machine.")
    verbs = parser.add_subparsers(required=True)
    settings = Settings()
    starting = verbs.add_parser("start", help="start a cluster in a folder")
    starting.add_argument("--nodes", type=_at_least_one, default=settings.nodes, help="default: %(default)s")
    starting.add_argument(
        "--slots", type=_at_least_one, default=settings.slots, help="CPUs of each; default: %(default)s"
    )
    starting.add_argument(
        "--memory-mb", type=_at_least_one, default=settings.memory_mb, help="of each; default: %(default)s"
    )
    starting.add_argument("--gpus", type=int, default=settings.gpus, help="of each, only counted; default: 0")
    starting.add_argument("--no-accounting", action="store_true", help="without slurmdbd and MariaDB")
    starting.set_defaults(run=_start)
    stopping = verbs.add_parser("stop", help="end all that was started in a folder")
    stopping.set_defaults(run=_stop)
    looking = verbs.add_parser("status", help="which daemons run")
    looking.set_defaults(run=_status)
    for verb in (starting, stopping, looking):
        verb.add_argument("folder", type=Path, metavar="DIR")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _start(options: argparse.Namespace) -> int:
    settings = Settings(
        nodes=options.nodes,
        slots=options.slots,
        memory_mb=options.memory_mb,
        gpus=options.gpus,
        accounting=not options.no_accounting,
    )
    _print_environment(start(options.folder, settings))
    return 0


def _stop(options: argparse.Namespace) -> int:
    Cluster(options.folder.resolve()).stop()
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster = Cluster(options.folder.resolve())
    status = cluster.status
    for name, runs in status.items():
        print(f"# {name}: {'runs' if runs else 'does not run'}")
    if not status:
        print(f"No cluster was started in {cluster.folder}.", file=sys.stderr)
        return 1
    _print_environment(cluster)
    return 0 if all(status.values()) else 1


def _print_environment(cluster: Cluster) -> None:
    for name, value in cluster.environment.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    sys.exit(main())
