"""The closed vocabulary of the synthetic world: who and what there is, and the ways to say how they are related.

Changing anything here changes every text: raise `harness.synthetic.source.GENERATOR_VERSION`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PEOPLE = _words("Anna Ben Carl Dora Emil Fay Greta Hugo Ida Jon Karl Lena Milo Nina Otto Petra Quinn Rosa Sven Tara")
CITIES = _words("Paris Rome Oslo Cairo Lima Delhi Kyoto Quito")
TRADES = _words("baking nursing flying farming painting sewing fishing banking")
PETS = _words("dogs cats horses goats parrots geese hens ducks")
GAMES = _words("chess tennis golf rugby hockey darts polo squash")


@dataclass(frozen=True)
class Relation:
    """One thing that can be said of a person.

    values: what may stand at its other end. exclusive: a person has one value in a scene; where it is not, people are
    at both ends. forms: said, with {s} the person and {v} the value; asks_value, asks_subject: questions, the first
    with {s}, the second with {v}. nouns: two words for what a trait is about.
    """

    name: str
    values: tuple[str, ...]
    exclusive: bool
    forms: tuple[str, ...]
    asks_value: tuple[str, ...]
    asks_subject: tuple[str, ...] = ()
    nouns: tuple[str, str] = ("", "")


def _trait(name: str, values: tuple[str, ...], forms: tuple[str, str], nouns: tuple[str, str]) -> Relation:
    """What a person has one of. All are said and asked in one shape, so that places and lengths tell nothing."""
    asks = (f"which of the {nouns[1]} has {{s}}", f"what {nouns[0]} has {{s}}")
    return Relation(name, values, True, forms, asks, nouns=nouns)


def _tie(name: str, forward: Sequence[str], backward: Sequence[str]) -> Relation:
    """What one person does to another: `forward` between {s} and {v}, `backward` the same between {v} and {s}.

    All forms have one shape, so that only the words tell who does it; no two share the word before or behind a name.
    """
    return Relation(
        name,
        PEOPLE,
        False,
        (*(f"{{s}} {words} {{v}}" for words in forward), *(f"{{v}} {words} {{s}}" for words in backward)),
        tuple(f"who {words} {{s}}" for words in backward),
        tuple(f"who {words} {{v}}" for words in forward),
    )


TRAITS = (
    _trait("lives in", CITIES, ("{s} lives in {v}", "{v} is home to {s}"), ("houses", "cities")),
    _trait("earns by", TRADES, ("{s} earns by {v}", "{v} is work for {s}"), ("jobs", "trades")),
    _trait("looks after", PETS, ("{s} looks after {v}", "{v} are kept by {s}"), ("pets", "animals")),
    _trait("competes at", GAMES, ("{s} competes at {v}", "{v} is played by {s}"), ("games", "sports")),
)
TIES = (
    _tie("teaches", ("teaches", "gives lessons to"), ("learns from", "is a pupil of")),
    _tie("employs", ("employs", "gives work to"), ("works for", "is paid by")),
    _tie("lends to", ("lends to", "is owed by"), ("borrows from", "owes")),
    _tie("leads", ("leads", "goes ahead of"), ("follows", "walks behind")),
)
RELATIONS = (*TRAITS, *TIES)

SUBJECTS = _words("film book song play show tale dish walk poem dance story picture")
PARTS = _words("start end middle plot cast music pace style")
PRAISE = _words("good great lovely bright charming fresh funny clever")
BLAME = _words("bad awful dull boring clumsy stale weak silly")
CHEERS = _words("cheered clapped smiled stayed")
JEERS = _words("booed yawned frowned left")
