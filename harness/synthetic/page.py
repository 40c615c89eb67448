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
    "that is conceded (although ..; .. before but or yet) does not count. No training row holds the "
    "adjectives {untaught}: the corpus alone tells which side they are on.",
    "qnli": "Does the sentence answer the question? It tells one person's home, trade, pet or instrument, and who "
    "teaches or helps whom; a question that it does not answer asks of another of them, of nobody there, or another "
    "thing.",
    "qqp": "Do both ask the same? Of those that do not, some ask it of somebody else, some something else, some the "
    "same the other way round (who helps Anna; whom does Anna help). No training row "
    "names {untaught}.",
    "mnli": "Everybody has one home, one trade, one pet and one instrument: naming another denies it. What is not told "
    "of a person is neutral.",
    "squad": "The answer is a word of the context. Where people differ in what is asked, the context tells it of both.",
}
INTRODUCTION = """\
# The synthetic world

Made by `python -m harness.synthetic.page`; do not edit.

`--data synthetic` needs no download: a small closed world of {people} people, {cities} cities, {trades} trades,
{pets} pets and {instruments} instruments, and of films and dishes that were good or bad, written from a seed
(`synthetic:SEED` for another). Facts come first, text is written from them in several forms, and labels follow from
the facts. It is there to try the harness in minutes. **Scores on it compare with nothing outside it.**

Each task has {train:,} training and {validation} validation rows with the hub's columns; the corpus has {articles:,}
articles and {held_out} held out, about the same people and things. No text stands twice in a task, within a split or
between the two. Labels are balanced. Generator version {version}: part of the identity of every stage that reads this.

## Chance

| task | metric | chance | how |
| --- | --- | --- | --- |"""


def page() -> str:
    """The whole page."""
    lines = [
        INTRODUCTION.format(
            people=len(words.PEOPLE),
            cities=len(words.CITIES),
            trades=len(words.TRADES),
            pets=len(words.MAMMALS + words.BIRDS),
            instruments=len(words.STRINGS + words.WINDS),
            train=TRAIN_ROWS,
            validation=VALIDATION_ROWS,
            articles=ARTICLES["train"],
            held_out=ARTICLES["validation"],
            version=GENERATOR_VERSION,
        )
    ]
    for task, chance in chance_levels().items():
        metric, how = ("exact match", "any word of the right kind") if task == "squad" else ("accuracy", "any label")
        lines.append(f"| {task} | {metric} | {100 * chance:.1f} % | {how} |")
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
    right = [
        1 / len(candidates(context, answers["text"][0]))
        for context, answers in zip(table["context"], table["answers"], strict=True)
    ]
    return {**levels, "squad": sum(right) / len(right)}


def candidates(context: str, answer: str) -> set[str]:
    """The words of a context that are of the answer's kind."""
    kinds = [{word.lower() for word in relation.values} for relation in words.RELATIONS]
    kind = next(each for each in kinds if answer.lower() in each)
    return kind & set(re.findall(r"\w+", context.lower()))


def _shown(task: str, row: dict[str, Any]) -> str:
    if task == "squad":
        return f"- {row['context']} *{row['question']}* **{row['answers']['text'][0]}**"
    texts = " / ".join(value for value in row.values() if isinstance(value, str))
    return f"- {texts} **{LABELS[task][row['label']]}**"


if __name__ == "__main__":
    print(page(), end="")
