"""Remarks: what a reader must know of single published numbers, said wherever such a number is shown."""

from __future__ import annotations

from typing import NamedTuple

from paper_tables.numbers.published import PublishedNumber


class _Remark(NamedTuple):
    """columns: the (task, metric) of the numbers that it is of."""

    model: str
    method: str
    columns: tuple[tuple[str, str], ...]
    text: str


_REMARKS = (
    _Remark(
        "DistilBERT",
        "Reference (dense)",
        (("qqp", "f1"),),
        "Printed under QQP F1, but above BERT-Base's F1 (88.13), and no accuracy is printed beside it: it may be the "
        "accuracy. No F1 of ours is compared with it.",
    ),
    _Remark(
        "BERT-Base",
        "Reference (dense)",
        (("squad", "exact_match"), ("squad", "f1")),
        "The figure that model cards call the original one, not a run of the paper's authors; dense BERT-Base "
        "elsewhere: 81.41 / 88.54 (oBERT), 80.9 / 88.2, 80.91 / 88.23.",
    ),
    _Remark(
        "BERT-Base",
        "Chen et al. 2020 (lottery ticket, as quoted)",
        (("squad", "f1"),),
        "Listed at 70 % sparsity here, at 80 % in the oBERT paper (arXiv 2203.07259), whose 90 % numbers of this "
        "method are, but for QQP, marked as approximate.",
    ),
)
_BY_KEY = {(remark.model, remark.method, column): remark.text for remark in _REMARKS for column in remark.columns}


def remark_on(number: PublishedNumber) -> str | None:
    """One of the paper's Tables 1-3; None where nothing is to be said."""
    if not number.paper_table.startswith("Prune OFA paper"):
        return None
    return _BY_KEY.get((number.model, number.method, (number.task, number.metric)))
