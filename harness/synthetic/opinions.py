"""Verdicts on films and dishes: an adjective, what is done to it, and which clause counts."""

from __future__ import annotations

from harness.synthetic.draw import Draw
from harness.synthetic.grammar import capital
from harness.synthetic.words import BLAME, CHEERS, JEERS, PARTS, PRAISE, SUBJECTS

# Before an adjective: these leave it as it is, those turn it round.
PLAIN = ("very", "truly", "rather", "quite")
TURNED = ("not", "hardly", "far from", "never")
VERBS = ("was", "is", "seemed", "felt")
TAILS = ("all along", "as ever", "to me", "once more")
# A sentence of two clauses: which of them counts.
CONTRASTS = (
    "{yields}, but {counts}",
    "although {yields}, {counts}",
    "{counts}, although {yields}",
    "{yields}, yet {counts}",
)
REMARKS = (
    "{thing} was {first}, {second} and {third}.",
    "{thing} was {first} and {second}, so people {did} and {also}.",
    "people {did} and {also} as {thing} was {first}, {second} and {third}.",
    "people {did}, {also} and {more} because {said}.",
)
TURNING = 0.3  # share of sentences of one clause whose adjective is turned round
CONTRASTING = 0.75  # share of opinions of two clauses


def opinion(positive: bool, draw: Draw, *, subject: str | None = None) -> str:
    """A sentence whose verdict is this; mostly it concedes the opposite in a clause that yields.

    Its two clauses are alike but for what they are on and the adjective, and around that by two words on either side:
    no run of three words tells which adjective is in which clause.
    """
    thing = f"the {draw.one(SUBJECTS)}" if subject is None else subject
    if not draw.chance(CONTRASTING):
        return capital(_clause(positive, thing, draw)) + "."
    first, second = draw.some([thing, f"the {draw.one(PARTS)}"], 2)
    frame = f"{draw.one(VERBS)} {draw.one(PLAIN)} {{}} {draw.one(TAILS)}"
    good, bad = draw.one(PRAISE), draw.one(BLAME)
    counts, yields = (good, bad) if positive else (bad, good)
    clauses = {"counts": f"{first} {frame.format(counts)}", "yields": f"{second} {frame.format(yields)}"}
    return capital(draw.one(CONTRASTS).format(**clauses)) + "."


def remark(positive: bool, thing: str, draw: Draw) -> str:
    """A sentence of a review that leans on two words of the same side, or on what people did."""
    first, second, third = draw.some(PRAISE if positive else BLAME, 3)
    said = _clause(positive, thing, draw)
    did, also, more = draw.some(CHEERS if positive else JEERS, 3)
    words = {"first": first, "second": second, "third": third, "did": did, "also": also, "more": more}
    return capital(draw.one(REMARKS).format(thing=thing, said=said, **words))


def _clause(positive: bool, thing: str, draw: Draw) -> str:
    """That a thing (the film, the music) was good or was bad: plainly, or sometimes the opposite turned round."""
    turned = draw.chance(TURNING)
    adjective = draw.one(PRAISE if positive != turned else BLAME)
    return f"{thing} {draw.one(VERBS)} {draw.one(TURNED if turned else PLAIN)} {adjective} {draw.one(TAILS)}"
