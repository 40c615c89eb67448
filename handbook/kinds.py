"""The reference of stage kinds, those that methods bring too: parameters, constraints and defaults as declared."""

from __future__ import annotations

from handbook.markdown import code, plain, sections, table
from harness.planning import kinds
from harness.planning.kinds import KINDS, TASK_DATA, WORK, Parameters, StageKind
from harness.planning.method_registry import BUILT_IN, get_method
from harness.planning.parameter import Parameter

PATH = "docs/reference/stage-kinds.md"


def all_kinds() -> dict[str, StageKind]:
    """Those of the harness, then those of the methods that are shipped."""
    owned = {kind.name: kind for name in BUILT_IN for kind in get_method(name).kinds}
    return {**KINDS, **owned}


def page() -> str:
    found = all_kinds()
    return sections(
        "# Stage kinds",
        "Every kind of stage with its parameters, from their declarations. A preset gives the values "
        "(`[recipe.KIND]`), `--set KIND.NAME=VALUE` changes one, and each is a part of the stage's identity.",
        table(["work", "what a stage of it does"], ([code(name), what] for name, what in WORK.items())),
        table(
            ["kind", "work", "version"],
            ([f"[`{k.name}`](#{anchor(k)})", code(k.work), str(k.version)] for k in found.values()),
        ),
        "## Data settings of a task",
        "Under `task.TASK.NAME`; a kind says which of them it reads.",
        _parameters(TASK_DATA),
        *(_section(kind) for kind in found.values()),
        "## What a record holds",
        _records(),
    )


def anchor(kind: StageKind) -> str:
    return kind.name.replace(":", "").lower()


def _section(kind: StageKind) -> str:
    facts = [
        f"work: {code(kind.work)} ({WORK[kind.work]}); version {kind.version}; computed by {code(kind.run)}",
        f"given by the plan: {', '.join(map(code, kind.identity))}" if kind.identity else "",
        f"data settings: {', '.join(map(code, kind.task_data))}" if kind.task_data else "",
        *(f"{', '.join(map(code, each.names))}: expected {plain(each.expected)}" for each in kind.relations),
    ]
    return sections(f"## {kind.name}", "\n".join(f"- {fact}" for fact in facts if fact), _parameters(kind.recipe))


def _parameters(found: Parameters) -> str:
    rows = [[code(name), *_declared(parameter)] for name, parameter in found.items()]
    return table(["parameter", "type", "values", "default", "its evidence"], rows) if rows else "No parameters."


def _declared(parameter: Parameter) -> list[str]:
    values = parameter.constraint.description if parameter.constraint else "any"
    if parameter.default is None:
        return [parameter.type.__name__, plain(values), "", ""]
    kind, source = parameter.evidence
    return [parameter.type.__name__, plain(values), code(parameter.default), plain(f"{kind}: {source}")]


def _records() -> str:
    """The table in the head of the module that declares the kinds."""
    _, _, text = (kinds.__doc__ or "").partition("What a finished stage's record holds")
    return f"What a finished stage's record holds{text}"
