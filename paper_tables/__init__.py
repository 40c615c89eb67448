"""Tables of the paper, rebuilt from finished scores: Score -> Row -> text.

Each module ignores the next one: `score` is the input, `rows` the statistics, `render` the text, `published` what the
paper prints. Nothing here trains, evaluates or reads a store, so a laptop without torch can rebuild every table.
"""

from paper_tables.published import PublishedNumber, load_published, published_value
from paper_tables.render import to_csv, to_markdown
from paper_tables.rows import Row, aggregate
from paper_tables.score import Score

__all__ = [
    "PublishedNumber",
    "Row",
    "Score",
    "aggregate",
    "load_published",
    "published_value",
    "to_csv",
    "to_markdown",
]
