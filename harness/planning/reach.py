"""Reach: which stages of a plan have their value from a recipe key, and which have another that goes before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.planning.graph import Plan
from harness.planning.kinds import DISTILLATION, SOFT_TARGETS, TOKEN_DISTILLATION, StageKind
from harness.planning.recipe import SPARSITIES, Recipe, split_key
from harness.specs import StageSpec
from harness.wording import assignment, counted, option

MOST_KEYS_LISTED = 6


@dataclass(frozen=True, kw_only=True)
class Reach:
    """What one setting of the user does in a plan.

    concerned: the stages it speaks of by kind, model and task, by id. reached: those that have its value.
    changes: whether any of these would have another value without it. before: the settings that go before it in the
    others, by key; a method's own values have no key.
    """

    key: str
    value: Any
    concerned: Mapping[str, StageSpec]
    reached: tuple[str, ...]
    changes: bool
    before: Mapping[str, Any]

    @property
    def is_whole(self) -> bool:
        """Whether it does all that one expects: every stage that it speaks of has another value by it."""
        return self.changes and len(self.reached) == len(self.concerned)

    def as_json(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "value": self.value,
            "stages": list(self.reached),
            "of": len(self.concerned),
            "changes": self.changes,
            "values_of_their_own": dict(self.before),
        }

    def sentence(self) -> str:
        """What people should know of it."""
        what = f"{option('set')} {_shown(self.key, self.value)}"
        if not self.concerned:
            return f"{what} changes nothing in this grid: no stage has it."
        if not self.reached:
            return f"{what} changes nothing in this grid: {self._others()}."
        if len(self.reached) == len(self.concerned):
            reaches = f"reaches {'the' if len(self.reached) == 1 else 'all'} {self._stages()}"
        else:
            reaches = f"reaches {len(self.reached)} of {self._stages()}{self._tasks()}; {self._others()}"
        return f"{what} {reaches}." if self.changes else f"{what} changes nothing in this grid: they have that value."

    def _stages(self) -> str:
        kinds = {spec.kind for spec in self.concerned.values()}
        return counted(len(self.concerned), f"{kinds.pop()} stage" if len(kinds) == 1 else "stage")

    def _tasks(self) -> str:
        """The tasks of the reached stages, in brackets, where those of all are more."""
        reached = dict.fromkeys(self.concerned[stage].parameters.get("task") for stage in self.reached)
        everything = {spec.parameters.get("task") for spec in self.concerned.values()}
        return f" ({', '.join(map(str, reached))})" if None not in reached and len(reached) < len(everything) else ""

    def _others(self) -> str:
        count = len(self.concerned) - len(self.reached)
        if count == 1:
            said = f"the {'other' if self.reached else self._stages()} has a value of its own"
        else:
            said = f"{f'the other {count}' if self.reached else f'all {self._stages()}'} have values of their own"
        keys = [_shown(key, value) for key, value in self.before.items()]
        listed = ", ".join(keys[:MOST_KEYS_LISTED]) + (", .." if len(keys) > MOST_KEYS_LISTED else "")
        return f"{said}: {listed}" if keys else f"{said}, by the method"


def _shown(key: str, value: Any) -> str:
    """KEY=VALUE; a float that is a whole number as people write it."""
    return assignment(key, int(value) if isinstance(value, float) and value.is_integer() else value)


def reach_of(key: str, recipe: Recipe, plan: Plan) -> Reach:
    """What the setting of that key does in a plan made with this recipe."""
    name = split_key(key)[2]
    setting, without = recipe.settings[key], recipe.without(key)
    concerned = {stage_id: plan.stages[stage_id] for stage_id in _concerned(key, recipe.kinds, plan)}
    reached: list[str] = []
    before: Counter[str] = Counter()
    changes = False
    for stage_id, spec in concerned.items():
        kind, task = recipe.kinds[spec.kind], spec.parameters.get("task")
        place = (kind, name, plan.models.get(stage_id), task, spec.parameters.get("sparsity"))
        given = recipe.key_for(*place)
        if given == key and _value(name, spec, kind) == setting.value:
            reached.append(stage_id)
            changes |= without.value_for(*place) != setting.value
        elif given is not None and given != key:
            before[given] += 1
    return Reach(
        key=key,
        value=setting.value,
        concerned=concerned,
        reached=tuple(reached),
        changes=changes,
        before={each: recipe.settings[each].value for each in before},
    )


def _concerned(key: str, kinds: Mapping[str, StageKind], plan: Plan) -> Iterator[str]:
    """The stages that have the key's parameter, of the kind, model, task and sparsity that it names, if it does."""
    section, scope, name = split_key(key)
    words = dict(zip(scope[::2], scope[1::2], strict=False))  # {"models": MODEL, "tasks": TASK, "sparsities": SHARE}
    sparsity = float(words[SPARSITIES]) if SPARSITIES in words else None
    task = scope[0] if section == "task" else words.get("tasks")
    for stage_id, spec in plan.stages.items():
        kind = kinds.get(spec.kind)
        if kind is None or _value(name, spec, kind) is None:
            continue
        if section == "task":
            is_meant = name in kind.task_data
        elif section == "common":
            is_meant = name in kind.recipe and kind.is_common(name)
        else:
            is_meant = section == kind.name
        if (
            is_meant
            and (task is None or spec.parameters.get("task") == task)
            and words.get("models") in (None, plan.models.get(stage_id))
            and sparsity in (None, spec.parameters.get("sparsity"))
        ):
            yield stage_id


def _value(name: str, spec: StageSpec, kind: StageKind) -> Any:
    """A stage's value of a parameter; None: it has none. A silent one has its default where the stage does not say it.

    Of distillation a stage without a teacher has nothing, be it silent or not.
    """
    if name in spec.parameters or name not in kind.silent:
        return spec.parameters.get(name)
    if name in (*DISTILLATION, *TOKEN_DISTILLATION) and not spec.parameters.keys() & SOFT_TARGETS.keys():
        return None
    return kind.recipe[name].default
