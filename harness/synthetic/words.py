"""The closed vocabulary of the synthetic world: who and what there is, and the ways to say how they are related.

Changing anything here changes every text: raise `harness.synthetic.source.GENERATOR_VERSION`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PEOPLE = _words(
    "Anna Ben Carl Dora Emil Fay Greta Hugo Ida Jon Karl Lena Milo Nina Otto Petra Quinn Rosa Sven Tara Ursula Vera "
    "Willem Xenia Yuri Zora"
)
CITIES = _words("Paris Rome Oslo Cairo Lima Delhi Kyoto Quito Tunis Riga Bern Hanoi")
TRADES = _words("baker nurse pilot judge doctor farmer painter tailor")
MAMMALS = _words("dog cat horse goat rabbit")
BIRDS = _words("parrot goose hen duck falcon")
STRINGS = _words("violin cello harp guitar lute")
WINDS = _words("flute horn oboe trumpet bassoon")


@dataclass(frozen=True)
class Relation:
    """One thing that can be said of a person.

    values: what may stand at its other end. exclusive: a person has one value in a scene, so that naming another
    denies it. forms: (said, denied), with {s} the person and {v} the value; asks_value, asks_subject: questions, the
    first with {s}, the second with {v}.
    """

    name: str
    values: tuple[str, ...]
    exclusive: bool
    forms: tuple[tuple[str, str], ...]
    asks_value: tuple[str, ...]
    asks_subject: tuple[str, ...] = ()


RELATIONS = (
    Relation(
        "lives in",
        CITIES,
        True,
        (
            ("{s} lives in {v}", "{s} does not live in {v}"),
            ("{v} is home to {s}", "{v} is not home to {s}"),
        ),
        ("where does {s} live", "which city is home to {s}"),
    ),
    Relation(
        "works as",
        TRADES,
        True,
        (
            ("{s} works as a {v}", "{s} does not work as a {v}"),
            ("{s} is a {v} by trade", "{s} is not a {v} by trade"),
        ),
        ("what does {s} work as", "what is {s} by trade"),
    ),
    Relation(
        "keeps",
        MAMMALS + BIRDS,
        True,
        (
            ("{s} keeps a {v}", "{s} does not keep a {v}"),
            ("the pet of {s} is a {v}", "the pet of {s} is not a {v}"),
        ),
        ("which animal does {s} keep", "what is the pet of {s}"),
    ),
    Relation(
        "plays",
        STRINGS + WINDS,
        True,
        (
            ("{s} plays the {v}", "{s} does not play the {v}"),
            ("the {v} is played by {s}", "the {v} is not played by {s}"),
        ),
        ("what does {s} play", "what is played by {s}"),
    ),
    Relation(
        "teaches",
        PEOPLE,
        False,
        (
            ("{s} teaches {v}", "{s} does not teach {v}"),
            ("{v} is taught by {s}", "{v} is not taught by {s}"),
        ),
        ("whom does {s} teach", "who is taught by {s}"),
        ("who teaches {v}", "by whom is {v} taught"),
    ),
    Relation(
        "helps",
        PEOPLE,
        False,
        (
            ("{s} helps {v}", "{s} does not help {v}"),
            ("{v} is helped by {s}", "{v} is not helped by {s}"),
        ),
        ("whom does {s} help", "who is helped by {s}"),
        ("who helps {v}", "by whom is {v} helped"),
    ),
)
TRAITS = tuple(relation for relation in RELATIONS if relation.exclusive)
TIES = tuple(relation for relation in RELATIONS if not relation.exclusive)

# A wider word for some values of a relation, said in the same forms: whoever keeps a hen keeps a bird.
CLASSES: Mapping[str, tuple[str, ...]] = {"mammal": MAMMALS, "bird": BIRDS}

SUBJECTS = _words("film book song play show tale dish walk poem dance story picture")
PARTS = _words("start end middle plot cast music pace style")
PRAISE = _words("good great lovely bright charming fresh funny clever")
BLAME = _words("bad awful dull boring clumsy stale weak silly")
CHEERS = _words("cheered clapped smiled stayed")
JEERS = _words("booed yawned frowned left")
