"""Expected as text: TOML with a line a number, in the order of the tables, so that a change is a short difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.specs import StageSpec
from paper_tables.gate import toml
from paper_tables.gate.expected import SCHEMA, Expected, ExpectedLoss, ExpectedMean, ExpectedNumber, ExpectedZeros

HEADER = """\
# What `harness check` expects of a study. Written by `harness check --write`; docs/gate.md says how it is used.
# Scores are in percent, losses in nats; noise: standard deviation of one seed, with its degrees of freedom.
# Set by hand, and kept: false_alarms, between_runs, the tolerance of a pre-training loss (a share of it), and
# `tolerance = ..` in a number or a mean.
"""


def to_text(expected: Expected) -> str:
    """The same values give the same text; `expected_file.parse` reads it back."""
    return HEADER + "".join(_pieces(expected))


def _pieces(expected: Expected) -> Iterator[str]:
    yield toml.line("schema", SCHEMA)
    for name in ("study", "preset", "recipe", "false_alarms", "between_runs"):
        yield toml.line(name, getattr(expected, name))
    yield "\n[measured_on]\n"
    yield from (toml.line(name, value) for name, value in expected.measured_on.items())
    yield from map(_zeros, expected.zeros)
    yield from map(_loss, expected.losses)
    yield from map(_mean, expected.means)
    yield from map(_number, expected.numbers)
    yield from (_stage(stage_id, spec) for stage_id, spec in expected.stages.stages.items())


def _zeros(entry: ExpectedZeros) -> str:
    return _table("zeros", {**entry.key._asdict(), "zeros": entry.zeros, "of": entry.of})


def _loss(entry: ExpectedLoss) -> str:
    fields = {"loss": entry.loss, "tolerance": entry.tolerance, "stage": entry.stage}
    return _table("losses", {**entry.key._asdict(), **fields})


def _mean(entry: ExpectedMean) -> str:
    names = ("model", "method", "sparsity", "quantization", "metrics", "weights", "tolerance")
    return _table("means", {name: getattr(entry, name) for name in names})


def _number(entry: ExpectedNumber) -> str:
    names = ("direction", "noise", "freedom", "tolerance", "stage")
    seeds = "".join(f"seeds.{toml.line(seed, value)}" for seed, value in entry.seeds.items())
    return _table("numbers", {**entry.key._asdict(), **{name: getattr(entry, name) for name in names}}) + seeds


def _stage(stage_id: str, spec: StageSpec) -> str:
    fields = spec.fingerprint_fields()
    parameters: Mapping[str, Any] = fields.pop("parameters")
    head = "".join(toml.line(name, fields[name]) for name in ("kind", "parents", "inputs", "versions"))
    lines = "".join(
        f"parameters.{toml.line(name, value)}" for name, value in sorted(parameters.items()) if value is not None
    )
    none = sorted(name for name, value in parameters.items() if value is None)
    return f"\n[stages.{toml.key(stage_id)}]\n{head}{toml.line('none', none) if none else ''}{lines}"


def _table(name: str, fields: Mapping[str, Any]) -> str:
    return f"\n[[{name}]]\n" + "".join(toml.line(key, value) for key, value in fields.items() if value is not None)
