"""`python -m benchmarks`: measure, print, and write the result as JSON where asked."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks import fixed_cost, ratios, throughput
from benchmarks.matmul_rates import MatmulRates
from benchmarks.report import Report
from harness.errors import HarnessError, UsageError


def main(arguments: list[str] | None = None) -> int:
    """0: measured. 1: a stage failed. 2: bad arguments, missing data among them."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        with _quiet(), tempfile.TemporaryDirectory(prefix="harness-bench-") as folder:
            throughputs = []
            if options.only in (None, "throughput"):
                prepared = throughput.prepare(Path(folder), options.data, options.names)
                throughputs = throughput.measure(prepared, options.rounds, MatmulRates())
            costs = fixed_cost.measure(options.rounds) if options.only in (None, "fixed") else []
            compared = ratios.measure(3 * options.rounds) if options.only in (None, "ratios") else []
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    named = options.data if options.data.startswith("synthetic") else f"the folder {Path(options.data).name}"
    report = Report(data=named, rounds=options.rounds, throughputs=throughputs, fixed_costs=costs, ratios=compared)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    print(report.as_text())
    return 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the stages' own logs."""
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--data", default="synthetic", help="as of harness grid: a folder, or synthetic (default)")
    parser.add_argument(
        "--rounds",
        type=_count,
        default=3,
        help="of which the best counts (default 3); ratios: median of thrice as many",
    )
    parser.add_argument("--only", choices=("throughput", "fixed", "ratios"), help="measure that alone")
    parser.add_argument("--names", default="", help="only trainings whose name holds this text")
    parser.add_argument("--out", type=Path, help="write the result to this JSON file as well")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main())
