"""In what two paths through stage graphs differ: their stages compared field by field, from the last back to the first.

Ids say whether two stages are one; this says which settings, inputs and stages set them apart, and lets a caller leave
out what does not count for its question. Here stand the words for differences, too: `described`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.planning.graph import Plan
from harness.specs import StageSpec

_MODEL_INPUTS = ("model", "tokenizer", "checkpoint")
CONTENTS = ("model", "data")  # differences whose values are content ids
MOST_NAMED = 3
# How the two values of a difference are put.
BOTH, BEFORE = "{name} ({one} and {other})", "{name} {other} (was {one})"


class Difference(NamedTuple):
    """what: "model", "data", "setting", "stages" or "version". name: of what differs, as "transfer.epochs".

    one, other: the two values; None where a side has none. Of a model or data they are content ids.
    of_code: whether it is a setting that one side lacks, and their code versions differ: one version brought it.
    """

    what: str
    name: str
    one: Any
    other: Any
    of_code: bool = False

    @property
    def is_of_a_seed(self) -> bool:
        """Whether it is one of seeds, told by the parameter's name."""
        return self.what == "setting" and "seed" in self.name.rpartition(".")[2]


@dataclass
class Comparison:
    """Compares stages of `one` with stages of `other`; what was compared once is remembered.

    counts: whether a difference matters.
    """

    one: Plan
    other: Plan
    counts: Callable[[Difference], bool] = lambda found: True
    _known: dict[tuple[str, str], tuple[Difference, ...]] = field(default_factory=dict, init=False, repr=False)

    def differences(self, one: str, other: str) -> tuple[Difference, ...]:
        """What sets stage `one` and all it depends on apart from stage `other`, each difference once."""
        if one == other:  # an id covers all that goes before
            return ()
        key = one, other
        if key not in self._known:
            found = self._found(self.one.stages[one], self.other.stages[other])
            self._known[key] = tuple({repr(each): each for each in found}.values())
        return self._known[key]

    def _found(self, one: StageSpec, other: StageSpec) -> Iterator[Difference]:
        if one.kind != other.kind:
            if self.counts(found := Difference("stages", "stage", one.kind, other.kind)):
                yield found
            return
        for each, theirs in counterparts(one, other).values():
            yield from self.differences(each, theirs)
        yield from filter(self.counts, self._own(one, other))

    def own(self, one: str, other: str) -> list[Difference]:
        """What sets stage `one` itself apart from stage `other`, whatever their parents are; nothing is remembered."""
        ours, theirs = self.one.stages[one], self.other.stages[other]
        if ours.kind != theirs.kind:
            return list(filter(self.counts, [Difference("stages", "stage", ours.kind, theirs.kind)]))
        return list(filter(self.counts, self._own(ours, theirs)))

    def _own(self, one: StageSpec, other: StageSpec) -> Iterator[Difference]:
        """Of two stages of one kind, without those of their parents."""
        for role in sorted(one.parents.keys() ^ other.parents.keys()):
            kinds = (_parent_kind(one, role, self.one), _parent_kind(other, role, self.other))
            yield Difference("stages", f"{role} of {one.kind}", *kinds)
        for name, ours, theirs in _differing(one.parameters, other.parameters):
            is_lacking = not (name in one.parameters and name in other.parameters)
            of_code = is_lacking and one.versions != other.versions
            yield Difference("setting", f"{one.kind}.{name}", ours, theirs, of_code)
        for role, *contents in _differing(one.inputs, other.inputs):
            yield Difference(*_input(one, role), *contents)
        for _, *versions in _differing(one.versions, other.versions):
            yield Difference("version", one.kind, *versions)


def counterparts(one: StageSpec, other: StageSpec) -> dict[str, tuple[str, str]]:
    """role -> the parents that two stages have in it, where both have one; none of stages of two kinds."""
    if one.kind != other.kind:
        return {}
    return {
        role: (one.parents[role], other.parents[role]) for role in sorted(one.parents.keys() & other.parents.keys())
    }


def described(differences: Iterable[Difference], values: str = BOTH, most: int = MOST_NAMED) -> list[str]:
    """The differences in words, each text once: models, data, then the settings and stages, and code versions.

    values: how a name and the two values are put, `BOTH`, `BEFORE` or another of that form. most: values that are
    named, before a count of the others.
    """
    unique = {(each.what, each.name): each for each in differences}.values()
    said = []
    for what in CONTENTS:
        if names := sorted(each.name for each in unique if each.what == what):
            said.append(f"the {what} ({', '.join(names)})")
    valued = [each for each in unique if each.what not in CONTENTS]
    said += [_with_values(each, values) for each in valued[:most]]
    return [*said, *([f"and {len(valued) - most} more"] if len(valued) > most else [])]


def _with_values(found: Difference, values: str) -> str:
    name = f"the code version of {found.name}" if found.what == "version" else found.name
    one, other = ("none" if value is None else value for value in (found.one, found.other))
    return values.format(name=name, one=one, other=other)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    if one == other:
        return []
    names = sorted(one.keys() | other.keys())
    return [(name, one.get(name), other.get(name)) for name in names if one.get(name) != other.get(name)]


def _parent_kind(spec: StageSpec, role: str, plan: Plan) -> str | None:
    return plan.stages[spec.parents[role]].kind if role in spec.parents else None


def _input(spec: StageSpec, role: str) -> tuple[str, str]:
    """What an input is, and its name for people."""
    if role in _MODEL_INPUTS:
        return "model", str(spec.parameters.get("model", role))
    return "data", str(spec.parameters.get("task", spec.kind))
