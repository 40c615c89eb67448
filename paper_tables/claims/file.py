"""Claims as data: a TOML file of [[claims]], the shipped one or the user's own, checked with every problem at once."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import UsageError, system_problem, unknown_name
from harness.identity import NAME_IN_WORDS, is_name
from harness.specs import sparsity_problem
from harness.wording import shown
from paper_tables.claims.claim import Claim, Measurement
from paper_tables.claims.differences import Above, AboveWithFewerWeights, CostOfQuantization
from paper_tables.claims.lock import KeepsZeros
from paper_tables.claims.side import AXES, Side
from paper_tables.numbers.terms import TERMS


class _Field(NamedTuple):
    """A key of a claim. problem: what is wrong with a value, None: nothing. read: from TOML to what a claim holds."""

    problem: Callable[[Any], str | None]
    read: Callable[[Any], Any] = lambda value: value
    is_needed: bool = True


class _Kind(NamedTuple):
    """make: the measurement, from the kind's own keys."""

    make: Callable[..., Measurement]
    keys: Mapping[str, _Field]


def paper_claims() -> list[Claim]:
    """The claims of the paper."""
    file = resources.files("paper_tables.claims").joinpath("claims.toml")
    return parse_claims(file.name, file.read_text(encoding="utf-8"))


def claims_of_file(path: Path) -> list[Claim]:
    """Raises UsageError where it cannot be read, and for a malformed one with every problem."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"claims file {path} is not UTF-8 text (byte {error.start}).") from None
    except OSError as error:
        raise UsageError(f"claims file: {system_problem(error)}") from None
    return parse_claims(path.name, text)


def parse_claims(name: str, text: str) -> list[Claim]:
    """The claims of a file. Raises UsageError with every problem."""
    try:
        tree = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of TOML, or of a number of thousands of digits
        raise UsageError(f"{name} is not TOML: {error}.") from None
    entries = tree.get("claims")
    problems = [unknown_name("key", key, ("claims",)) for key in tree if key != "claims"]
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UsageError([f"{name}: {each}" for each in (*problems, "expected one [[claims]] table or more.")])
    for number, entry in enumerate(entries, 1):
        problems += [f"claim {number}: {problem}" for problem in _problems(entry)]
    ids = [entry["id"] for entry in entries if isinstance(entry.get("id"), str)]
    problems += [f"id {each!r} stands {ids.count(each)} times: each claim needs its own." for each in _repeated(ids)]
    if problems:
        raise UsageError([f"{name}: {problem}" for problem in problems])
    return [_claim(entry) for entry in entries]


def _claim(entry: Mapping[str, Any]) -> Claim:
    kind = _KINDS[entry["kind"]]
    own = {_ARGUMENTS.get(key, key): field.read(entry[key]) for key, field in kind.keys.items() if key in entry}
    return Claim(**{key: entry[key] for key in _COMMON}, measurement=kind.make(**own))


def _problems(entry: Mapping[str, Any]) -> list[str]:
    kind = entry.get("kind")
    own = _KINDS[kind].keys if isinstance(kind, str) and kind in _KINDS else _KINDS["above"].keys
    fields = {**_COMMON, **own}
    found = [unknown_name("key", key, fields) for key in entry if key not in fields]
    for key, field in fields.items():
        if key not in entry:
            found += [f"{key} is missing."] if field.is_needed else []
        elif problem := field.problem(entry[key]):
            found.append(f"{key} = {shown(entry[key])}: {problem}")
    return found or _unpaired(entry)


def _unpaired(entry: Mapping[str, Any]) -> list[str]:
    """What only one side names: of the other any row would do, and no single one is meant. Of sound sides."""
    one, other = entry.get("one", {}), entry.get("other", {})
    return [
        f"{has} names {axis}, and {lacks} does not: name it in both, or in neither where it is equal."
        for axis in AXES
        for has, lacks, sides in (("one", "other", (one, other)), ("other", "one", (other, one)))
        if axis in sides[0] and axis not in sides[1]
    ]


def _repeated(names: list[str]) -> list[str]:
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]


def _id_problem(value: Any) -> str | None:
    return None if isinstance(value, str) and is_name(value) else f"expected {NAME_IN_WORDS}."


def _sentence_problem(value: Any) -> str | None:
    plain = isinstance(value, str) and value.strip() and value.isprintable()
    return None if plain else "expected a sentence in one line."


def _kind_problem(value: Any) -> str | None:
    return None if isinstance(value, str) and value in _KINDS else f"expected one of {', '.join(_KINDS)}."


def _bound_problem(value: Any) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number and -100 <= value <= 100 else "expected points between -100 and 100."


def _side_problem(value: Any) -> str | None:
    if not isinstance(value, dict) or not value:
        return f"expected a table of {', '.join(AXES)}."
    found = [unknown_name("key", key, AXES) for key in value if key not in AXES]
    found += [f"{key}: expected a name." for key in ("model", "method") if key in value and not _is_word(value[key])]
    if "bits" in value and (type(value["bits"]) is not int or value["bits"] not in (8, 32)):
        found.append("bits: expected 32 (fp32) or 8 (int8).")
    if "sparsity" in value:
        share = value["sparsity"]
        is_number = isinstance(share, int | float) and not isinstance(share, bool)
        problem = sparsity_problem(share) if is_number else None
        found += [problem.message] if problem else [] if is_number else ["sparsity: expected a fraction in [0, 1)."]
    return " ".join(found) or None


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _terms_problem(value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        return "expected a list of settings by name."
    return " ".join(unknown_name("setting", name, TERMS) for name in value if name not in TERMS) or None


_COMMON = {
    "id": _Field(_id_problem),
    "sentence": _Field(_sentence_problem),
    "source": _Field(_sentence_problem),
    "kind": _Field(_kind_problem),
}
_SIDE = _Field(_side_problem, lambda value: Side(**value))
_PAIR = {
    "one": _SIDE,
    "other": _SIDE,
    "above": _Field(_bound_problem, float, is_needed=False),
}
_MAY_DIFFER = {"may_differ": _Field(_terms_problem, tuple, is_needed=False)}
_ARGUMENTS = {"above": "bound"}  # a key of the file -> what the measurement calls it, where that is another
_KINDS = {
    "above": _Kind(Above, {**_PAIR, **_MAY_DIFFER}),
    "above-with-fewer-weights": _Kind(AboveWithFewerWeights, {**_PAIR, **_MAY_DIFFER}),
    "cost-of-quantization": _Kind(CostOfQuantization, _PAIR),
    "keeps-zeros": _Kind(KeepsZeros, {}),
}
