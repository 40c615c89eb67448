"""Conditions: what numbers were computed by, apart from their seeds, and what sets two of them apart.

A score may be held against another only where recipe, data and model are the same. Stages that differ in their seeds
alone are one here; code versions, and what changes no number beyond rounding, do not count.
"""

from __future__ import annotations

from dataclasses import replace

from harness.planning.difference import BEFORE, Comparison, Difference, described
from harness.planning.graph import Plan
from harness.planning.kinds import KINDS
from harness.specs import StageSpec
from paper_tables.numbers.comparable import NOT_OF_PAPER


def without_seeds(plan: Plan) -> tuple[Plan, dict[str, str]]:
    """The stages of a plan, those that differ in their seeds alone being one; and each stage's id among them."""
    found, ids = Plan(), dict[str, str]()
    for stage_id, spec in plan.stages.items():  # parents come first
        bare = replace(
            spec,
            parameters={name: value for name, value in spec.parameters.items() if _counts(spec, name)},
            parents={role: ids[parent] for role, parent in spec.parents.items()},
            declared_by=None,
        )
        ids[stage_id] = found.add(bare).stage_id
    return found, ids


def comparison(expected: Plan, measured: Plan) -> Comparison:
    """Compares stages of both, as `without_seeds` gives them."""
    return Comparison(expected, measured, counts=lambda found: found.what != "version" and not found.of_code)


def in_words(differences: tuple[Difference, ...]) -> str:
    """As "the data (sst2), transfer.epochs 4.0 (was 3.0)"."""
    return ", ".join(described(differences, BEFORE))


def _counts(spec: StageSpec, name: str) -> bool:
    """Whether a parameter sets numbers apart: all but the seed of a cell, and what changes rounding alone."""
    return f"{spec.kind}.{name}" not in NOT_OF_PAPER and (spec.kind in KINDS or name != "seed")
