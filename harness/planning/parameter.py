"""Parameter: one hyperparameter of a stage kind, with its type, its constraint and perhaps a default with evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from harness.errors import Problem
from harness.wording import option

TYPES = (bool, float, int, str)
EVIDENCE = ("published", "partner", "assumed")


@dataclass(frozen=True)
class Constraint:
    """Which values of its type a parameter may have. description: completes "expected .."."""

    is_valid: Callable[[Any], bool]
    description: str


@dataclass(frozen=True)
class Relation:
    """What the values of several parameters of one stage must be to each other.

    holds: takes the values in the order of `names`. expected: in words, completes "expected ..".
    A stage without one of the parameters is not concerned.
    """

    names: tuple[str, ...]
    holds: Callable[..., bool]
    expected: str

    def problem(self, values: Mapping[str, Any], key: Callable[[str], str]) -> Problem | None:
        """What is wrong with the parameters of a stage. key: the dotted recipe key of one of them."""
        if not all(name in values for name in self.names) or self.holds(*(values[name] for name in self.names)):
            return None
        found = ", ".join(f"{key(name)}={values[name]}" for name in self.names)
        return Problem(found, "set", self.expected, f"Change one of them: {option('set')} {key(self.names[-1])}=..")


@dataclass(frozen=True)
class Parameter:
    """A hyperparameter as a stage kind declares it.

    type: int, float, bool or str. at_least, above, at_most, below: bounds of a number. one_of: the values there are.
    default: the value where a preset gives none; None: a preset must give one. A default has exactly one evidence, as
    a value in a preset has: published (a source), partner (a source) or assumed (a reason).
    shared: it belongs to a group that many kinds share, so that `common.NAME` of a preset gives its value too.
    silent: a stage with the default does not have the parameter, so that it is the stage that was before there was one;
        its code takes the default where the parameter is missing.

    Raises ValueError for a declaration that contradicts itself.
    """

    type: type
    default: Any = field(default=None, kw_only=True)
    at_least: float | None = field(default=None, kw_only=True)
    above: float | None = field(default=None, kw_only=True)
    at_most: float | None = field(default=None, kw_only=True)
    below: float | None = field(default=None, kw_only=True)
    one_of: tuple[Any, ...] = field(default=(), kw_only=True)
    published: str | None = field(default=None, kw_only=True)
    partner: str | None = field(default=None, kw_only=True)
    assumed: str | None = field(default=None, kw_only=True)
    shared: bool = field(default=False, kw_only=True)
    silent: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"type={self.type!r}: expected one of {', '.join(each.__name__ for each in TYPES)}.")
        bounds = [name for name in ("at_least", "above", "at_most", "below") if getattr(self, name) is not None]
        if bounds and self.type not in (float, int):
            raise ValueError(f"{bounds[0]}={getattr(self, bounds[0])!r}: a {self.type.__name__} has no bounds.")
        if {"at_least", "above"} <= {*bounds} or {"at_most", "below"} <= {*bounds}:
            raise ValueError(f"{', '.join(bounds)}: expected one lower and one upper bound at most.")
        if self.default is None and self.silent:
            raise ValueError("silent=True: expected a default, which a stage has when it says nothing.")
        if self.default is None and self._evidence:
            raise ValueError(f"{self._evidence[0]}={getattr(self, self._evidence[0])!r}: evidence of which default?")
        if self.default is not None:
            if len(self._evidence) != 1 or not str(getattr(self, self._evidence[0])).strip():
                raise ValueError(f"default={self.default!r} needs exactly one of {', '.join(EVIDENCE)}, with its text.")
            object.__setattr__(self, "default", self.parse(self.default))

    def with_default(
        self, value: Any, *, published: str | None = None, partner: str | None = None, assumed: str | None = None
    ) -> Parameter:
        """The same parameter with a default: OPTIMIZER["learning_rate"].with_default(5e-5, published="Table 4")."""
        return replace(self, default=value, published=published, partner=partner, assumed=assumed)

    @property
    def evidence(self) -> tuple[str, str]:
        """Kind and text of the default's evidence: ("published", "Table 4")."""
        (kind,) = self._evidence
        return kind, getattr(self, kind)

    def is_told(self, value: Any) -> bool:
        """Whether a stage with this value has the parameter."""
        return not (self.silent and value == self.default)

    @property
    def constraint(self) -> Constraint | None:
        """None: any value of the type."""
        if self.one_of:
            return Constraint(lambda value: value in self.one_of, "one of " + ", ".join(map(str, self.one_of)))
        lower = self.at_least if self.above is None else self.above
        upper = self.at_most if self.below is None else self.below
        if lower is None and upper is None:
            return None
        return Constraint(self._is_within, self._interval(lower, upper))

    def parse(self, value: Any) -> Any:
        """The value in the parameter's type: a whole number may stand for a float.

        Raises ValueError for a value of another type, one that is not finite, or one that the constraint excludes.
        """
        if self.type is float and isinstance(value, int) and not isinstance(value, bool):
            try:
                value = float(value)
            except OverflowError:
                raise ValueError("it is too large for a float.") from None
        if type(value) is not self.type:
            raise ValueError(f"{value!r} is {type(value).__name__}, expected {self.type.__name__}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value!r}: expected a finite number.")
        constraint = self.constraint
        if constraint is not None and not constraint.is_valid(value):
            raise ValueError(f"{value!r}: expected {constraint.description}.")
        return value

    @property
    def _evidence(self) -> list[str]:
        return [name for name in EVIDENCE if getattr(self, name) is not None]

    def _is_within(self, value: float) -> bool:
        return not (
            (self.at_least is not None and value < self.at_least)
            or (self.above is not None and value <= self.above)
            or (self.at_most is not None and value > self.at_most)
            or (self.below is not None and value >= self.below)
        )

    def _interval(self, lower: float | None, upper: float | None) -> str:
        if upper is None:
            return f"{lower:g} or more" if self.above is None else f"a number above {lower:g}"
        if lower is None:
            return f"{upper:g} or less" if self.below is None else f"a number below {upper:g}"
        opening, closing = "[" if self.above is None else "(", "]" if self.below is None else ")"
        return f"a number in {opening}{lower:g}, {upper:g}{closing}"
