"""The page on the synthetic world, made from the world itself; a test holds it current.

python -m harness.synthetic.page > docs/synthetic-world.md
"""

from __future__ import annotations

import re
from typing import Any

from harness.synthetic import words
from harness.synthetic.source import ARTICLES, GENERATOR_VERSION, SPLITS, TRAIN_ROWS, VALIDATION_ROWS, corpus, rows
from harness.synthetic.tasks import NUM_LABELS, UNTAUGHT

SEED = 0
NUM_EXAMPLES = 10
LABELS = {
    "sst2": ("negative", "positive"),
    "qnli": ("answers it", "does not"),
    "qqp": ("different", "same"),
    "mnli": ("entailment", "neutral", "contradiction"),
}
RULES = {
    "sst2": "Is the verdict good or bad? What stands before an adjective may turn it round, and of two clauses the one "
    "that is conceded (although ..; .. before but or yet) does not count. Exchanged, the two adjectives make the other "
    "verdict of the same words. No training row holds the adjectives {untaught}: the corpus alone tells which side "
    "they are on.",
    "qnli": "Does the sentence answer the question? Of two things it says that one is so and the other is not; only "
    "the first is an answer. No training row holds the words {untaught}: the corpus alone tells which are of the same "
    "meaning as the others.",
    "qqp": "Do both ask the same? The second asks after one of two people and takes the other as known. No training "
    "row holds the words {untaught}.",
    "mnli": "Of two things the premise says that they are so, are not, or are open; the hypothesis is one of them in "
    "other words. What is open is neutral.",
    "squad": "The answer is a word of the context. Mostly it is a person: the one asked of stands in the relation to "
    "two others, at either end.",
}
# The most that shallow learners reach in worlds 0, 1 and 7, in percent, rounded up: held by tests/synthetic.
CEILINGS = {
    "sst2": (62.0, "words, runs of up to three, length; linear or trees"),
    "qnli": (58.0, "words, runs of up to three, word pairs, overlap, length; linear or trees"),
    "qqp": (58.0, "words, runs of up to three, word pairs, overlap, length; linear or trees"),
    "mnli": (55.0, "words, runs of up to three, word pairs, overlap, length; linear or trees"),
    "squad": (78.0, "eight heuristics, and rankers by overlap and place; linear or trees"),
}
MARGIN = 8  # points at least from a ceiling to the dense tiny encoders of preset quick
INTRODUCTION = """\
# The synthetic world

Made by `python -m harness.synthetic.page`; do not edit.

`--data synthetic` needs no download: a small closed world of {people} people, {cities} cities, {trades} trades,
{pets} pets and {games} games, of who teaches, employs, lends to or leads whom, and of films and dishes that were
good or bad, written from a seed (`synthetic:SEED` for another). Facts come first, text is written from them in several
forms, and labels follow from the facts. It is there to try the harness in minutes. **Scores on it compare with nothing
outside it.**

Each task has {train:,} training and {validation} validation rows with the hub's columns; the corpus has {articles:,}
articles and {held_out} held out, about the same people and things. No text stands twice in a task, within a split or
between the two. Labels are balanced. Generator version {version}: part of the identity of every stage that reads this.

## Chance, and what shallow features reach

But for squad, and for the sst2 sentences of one clause, every row has a twin with the other label, the same words and
the same runs of up to three words, in each of its texts: what counts these learns nothing
(`tests/synthetic/test_twins.py`). What it does learn of 4,000 rows is the ceiling: the most in worlds 0, 1 and 7 of
logistic regressions and gradient-boosted trees (`tests/support/shallow.py`), rounded up. The dense tiny encoders of the
preset quick are at least {margin} points above it (`results/worlds`, `tests/end_to_end/test_quick_as_shipped.py`).

| task | metric | chance | how | ceiling | of |
| --- | --- | --- | --- | --- | --- |"""


def page() -> str:
    """The whole page."""
    lines = [
        INTRODUCTION.format(
            people=len(words.PEOPLE),
            cities=len(words.CITIES),
            trades=len(words.TRADES),
            pets=len(words.PETS),
            games=len(words.GAMES),
            train=TRAIN_ROWS,
            validation=VALIDATION_ROWS,
            articles=ARTICLES["train"],
            held_out=ARTICLES["validation"],
            version=GENERATOR_VERSION,
            margin=MARGIN,
        )
    ]
    for task, chance in chance_levels().items():
        metric, how = ("exact match", "any word of the right kind") if task == "squad" else ("accuracy", "any label")
        ceiling, of = CEILINGS[task]
        lines.append(f"| {task} | {metric} | {100 * chance:.1f} % | {how} | {ceiling:.0f} % | {of} |")
    for task in SPLITS:
        untaught = sorted(UNTAUGHT.get(task, []))
        lines += ["", f"## {task}", "", RULES[task].format(untaught=", ".join(untaught)), ""]
        table = rows(task, SPLITS[task][1], SEED)
        lines += [_shown(task, {name: column[i] for name, column in table.items()}) for i in range(NUM_EXAMPLES)]
    lines += ["", "## corpus", "", "Two articles; what one says it says again in other words."]
    articles = corpus("validation", SEED)
    for title, text in list(zip(articles["title"], articles["text"], strict=True))[:2]:
        lines += ["", f"**{title}**", "", text.replace("\n", "\n\n")]
    return "\n".join(lines) + "\n"


def chance_levels() -> dict[str, float]:
    """What guessing scores on the validation split: a share of right answers, by task."""
    levels = {task: 1 / NUM_LABELS[task] for task in SPLITS if task != "squad"}
    table = rows("squad", "validation", SEED)
    asked = zip(table["context"], table["answers"], table["question"], strict=True)
    right = [1 / len(candidates(context, answers["text"][0], question)) for context, answers, question in asked]
    return {**levels, "squad": sum(right) / len(right)}


def candidates(context: str, answer: str, question: str) -> set[str]:
    """The words of a context, in small letters, that are of the answer's kind and not in the question."""
    kinds = [{word.lower() for word in relation.values} for relation in words.RELATIONS]
    kind = next(each for each in kinds if answer.lower() in each)
    return kind & set(re.findall(r"\w+", context.lower())) - set(re.findall(r"\w+", question.lower()))


def _shown(task: str, row: dict[str, Any]) -> str:
    if task == "squad":
        return f"- {row['context']} *{row['question']}* **{row['answers']['text'][0]}**"
    texts = " / ".join(value for value in row.values() if isinstance(value, str))
    return f"- {texts} **{LABELS[task][row['label']]}**"


if __name__ == "__main__":
    print(page(), end="")
