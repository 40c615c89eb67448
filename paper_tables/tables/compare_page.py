"""The page of two studies side by side, in every format."""

from __future__ import annotations

import csv
import io

from paper_tables.tables.compare import Shared, StudyComparison, comparison_grids, comparison_remarks
from paper_tables.tables.formats import html, latex, markdown


def comparison_page(found: StudyComparison, form: str) -> str:
    """form: md, latex, csv or html."""
    remarks, grids = comparison_remarks(found), comparison_grids(found)
    match form:
        case "csv":
            return _csv(found.shared)
        case "latex":
            return latex.PREAMBLE + latex.grids_to_latex(grids) + latex.remarks_to_latex(remarks)
        case "html":
            body = [html.grids_to_html(grids), html.remarks_to_html(remarks)]
            return html.html_page(f"{found.one} and {found.other}", body)
    parts = [markdown.grids_to_markdown(grids), markdown.remarks_to_markdown((), remarks)]
    return "\n".join(filter(None, parts))


def _csv(shared: tuple[Shared, ...]) -> str:
    """Numbers in full: what is rounded is for people."""
    text = io.StringIO()
    if shared:
        rows = [{**each.as_json(), "seeds": " ".join(map(str, each.seeds))} for each in shared]
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return text.getvalue()
