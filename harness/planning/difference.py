"""In what two paths through stage graphs differ: their stages compared field by field, from the last back to the first.

Ids say whether two stages are one; this says which settings, inputs and stages set them apart, and lets a caller leave
out what does not count for its question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from harness.planning.graph import Plan
from harness.specs import StageSpec

_MODEL_INPUTS = ("model", "tokenizer", "checkpoint")


class Difference(NamedTuple):
    """what: "model", "data", "setting", "stages" or "version". name: of what differs, as "transfer.epochs".

    one, other: the two values; None where a side has none. Of a model or data they are content ids.
    """

    what: str
    name: str
    one: Any
    other: Any

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
        for role in sorted(one.parents.keys() & other.parents.keys()):
            yield from self.differences(one.parents[role], other.parents[role])
        yield from filter(self.counts, self._own(one, other))

    def _own(self, one: StageSpec, other: StageSpec) -> Iterator[Difference]:
        """Of two stages of one kind, without those of their parents."""
        for role in sorted(one.parents.keys() ^ other.parents.keys()):
            kinds = (_parent_kind(one, role, self.one), _parent_kind(other, role, self.other))
            yield Difference("stages", f"{role} of {one.kind}", *kinds)
        for name, *values in _differing(one.parameters, other.parameters):
            yield Difference("setting", f"{one.kind}.{name}", *values)
        for role, *contents in _differing(one.inputs, other.inputs):
            yield Difference(*_input(one, role), *contents)
        for _, *versions in _differing(one.versions, other.versions):
            yield Difference("version", one.kind, *versions)


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
