"""Names that would break a page: they stay names, in every format, and no table grows wider than a terminal."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from paper_tables.numbers.rows import aggregate
from paper_tables.numbers.score import Score
from paper_tables.tables.build import build_rows, whole_study
from paper_tables.tables.formats.html import html_page, to_html
from paper_tables.tables.formats.latex import to_latex
from paper_tables.tables.formats.long_csv import to_csv
from paper_tables.tables.formats.markdown import remarks_to_markdown, to_markdown
from paper_tables.tables.grid import WIDTH
from paper_tables.tables.table import Table
from paper_tables.tables.words import printable, width

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b|c",
    "a\\|b\\",  # of a backslash that is not escaped, the pipe's own would be the second half
    "\\<img src=x onerror=alert(1)> \\[x](javascript:alert(1))",
    "line\nbreak\r\n| x |",
    "\x1b[31mred\x1b[0m\x07",
    r"\input{/etc/passwd} $x^2$ 50% #1 ~ {_} & \\",
    "[click](javascript:alert(1))",
    "`code` *bold* ![x](y)",
    "x" * 500,
    "‮txt.exe\u200b",
    "名前" * 60,
    "=HYPERLINK(1)",
    'a,b"c',
    "<" * 200,
    "--hyphens---",
]
BASE = Score(
    study="demo", model="tiny", method="m", sparsity=0.85, transfer_kd="yes", bits=32, task="squad",
    metric="exact_match", seed=0, value=81.0,
)  # fmt: skip


def table(name: str) -> Table:
    columns = [("squad", "exact_match"), ("squad", "f1"), ("qqp", "accuracy"), ("qqp", "f1")]
    scores = [
        replace(BASE, study=name, model=name, method=name, task=task, metric=metric, seed=seed, value=20.0 + 70 * seed)
        for task, metric in columns
        for seed in (0, 1)
    ]
    return build_rows(whole_study(), aggregate([*scores, replace(BASE, study=name, model=name, method="plain")]))


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_markdown_keeps_its_columns_and_its_width(name: str) -> None:
    text = to_markdown(table(name))
    rows = [line for line in text.split("\n") if line.startswith("|")]
    assert max(map(width, rows)) <= WIDTH
    grids = [grid.splitlines() for grid in re.split(r"\n\n+", text) if grid.startswith("|")]
    assert grids
    for grid in grids:  # a backslash takes the next character with it, whichever it is
        assert len({re.sub(r"\\.", "", line).count("|") for line in grid}) == 1
    bare = re.sub(r"\\.", "", text)
    assert "<" not in bare
    assert "](" not in bare
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f‮\u200b]", text)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_text_below_the_table_is_harmless_too(name: str) -> None:
    text = remarks_to_markdown([("a", name)], [name])
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f‮\u200b]", text)
    assert len(text.splitlines()) == 2
    bare = re.sub(r"\\.", "", text)
    assert "<" not in bare
    assert "](" not in bare


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_html_has_no_element_and_no_attribute_but_its_own(name: str) -> None:
    found = Elements()
    found.feed(html_page(name, [to_html(table(name))]))
    own = {"html", "head", "meta", "title", "style", "body", "h2", "table", "thead", "tbody", "tr", "th", "td", "sup"}
    assert found.names <= own | {"ul", "li"}
    assert found.attributes <= {"lang", "charset", "scope", "class"}
    assert printable(name) in found.text or f"{printable(name)[:10]}" in found.text


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_latex_has_no_command_and_no_special_character_but_its_own(name: str) -> None:
    text = to_latex(table(name))
    assert text.isascii()
    own = {
        "usepackage", "begin", "end", "centering", "small", "caption", "toprule", "midrule", "bottomrule", "par",
        "medskip", "item", "quad", "textsuperscript", "pm", "Delta", "dagger", "textbackslash", "textasciitilde",
        "textasciicircum", "textless", "textgreater", "textbar", "char", "texttt",
    }  # fmt: skip
    assert set(re.findall(r"\\([a-zA-Z]+)", text)) <= own
    assert not re.search(r"(?<!\\)[#~^_]", text)
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for line in text.splitlines()[1:]:
        assert not re.search(r"(?<!\\)%", line)
        if line.endswith("\\\\"):  # a row: as many cells as its tabular has columns
            assert not line.startswith(("[", "*"))
    for tabular in re.findall(r"\\begin\{tabular\}\{(lr*)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL):
        rows = [line for line in tabular[1].splitlines() if line.endswith("\\\\")]
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in rows} == {len(tabular[0])}


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_csv_gives_the_name_back(name: str) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(table(name)), newline="")))
    assert {row["method"] for row in rows} == {name, "plain"}
    assert {row["model"] for row in rows} == {name}
