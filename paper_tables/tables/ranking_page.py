"""The page beside the figure of methods, in Markdown: each method's average over tasks, the best mean first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paper_tables.numbers.rows import method_title
from paper_tables.statistics.intervals import LEVEL
from paper_tables.tables.formats.markdown import grid_to_markdown, remarks_to_markdown, sentence
from paper_tables.tables.grid import Grid, GridCell
from paper_tables.tables.words import NOT_IN_STUDY, escaped, interval_text, printable, shortened, two_decimals

if TYPE_CHECKING:
    from paper_tables.figures.points import Chart, Point

_HEADER = ("method", "bits", "zeros", "% of dense", "95 % interval", "n")
HOW = (
    "% of dense: score relative to the mean of the dense model, mean over tasks. interval: "
    f"{LEVEL:.0%}, a bootstrap that draws seeds again within each task, from three seeds on; the dense mean is taken "
    "as given. It is of each row alone and compares no two. zeros: asked for; where they are an outcome, the mean "
    "share that was counted. n: seeds, the fewest of a task."
)


def ranking_page(chart: Chart) -> str:
    """chart: of one panel, an average, as `draw_ranking` takes it."""
    (panel,) = chart.panels
    parts = [f"## {escaped(printable(f'{chart.subject}: {panel.title}'))}\n"]
    parts += [grid_to_markdown(Grid("", _HEADER, tuple(map(_line, ranked)))) for ranked in panel.ranking.values()]
    return "\n".join([*parts, remarks_to_markdown((), [*map(sentence, chart.notes), HOW])])


def _line(point: Point) -> tuple[GridCell, ...]:
    texts = (
        shortened(printable(method_title(point.method))),
        str(point.bits),
        f"{100 * point.zeros:.4g} %",
        two_decimals(point.value),
        NOT_IN_STUDY if point.interval is None else interval_text(point.interval).replace("+", ""),
        str(point.n),
    )
    return tuple(map(GridCell, texts))
