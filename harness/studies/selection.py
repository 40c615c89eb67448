"""WHAT a verb acts on: words of the command line to stages of a study. Pure.

WHAT is words joined by commas, and a stage must match them all. A word is a stage id (or its first digits, 6 at least),
a kind, a state, or KEY=VALUE:

    kind, state    of the stage
    model, task, sparsity, seed
                   of the stage itself, or else of the model that it starts from: an evaluation has the seed and the
                   sparsity of what it scores. Corpus and pairs belong to no model
    method         the one method of all cells that need the stage; a stage that methods share belongs to none
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from harness.errors import Problem, UsageError, unknown_name
from harness.identity import STAGE_ID_HEX_DIGITS
from harness.planning.graph import Plan
from harness.studies.state import STATES
from harness.wording import counted, option

LEAST_DIGITS = 6
MOST_IDS_LISTED = 5
KEYS = ("kind", "method", "model", "seed", "sparsity", "state", "task")


class NothingMatches(UsageError):
    """Every word of WHAT is known, and no stage matches them all."""


Traits = Mapping[str, tuple[str, ...]]  # key -> the values a stage answers to


def select(plan: Plan, states: Mapping[str, str], text: str) -> list[str]:
    """The stages that match every word of `text`, parents first.

    states: of every stage of the plan. Raises UsageError with every word that names nothing, and NothingMatches when
    no stage matches them all.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UsageError(f"WHAT is empty: name a stage id, a kind, a state or KEY=VALUE with KEY of {', '.join(KEYS)}.")
    traits = stage_traits(plan, states)
    problems: list[Problem] = []
    matches: list[set[str]] = []
    for word in words:
        try:
            matches.append(_matching(plan, traits, word))
        except UsageError as error:
            problems += error.problems
    if problems:
        raise UsageError(problems)
    chosen = set.intersection(*matches)
    if not chosen:
        each = ", ".join(f"{word} {len(found)}" for word, found in zip(words, matches, strict=True))
        raise NothingMatches(f"nothing matches {text!r} (stages by word: {each}). {_what_there_is(plan, states)}")
    return [stage_id for stage_id in plan.stages if stage_id in chosen]


def stage_traits(plan: Plan, states: Mapping[str, str]) -> dict[str, Traits]:
    """The values by which each stage can be named, by key; written as a user would."""
    methods: dict[str, set[str]] = defaultdict(set)
    for cell in plan.paths:
        for stage_id in plan.stages_of(cell):
            methods[stage_id].add(cell.method)
    traits: dict[str, Traits] = {}
    for stage_id, spec in plan.stages.items():
        found: dict[str, tuple[str, ...]] = {
            "kind": (spec.kind,),
            "state": (states[stage_id],),
            "method": tuple(methods[stage_id]) if len(methods[stage_id]) == 1 else (),
        }
        origin = traits.get(spec.parents.get("model", ""), {})
        for key in ("model", "task", "seed", "sparsity"):
            own = spec.parameters.get(key)
            found[key] = origin.get(key, ()) if own is None else (_written(own),)
        if found["model"] and not found["sparsity"]:
            found["sparsity"] = (_written(0.0),)  # an unpruned model
        traits[stage_id] = found
    return traits


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _matching(plan: Plan, traits: Mapping[str, Traits], word: str) -> set[str]:
    """The stages one word names; may be none where a state that exists has no stage. Raises UsageError."""
    key, equals, value = (part.strip() for part in word.partition("="))
    if not equals:
        key, value = _named(plan, traits, word)
        if key == "id":
            return {value}
    if key not in KEYS:
        raise UsageError(f"{word}: " + unknown_name("key", key, KEYS))
    if key == "sparsity":
        value = _number(word, value)
    known = {found for stage in traits.values() for found in stage[key]}
    known |= set(STATES) if key == "state" else set()
    if value not in known:
        raise UsageError(unknown_name(key, value, known))
    return {stage_id for stage_id, stage in traits.items() if value in stage[key]}


def _number(word: str, value: str) -> str:
    try:
        return _written(float(value))
    except ValueError:
        raise UsageError(f"{word}: expected a fraction such as sparsity=0.85.") from None


def _named(plan: Plan, traits: Mapping[str, Traits], word: str) -> tuple[str, str]:
    """A word without "=" as (key, value); the key "id" is a stage id in full."""
    kinds = set(plan.counts())
    if word in STATES:
        return "state", word
    if word in kinds:
        return "kind", word
    if re.fullmatch(r"[0-9a-fA-F]+", word):
        return "id", _whole_id(plan, word.lower())
    for key in KEYS:
        if any(word in stage[key] for stage in traits.values()):
            raise UsageError(f"{word!r} is a {key}; write {key}={word}.")
    raise UsageError(unknown_name("kind, state or stage id", word, [*kinds, *STATES]))


def _whole_id(plan: Plan, digits: str) -> str:
    found = [stage_id for stage_id in plan.stages if stage_id.startswith(digits)]
    if len(digits) < LEAST_DIGITS:
        raise UsageError(f"{digits!r} is too short for a stage id: give at least {LEAST_DIGITS} of its hex digits.")
    if not found:
        long = (
            f" It has {counted(len(digits), 'digit')}, an id {STAGE_ID_HEX_DIGITS}."
            if len(digits) > STAGE_ID_HEX_DIGITS
            else ""
        )
        raise UsageError(
            f"no stage id of this study begins with {digits!r}.{long} harness status --json lists the ids; "
            f"{option('study')} NAME looks in another study."
        )
    if len(found) > 1:
        listed = ", ".join(found[:MOST_IDS_LISTED]) + (", .." if len(found) > MOST_IDS_LISTED else "")
        raise UsageError(f"{counted(len(found), 'stage id')} begin with {digits!r}: {listed}. Give more digits.")
    return found[0]


def _what_there_is(plan: Plan, states: Mapping[str, str]) -> str:
    counts = Counter((spec.kind, states[stage_id]) for stage_id, spec in plan.stages.items())
    by_kind: dict[str, list[str]] = defaultdict(list)
    for (kind, state), count in counts.items():
        by_kind[kind].append(f"{count} {state}")
    return "There is: " + "; ".join(f"{kind} {', '.join(found)}" for kind, found in by_kind.items()) + "."
