"""The page of claims: a line for each, then what each verdict rests on. In Markdown, at most 100 columns wide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby

from harness.wording import COLUMNS, counted
from paper_tables.claims.comparison import Comparison
from paper_tables.claims.lock import Kept
from paper_tables.claims.verdicts import ClaimVerdict
from paper_tables.numbers.scale import scale_of
from paper_tables.numbers.study_numbers import StudyNumbers
from paper_tables.statistics.intervals import Interval
from paper_tables.tables.formats.markdown import grid_to_markdown, sentence
from paper_tables.tables.grid import Grid, GridCell
from paper_tables.tables.words import column_title, escaped, interval_text, printable, shortened, signed, width

MOST_LETTERS = 28  # of a name in a table
_OVERVIEW = ("claim", "verdict", "effect", "95 % interval", "n", "p (Holm)")
_COMPARISON = ("task", "sparsity", "effect", "95 % interval", "n", "p", "p (Holm)", "verdict")
_KEPT = ("model", "sparsity", "stage", "models", "kept", "zeros in each", "lost")


def claims_page(numbers: StudyNumbers, verdicts: Sequence[ClaimVerdict]) -> str:
    """Same verdicts, same bytes."""
    scale = scale_of(numbers.study, numbers.records, numbers.study.plan.stages)
    parts = [
        f"# Claims, as study {escaped(printable(numbers.study.name))} has them\n",
        _paragraph(
            f"At {scale}. A verdict is about the models of this study; at another scale it says nothing of the paper's."
        ),
        _table(_OVERVIEW, [_overview(each) for each in verdicts]),
        *(_section(each) for each in verdicts),
        _legend(verdicts),
    ]
    return "\n".join(parts)


def _overview(found: ClaimVerdict) -> tuple[str, ...]:
    return (
        found.claim.id,
        found.verdict,
        _effect(found),
        "exact" if found.found.is_exact and found.found.n else _interval(found.found.interval),
        str(found.found.n or "-"),
        _p(found.p_adjusted),
    )


def _effect(found: ClaimVerdict) -> str:
    effect = found.found.effect
    if effect is None:
        return "-"
    return f"{effect:,.0f} lost" if found.found.is_exact else signed(effect)


def _section(found: ClaimVerdict) -> str:
    condition = f" Intervals are conditional on {found.found.condition}." if found.found.condition else ""
    scale = f" At {found.scale}." if found.scale else ""
    parts = [
        f"## {escaped(found.claim.id)}: {found.verdict}\n",
        _paragraph(f"{found.claim.sentence} ({found.claim.source}.)"),
        _paragraph(f"{_capital(found.verdict)}. {' '.join(found.reasons)}{condition}{scale}"),
    ]
    parts += [_paragraph(line) for line in (*_missing(found), *_bootstrap(found), *_of_paper(found))]
    for model, comparisons in groupby(found.found.comparisons, key=lambda each: each.model):
        parts += _comparisons(model, list(comparisons))
    if found.found.kept:
        parts.append(_table(_KEPT, [_kept(each) for each in found.found.kept]))
    return "\n".join(parts)


def _comparisons(model: str, comparisons: Sequence[Comparison]) -> list[str]:
    """The table of a model and, under it, what does not fit in: why a comparison cannot be made, weights."""
    first, ordered = comparisons[0], sorted(comparisons, key=lambda each: each.sparsity)
    weights = dict.fromkeys(
        f"{each.one}: {each.weights[0]:,} non-zero encoder weights; {each.other}: {each.weights[1]:,}."
        for each in ordered
        if each.weights
    )
    caption = _paragraph(f"{first.one} minus {first.other}, in points; claimed is more than {first.bound:g}:")
    notes = [*_reasons(ordered), *weights]
    return [caption, _table(_COMPARISON, map(_comparison, ordered)), *([_list(notes)] if notes else [])]


def _reasons(comparisons: Sequence[Comparison]) -> list[str]:
    """Why there is no test, and which comparisons that is true of."""
    found: dict[str, list[str]] = {}
    for each in comparisons:
        if each.p_adjusted is None or each.apart:
            found.setdefault(each.reason, []).append(f"{_task(each)} at {each.sparsity:g}")
    return [
        f"{'all' if len(where) == len(comparisons) else ', '.join(where)}: {reason}." for reason, where in found.items()
    ]


def _comparison(found: Comparison) -> tuple[str, ...]:
    return (
        _task(found),
        f"{found.sparsity:g}",
        "-" if found.effect is None else signed(found.effect),
        _interval(found.interval),
        str(found.n or "-"),
        _p(found.p_value),
        _p(found.p_adjusted),
        found.verdict,
    )


def _kept(found: Kept) -> tuple[str, ...]:
    done = found.stages - found.missing
    models = str(done) if not found.missing else f"{done} of {found.stages}"
    zeros = f"{found.zeros:,}" if done else "-"
    return found.model, f"{found.sparsity:g}", found.kind, models, str(found.kept), zeros, f"{found.lost:,}"


def _missing(found: ClaimVerdict) -> list[str]:
    if not found.missing:
        return []
    named = list(dict.fromkeys(each for comparison in found.found.comparisons for each in comparison.missing))
    return [f"Missing: {counted(found.missing, 'stage')} without a record{_listed(named)}."]


def _listed(named: Sequence[str], most: int = 6) -> str:
    if not named:
        return ""
    more = f"; and {len(named) - most} more" if len(named) > most else ""
    return f" ({'; '.join(named[:most])}{more})"


def _bootstrap(found: ClaimVerdict) -> list[str]:
    interval = found.found.as_json().get("bootstrap")
    if interval is None:
        return []
    return [
        f"The average by another road, a bootstrap that takes the comparisons for independent: {_interval(interval)}."
    ]


def _of_paper(found: ClaimVerdict) -> list[str]:
    """What the paper's own numbers say of it."""
    if not found.paper:
        return []
    bound = found.found.as_json()["bound"]
    points = [effect.points for effect in found.paper]
    above = sum(each > bound for each in points)
    return [
        f"In the paper's tables, of its own models: {above} of {len(points)} differences are above {bound:g} "
        f"({signed(min(points))} to {signed(max(points))})."
    ]


def _legend(verdicts: Sequence[ClaimVerdict]) -> str:
    tested = counted(sum(each.p_adjusted is not None for each in verdicts), "claim")
    lines = [
        "effect: the mean over seeds of the paired difference, in points; of a claim, of each seed's mean over all "
        "comparisons, by one metric a task (squad F1, qqp accuracy, mnli matched). n: seeds that all of them share.",
        "95 % interval: Student's t over seeds; none for fewer than three. p: of a difference of the claim's bound.",
        f"p (Holm): corrected; above, over the {tested} tested; in a claim, over its comparisons in every metric.",
        "held: the whole interval is above what is claimed, after correction; a claim, where its average is and no "
        "comparison is shown against it. not held: it is below; a claim also where one comparison is. cannot say: "
        "neither, or not after correction.",
        "Conditional on one pruning: all seeds start from the same pruned model; another pruning may differ by more.",
        "What each word means, with formulas and sources: docs/statistics.md.",
    ]
    return _list(lines)


def _task(found: Comparison) -> str:
    return column_title(found.task, found.metric)


def _interval(found: Interval | None) -> str:
    return "-" if found is None else interval_text(found)


def _p(value: float | None) -> str:
    return "-" if value is None else "≤0.001" if value <= 0.001 else f"{value:.3f}"


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def _paragraph(text: str) -> str:
    return "\n".join(_wrapped(sentence(text), COLUMNS)) + "\n"


def _list(lines: Iterable[str]) -> str:
    return "".join("- " + "\n  ".join(_wrapped(sentence(line), COLUMNS - 2)) + "\n" for line in lines)


def _wrapped(text: str, room: int) -> list[str]:
    """Lines of at most so many columns of a terminal, where a letter may take two.

    Long words are broken, but not between a backslash and what it escapes.
    """
    lines = [""]
    for word in text.split():
        if lines[-1] and width(lines[-1]) + 1 + width(word) <= room:
            lines[-1] += f" {word}"
            continue
        lines.append("")
        for letter in re.findall(r"\\?.", word):
            if width(lines[-1]) + width(letter) > room:
                lines.append("")
            lines[-1] += letter
    return lines[1:]


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = tuple(tuple(GridCell(shortened(printable(text), MOST_LETTERS)) for text in line) for line in body)
    return grid_to_markdown(Grid("", tuple(header), lines))
