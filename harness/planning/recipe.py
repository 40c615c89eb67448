"""Recipe: every hyperparameter of every stage, each value with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.errors import Problem, UsageError, unknown, unknown_name
from harness.planning import parameter
from harness.planning.kinds import KINDS, TASK_DATA, StageKind
from harness.planning.parameter import Parameter
from harness.specs import as_sparsity, sparsity_problem
from harness.tasks import TASKS, Task
from harness.wording import assignment, option

SPARSITIES = "sparsities"  # the word of a scope
SEARCHED = "searched"  # methods for which it was done in the same words are on equal terms
PRESET_EVIDENCE = (*parameter.EVIDENCE, SEARCHED)
EVIDENCE = (*PRESET_EVIDENCE, "set")
OF_TASK = ("assumed", "the task's own declaration")  # evidence of a data setting that a task file gives


class WrongCall(UsageError):
    """A method gives a stage what no stage of that kind can have: a mistake of its declaration, not of the user."""


@dataclass(frozen=True)
class Setting:
    """A value, the kind of evidence for it, and the source or reason."""

    value: Any
    evidence: str
    source: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings by dotted key, as a preset and `--set` give them.

    owned: the stage kinds of the grid's methods, by name, beside the built-in ones.
    all_owned: whether every method of the grid could be loaded. Where one could not, which is a problem of its own,
    keys of kinds that nobody knows are not judged.
    tasks: those that a setting and a cell may speak of, by name.
    given_over: the keys that a user gave, each with the preset's setting, None where it had none.
    """

    settings: Mapping[str, Setting]
    owned: Mapping[str, StageKind] = field(default_factory=dict)
    all_owned: bool = field(default=True, compare=False)
    tasks: Mapping[str, Task] = field(default_factory=lambda: TASKS, compare=False)
    given_over: Mapping[str, Setting | None] = field(default_factory=dict, compare=False)

    @property
    def kinds(self) -> Mapping[str, StageKind]:
        """Every kind that a setting may speak of: the built-in ones and those of the grid's methods."""
        return {**KINDS, **self.owned}

    def changed(self, values: Mapping[str, Any]) -> Recipe:
        """A recipe with other values for some of its keys. Raises UsageError listing every bad one."""
        settings, kinds = dict(self.settings), self.kinds
        problems: list[Problem] = []
        for key, value in values.items():
            what = f"{option('set')} {assignment(key, value)}"
            declared = parameter_of_key(key, kinds, self.tasks)
            if declared is None and not self.all_owned and is_of_unknown_owner(key, kinds):
                continue
            if declared is None:
                owned = (f"{kind.name}.{name}" for kind in self.owned.values() for name in kind.recipe)
                problems.append(unknown("recipe key", key, [*self.settings, *owned], where=f"{what}: "))
                continue
            try:
                settings[key] = Setting(declared.parse(value), "set", "command line")
            except ValueError as error:
                problems.append(Problem(f"{what}: {error}"))
        if problems:
            raise UsageError(problems)
        over = {key: self.given_over.get(key, self.settings.get(key)) for key in values if key in settings}
        return replace(self, settings=settings, given_over={**self.given_over, **over})

    def parameters(
        self,
        kind: StageKind,
        *,
        model: str | None = None,
        task: str | None = None,
        sparsity: float | None = None,
    ) -> dict[str, Any]:
        """Every recipe parameter of a stage, fully resolved. Raises UsageError naming every missing key.

        sparsity: of a stage that has one, whose parameters may be given for each. One that is given for some has no
        default for the others: what was chosen for a sparsity says that no one value is right for all.
        """
        found, missing = {}, []
        for name, declared in kind.recipe.items():
            setting = self._given(kind, name, model, task, sparsity)
            if setting is not None:
                found[name] = setting.value
                continue
            scope = ""
            if sparsity is not None and self._is_for_others(kind, name):
                scope = f".{_of_sparsity(sparsity)}"
            if declared.default is None or scope:
                missing.append(f"{kind.name}{scope}.{name}")
            else:
                found[name] = declared.default
        if task is not None:
            own = dict(self.tasks[task].settings)
            for name in filter(self.tasks[task].has_setting, kind.task_data):
                if f"task.{task}.{name}" in self.settings:
                    found[name] = self.settings[f"task.{task}.{name}"].value
                elif name in own:
                    found[name] = own[name]
                else:
                    missing.append(f"task.{task}.{name}")
        if missing:
            give = option("set")
            raise UsageError(
                [
                    Problem(f"the recipe has no value for {key}", next_move=f"Give one: {give} {key}=..")
                    for key in missing
                ]
            )
        return found

    def _is_for_others(self, kind: StageKind, name: str) -> bool:
        """Whether the recipe gives a parameter for single sparsities, asked where it gives none for this one."""
        scopes = (split_key(key) for key in self.settings if key.endswith(f".{name}"))
        return any(section == kind.name and SPARSITIES in scope[::2] for section, scope, _ in scopes)

    def defaults(
        self,
        kind: StageKind,
        *,
        model: str | None = None,
        task: str | None = None,
        sparsity: float | None = None,
    ) -> dict[str, Setting]:
        """The declared defaults that such a stage uses, by dotted key, with their evidence."""
        found = {
            f"{kind.name}.{name}": Setting(declared.default, *declared.evidence)
            for name, declared in kind.recipe.items()
            if declared.default is not None and self._given(kind, name, model, task, sparsity) is None
        }
        own = dict(self.tasks[task].settings) if task is not None else {}
        keys = {f"task.{task}.{name}": own[name] for name in kind.task_data if name in own}
        given = {key: Setting(value, *OF_TASK) for key, value in keys.items() if key not in self.settings}
        return found | given

    def key_for(
        self,
        kind: StageKind,
        name: str,
        model: str | None = None,
        task: str | None = None,
        sparsity: float | None = None,
    ) -> str | None:
        """The dotted key that gives a stage its value of a parameter: the most specific one; None: no setting does."""
        if name in kind.task_data:
            key = f"task.{task}.{name}"
            return key if key in self.settings else None
        keys = setting_keys(kind.name, name, model=model, task=task, sparsity=sparsity)
        keys += [f"common.{name}"] if kind.is_common(name) else []
        return next((key for key in keys if key in self.settings), None)

    def value_for(
        self,
        kind: StageKind,
        name: str,
        model: str | None = None,
        task: str | None = None,
        sparsity: float | None = None,
    ) -> Any:
        """A stage's value of a parameter, by a setting or its declared default; None where there is neither."""
        key = self.key_for(kind, name, model, task, sparsity)
        if key is not None:
            return self.settings[key].value
        return kind.recipe[name].default if name in kind.recipe else None

    def without(self, key: str) -> Recipe:
        """The recipe as it would be, had the user not given this key."""
        before = self.given_over.get(key)
        settings = {each: setting for each, setting in self.settings.items() if each != key}
        return replace(self, settings={**settings, key: before} if before is not None else settings)

    def _given(
        self, kind: StageKind, name: str, model: str | None, task: str | None, sparsity: float | None
    ) -> Setting | None:
        """The most specific setting for a parameter of a stage."""
        key = self.key_for(kind, name, model, task, sparsity)
        return None if key is None else self.settings[key]


def setting_keys(
    kind: str, name: str, *, model: str | None, task: str | None, sparsity: float | None = None
) -> list[str]:
    """The keys of a kind's own that may give a parameter of a stage its value, the most specific first.

    The sparsity counts least: what is given for a task goes before what is given for a sparsity alone.
    """
    scopes = [f"{kind}.models.{model}.tasks.{task}", f"{kind}.tasks.{task}", f"{kind}.models.{model}", kind]
    if sparsity is not None:
        scopes = [each for scope in scopes for each in (f"{scope}.{_of_sparsity(sparsity)}", scope)]
    return [f"{scope}.{name}" for scope in scopes]


def _of_sparsity(sparsity: float) -> str:
    """sparsities.0.9: as a page prints it."""
    return f"{SPARSITIES}.{as_sparsity(sparsity):g}"


def fixed_settings(kind: StageKind, values: Mapping[str, Any], *, without: Sequence[str] = ()) -> dict[str, Any]:
    """What a method gives in the place of a recipe's values, in the declared types.

    without: parameters that this stage has not. Raises WrongCall for an unknown name or a value it cannot have.
    """
    known = [name for name in kind.recipe if name not in without]
    problems = [f"{kind.name}: {unknown_name('setting', name, known)}" for name in values if name not in known]
    fixed = {}
    for name in values.keys() & set(known):
        try:
            fixed[name] = kind.recipe[name].parse(values[name])
        except ValueError as error:
            problems.append(f"{kind.name}.{name}: {error}")
    if problems:
        raise WrongCall(problems)
    return fixed


def parameter_of_key(key: str, kinds: Mapping[str, StageKind], tasks: Mapping[str, Task] = TASKS) -> Parameter | None:
    """The parameter that a dotted recipe key gives a value of, or None where no stage kind has it."""
    section, scope, name = split_key(key)
    if section == "common":
        return None if scope else next((kind.recipe[name] for kind in KINDS.values() if name in kind.recipe), None)
    if section == "task":
        return TASK_DATA.get(name) if len(scope) == 1 and scope[0] in tasks else None
    if section in kinds and _is_scope(scope, tasks, has_sparsity="sparsity" in kinds[section].identity):
        return kinds[section].recipe.get(name)
    return None


def split_key(key: str) -> tuple[str, list[str], str]:
    """Section, scope and name: "transfer.tasks.sst2.epochs" is of transfer, scope [tasks, sst2].

    The section of an owned kind is OWNER:NAME; its OWNER may have dots, as a sparsity, the last word of a scope, has.
    """
    head, _, name = key.rpartition(".")
    section = head.partition(".")[0]
    if ":" in head and section not in (*KINDS, "common", "task"):
        owner, _, rest = head.partition(":")
        section = f"{owner}:{rest.partition('.')[0]}"
    scope = head.removeprefix(section).removeprefix(".")
    words = scope.split(".") if scope else []
    if SPARSITIES in words[::2]:
        at = words[::2].index(SPARSITIES) * 2 + 1
        words = [*words[:at], ".".join(words[at:])]
    return section, words, name


def is_of_unknown_owner(key: str, kinds: Mapping[str, StageKind]) -> bool:
    """Whether a key speaks of a kind OWNER:NAME that is not among the known ones."""
    section = split_key(key)[0]
    return ":" in section and section not in kinds


def _is_scope(words: list[str], tasks: Mapping[str, Task], *, has_sparsity: bool) -> bool:
    """[], [tasks, TASK], [models, MODEL] or [models, MODEL, tasks, TASK]; of a kind that has a sparsity each of them
    may go on with [sparsities, SPARSITY]."""
    if has_sparsity and words[-2:-1] == [SPARSITIES]:
        if not _is_sparsity(words[-1]):
            return False
        words = words[:-2]
    if words[:1] == ["models"] and len(words) >= 2:
        words = words[2:]
    return not words or (len(words) == 2 and words[0] == "tasks" and words[1] in tasks)


def _is_sparsity(text: str) -> bool:
    """A fraction in [0, 1) as a page prints it: 0.9, not .90."""
    try:
        value = float(text)
    except ValueError:
        return False
    return sparsity_problem(value) is None and f"{as_sparsity(value):g}" == text
