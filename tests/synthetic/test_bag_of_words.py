"""What the words alone tell: a logistic regression on their counts, the best of several ways to count."""

from __future__ import annotations

import pytest
from made_tables import table
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from harness.tasks import TASKS

# Percent; the dense tiny encoder is to be at least 8 points above (docs/synthetic-world.md).
CEILINGS = {"sst2": 66, "qnli": 54, "mnli": 40}
COUNTERS = {
    "counts": CountVectorizer,
    "presence": lambda: CountVectorizer(binary=True),
    "tf-idf": TfidfVectorizer,
}


@pytest.mark.parametrize("counter", [*COUNTERS])
@pytest.mark.parametrize("task", [*CEILINGS])
def test_words_alone_tell_little(task: str, counter: str) -> None:
    counted = COUNTERS[counter]()
    train, validation = table(task, "train"), table(task, "validation")
    model = LogisticRegression(max_iter=300).fit(counted.fit_transform(texts(task, train)), train["label"])
    accuracy = 100 * model.score(counted.transform(texts(task, validation)), validation["label"])
    assert accuracy <= CEILINGS[task]


def texts(task: str, columns: dict[str, list[str]]) -> list[str]:
    return [" ".join(parts) for parts in zip(*(columns[name] for name in TASKS[task].text_columns), strict=True)]
