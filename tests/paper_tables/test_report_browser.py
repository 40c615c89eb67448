"""The page in a browser: what it does, asks for and says. One headless Chromium for all of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import made_reports
import pytest
from chromium import REQUIRED, Browser, Page, executable, opened
from grid_world import ROOT, plan
from made_reports import failed, large_plan, made_report, records_of, renamed

from harness.store.store import Store
from paper_tables.report.page import report_page
from paper_tables.report.study_report import StudyReport, read_report
from paper_tables.tables.words import signed, two_decimals

pytestmark = pytest.mark.slow

SMALLEST_WIDTH = 360  # of a phone
MOST_BYTES = 5_000_000
MOST_MS = 2_000

HOSTILE = {
    "script": "</script><script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(2)>',
    "template": "{{7*7}}{% raw %}${7*7}",
    "direction": "abc\u202edcba\u2066",
    "long": "w" * 10_000,
    "line": "a\nb\u2028c\x1b[31md\x00",
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the committed study quick."""
    path = tmp_path_factory.mktemp("quick") / "quick.html"
    path.write_text(report_page(read_report(Store(ROOT / "results" / "quick"), "quick")), encoding="utf-8")
    return path


@pytest.fixture
def written(tmp_path: Path) -> Callable[[StudyReport], Path]:
    def write(report: StudyReport) -> Path:
        path = tmp_path / "page.html"
        path.write_text(report_page(report), encoding="utf-8")
        return path

    return write


def texts(page: Page, selector: str) -> list[str]:
    found: list[str] = page.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.innerText.trim())"
    )
    return found


def column(page: Page, title: str) -> list[str]:
    """The texts of a column of the table, in order of its lines."""
    titles = texts(page, "#table thead th")
    number = next(i for i, text in enumerate(titles) if text.startswith(title)) + 1
    return texts(page, f"#table tbody tr > :nth-child({number})")


def choose(page: Page, name: str, value: str) -> None:
    page.run(
        f"(() => {{ const s = document.querySelector('#filters select[name={name}]'); s.value = {json.dumps(value)};"
        " s.dispatchEvent(new Event('change')); })()"
    )


def sort_by(page: Page, title: str) -> None:
    page.run(
        "[...document.querySelectorAll('#table thead button')]"
        f".find((b) => b.textContent.startsWith({json.dumps(title)})).click()"
    )


def fits(page: Page) -> bool:
    return bool(page.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def is_quiet(page: Page, path: Path) -> None:
    """Nothing was asked for but the page itself, and nobody complained."""
    assert [address for address in page.requests if address != path.as_uri()] == []
    assert page.complaints == []
    assert page.dialogs == 0


def numbers_in(cells: list[str]) -> list[float]:
    return [float(found[0]) for cell in cells if (found := re.match(r"[\d.]+", cell))]


@pytest.mark.parametrize(("required", "outcome"), [("", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_without_a_browser_ci_fails_and_others_skip(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv(REQUIRED, required)
    with pytest.raises(outcome, match="apt-get install chromium"):
        executable()


def test_the_page_asks_for_nothing_and_says_nothing(browser: Browser, quick: Path) -> None:
    with opened(browser, quick) as page:
        is_quiet(page, quick)
        assert page.run("document.documentElement.lang") == "en"
        assert page.run("performance.getEntriesByType('resource').length") == 0


def test_the_watch_sees_a_request_and_a_complaint(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "loud.html"
    path.write_text("<!doctype html><img src='other.png'><script>console.error('no'); missing();</script>")
    with opened(browser, path) as page:
        assert [address.rpartition("/")[2] for address in page.requests] == ["loud.html", "other.png"]
        assert len(page.complaints) >= 2


def test_the_table_shows_the_committed_means(browser: Browser, quick: Path) -> None:
    """Against the table that is committed beside the records, in Markdown."""
    lines = (ROOT / "results" / "quick" / "quick.md").read_text(encoding="utf-8").splitlines()
    expected = [
        [cell.strip() for cell in line.strip("|").split("|")][4:]
        for line in lines
        if line.startswith("| ") and not line.startswith("| method")
    ]
    with opened(browser, quick) as page:
        rows = texts(page, "#table tbody tr")
        shown = [re.findall(r"(\d+\.\d\d)\s*±\s*(\d+\.\d\d)", row) for row in rows]
    assert [[f"{mean}±{spread}" for mean, spread in row] for row in shown] == expected


def test_what_lies_half_way_between_two_decimals_is_written_as_in_the_tables(
    browser: Browser, written: Callable[[StudyReport], Path]
) -> None:
    """Two seeds on 400 examples: means are multiples of an eighth, and a half of a hundredth goes to the even one."""
    sparsities = [0.6, 0.7, 0.8, 0.9]
    planned = plan(methods=["prune-ofa"], sparsities=sparsities, tasks=["sst2"], seeds=[0, 1], quantization=["none"])
    records = records_of(planned)
    for cell in planned.paths:
        right = 337 + sparsities.index(cell.sparsity) - (cell.seed == 0)
        records[planned.endpoint(cell)]["result"]["metrics"]["sst2"]["accuracy"] = right / 400
    numbers = made_reports.numbers_of(made_reports.study_of(planned), records)
    expected = [two_decimals(row.value) for row in numbers.rows]
    assert expected == ["84.12", "84.38", "84.62", "84.88"]
    report = made_reports.report_of(numbers, {}, [])
    report.content["rows"]["published"] = [84.129, 84.0, 85.0, 84.875]
    with opened(browser, written(report)) as page:
        shown = texts(page, "#table tbody tr button.value")
        papers = [re.findall("[+−][0-9.]+", text)[0].replace("−", "-") for text in texts(page, "#table td small")]
    assert shown == expected
    differences = zip(numbers.rows, report.content["rows"]["published"], strict=True)
    assert papers == [signed((row.value or 0.0) - published) for row, published in differences]
    assert papers[0] == "+0.00"  # 0.004 below


def test_a_column_is_sorted_both_ways_and_says_so(browser: Browser, quick: Path) -> None:
    with opened(browser, quick) as page:
        before = numbers_in(column(page, "sst2 acc"))
        assert before != sorted(before)
        sort_by(page, "sst2 acc")
        assert numbers_in(column(page, "sst2 acc")) == sorted(before)
        assert page.run("document.activeElement.textContent") == "sst2 acc"  # the focus is not lost with the old table
        sort_by(page, "sst2 acc")
        assert numbers_in(column(page, "sst2 acc")) == sorted(before, reverse=True)
        said = page.run(
            "[...document.querySelectorAll('#table th[aria-sort]')].map((e) => e.getAttribute('aria-sort'))"
        )
        assert sorted(said) == ["descending", *["none"] * (len(said) - 1)]


def test_values_are_sorted_as_numbers_and_what_is_missing_stands_last(
    browser: Browser, written: Callable[[StudyReport], Path]
) -> None:
    """F1 of squad in the committed study reduced: 8.45 and 12.75 sort the other way as texts."""
    path = written(read_report(Store(ROOT / "results" / "reduced"), "reduced"))
    with opened(browser, path) as page:
        values = numbers_in(column(page, "squad F1"))
        assert sorted(values) != [float(text) for text in sorted(f"{value:.2f}" for value in values)]
        sort_by(page, "squad F1")
        assert numbers_in(column(page, "squad F1")) == sorted(values)
        for turn in (1, 2):
            sort_by(page, "qnli acc")
            shown = column(page, "qnli acc")
            missing = [text == "–" for text in shown]
            assert any(missing)
            assert missing == sorted(missing), turn


@pytest.mark.parametrize("key", ["Enter", " "], ids=["Enter", "Space"])
def test_a_column_is_sorted_from_the_keyboard(browser: Browser, quick: Path, key: str) -> None:
    with opened(browser, quick) as page:
        before = numbers_in(column(page, "qnli acc"))
        page.run("[...document.querySelectorAll('#table th button')].find((b) => b.textContent == 'qnli acc').focus()")
        assert page.run("document.activeElement.textContent") == "qnli acc"
        page.press(key)
        assert numbers_in(column(page, "qnli acc")) == sorted(before)


@pytest.mark.parametrize(
    ("name", "value", "lines"),
    [
        ("model", "tiny-narrow", 7),
        ("method", "prune-ofa", 4),
        ("sparsity", "0.90", 3),
        ("bits", "8", 2),
        ("task", "qqp", 7),
    ],
)
def test_a_filter_leaves_its_own(browser: Browser, quick: Path, name: str, value: str, lines: int) -> None:
    """Counted by hand in the committed table: one model of 7 lines."""
    with opened(browser, quick) as page:
        assert len(texts(page, "#table tbody tr")) == 7
        choose(page, name, value)
        assert len(texts(page, "#table tbody tr")) == lines
        if name == "task":
            assert [text.split("\xa0")[0] for text in texts(page, "#table thead th")[-2:]] == ["qqp acc", "qqp F1"]
        else:
            assert f"{name} {value}" in texts(page, "#shown")[0] or set(column(page, name)) == {value}
        page.run("document.querySelector('#filters button').click()")
        assert len(texts(page, "#table tbody tr")) == 7


def test_filters_join_and_one_that_leaves_nothing_says_so(browser: Browser, quick: Path) -> None:
    with opened(browser, quick) as page:
        choose(page, "method", "dense")
        choose(page, "bits", "8")
        assert texts(page, "#table tbody tr") == []
        assert texts(page, "#shown") == ["No number matches these filters."]


def test_a_number_leads_to_its_seeds_records_and_path(browser: Browser, quick: Path) -> None:
    store = Store(ROOT / "results" / "quick")
    report = read_report(store, "quick")
    study = report.study
    cells = [
        cell
        for cell in study.plan.paths
        if (cell.model, cell.method, cell.sparsity, cell.task, cell.bits)
        == ("tiny-narrow", "prune-ofa", 0.9, "sst2", 8)
    ]
    with opened(browser, quick) as page:
        for name, value in (("model", "tiny-narrow"), ("method", "prune-ofa"), ("sparsity", "0.90"), ("bits", "8")):
            choose(page, name, value)
        choose(page, "task", "sst2")
        page.run("document.querySelector('#table tbody button').click()")
        assert page.run("document.getElementById('provenance').open")
        shown = {
            tuple(
                page.run(f"[...document.querySelectorAll('#seeds tbody tr:nth-child({n}) td')].map((e) => e.innerText)")
            )
            for n in range(1, len(cells) + 1)
        }
        expected = set()
        for cell in cells:
            record = store.stage(study.plan.endpoint(cell)).read_record()
            value = f"{100 * record['result']['metrics']['sst2']['accuracy']:.2f}"
            expected.add((f"seed {cell.seed}, pruning seed 0", value, record["stage_id"], record["digest"][:16]))
        assert shown == expected
        assert len(shown) == 5
        page.run("document.querySelector('#seeds tbody tr:nth-child(3) button').click()")
        (third,) = [cell for cell in cells if cell.seed == 2]
        path = texts(page, "#provenance .path > li > b")
        assert path == [
            study.plan.label(i) for i in study.plan.stages if i in study.plan.ancestors(study.plan.endpoint(third))
        ]
        whole = page.run("document.getElementById('provenance').textContent")
        for stage_id in study.plan.ancestors(study.plan.endpoint(third)):
            record = store.stage(stage_id).read_record()
            assert stage_id in whole
            assert record["digest"] in whole
            assert record["provenance"]["commit"] in whole
            assert not record["artifact"]["bytes"] or record["artifact"]["digest"] in whole
        page.press("Escape")
        assert not page.run("document.getElementById('provenance').open")
        is_quiet(page, quick)


def test_every_seed_is_a_mark_that_tells_its_record(browser: Browser, quick: Path) -> None:
    study = read_report(Store(ROOT / "results" / "quick"), "quick").study
    ends = {
        study.plan.endpoint(cell) for cell in study.plan.paths if (cell.model, cell.task) == ("tiny-narrow", "sst2")
    }
    with opened(browser, quick) as page:
        assert page.run("document.querySelectorAll('#figure-large .mean').length") == 7
        assert page.run("document.querySelectorAll('#figure-large .seed').length") == 35  # the average: five seeds each
        page.run(
            "(() => { const s = document.querySelector('#figure-controls select[name=panel]');"
            " s.value = '0'; s.dispatchEvent(new Event('change')); })()"
        )
        tips = page.run("[...document.querySelectorAll('#figure-large .seed')].map((e) => e.dataset.tip)")
        told = {word for tip in tips for word in re.findall(r"[0-9a-f]{32}", tip)}
        assert told == ends
        assert len(tips) == len(ends) == 35


def test_marks_answer_to_the_keyboard_and_the_pointer(browser: Browser, quick: Path) -> None:
    with opened(browser, quick) as page:
        stops = page.run("document.querySelectorAll('#figure-large [tabindex=\"0\"]').length")
        assert stops == 1  # one stop of the Tab key for the whole picture
        page.run("document.querySelector('#figure-large [tabindex=\"0\"]').focus()")
        first = texts(page, "#tip")[0]
        assert "tiny-narrow, dense" in first
        page.press("ArrowRight")
        second = texts(page, "#tip")[0]
        assert second != first
        assert re.search(r"seed \d: \d+\.\d\d % of dense", second)
        page.press("Escape")
        assert page.run("document.getElementById('tip').hidden")
        page.press("Enter")
        assert page.run("document.getElementById('provenance').open")
        page.press("Escape")
        at = page.run(
            "(() => { const m = document.querySelector('#figure-large .mean');"
            " m.scrollIntoView({block: 'center', behavior: 'instant'});"
            " const b = m.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=at[0], y=at[1])
        assert not page.run("document.getElementById('tip').hidden")


def test_the_papers_numbers_are_hollow(browser: Browser, written: Callable[[StudyReport], Path]) -> None:
    report = made_report(plan(methods=["dense", "finetune-pruning"], tasks=["sst2", "squad"]))
    rows = report.content["rows"]
    rows["published"] = [90.0 for _ in rows["published"]]
    path = written(report)
    with opened(browser, path) as page:
        assert page.run("document.querySelectorAll('#figure-large .paper').length") == 0  # the average has none
        page.run(
            "(() => { const s = document.querySelector('#figure-controls select[name=panel]');"
            " s.value = '0'; s.dispatchEvent(new Event('change')); })()"
        )
        assert page.run("document.querySelectorAll('#figure-large .paper').length") == 2
        assert page.run("getComputedStyle(document.querySelector('#figure-large .paper')).fill") == "none"
        assert "paper 90.00" in texts(page, "#table tbody tr")[0]


def test_what_is_reached_without_the_model_is_a_line_with_its_name(browser: Browser, quick: Path) -> None:
    """docs/synthetic-world.md has the shallow features; chance of two labels is a half."""
    with opened(browser, quick) as page:
        names = []
        for panel in range(4):
            page.run(
                "(() => { const s = document.querySelector('#figure-controls select[name=panel]');"
                f" s.value = '{panel}'; s.dispatchEvent(new Event('change')); }})()"
            )
            drawn = page.run("document.querySelectorAll('#figure-large .baseline').length")
            told = [text for text in texts_of_svg(page) if re.match(r"(chance|shallow features)", text)]
            assert len(told) == drawn
            names += told
        assert names


def texts_of_svg(page: Page) -> list[str]:
    found: list[str] = page.run("[...document.querySelectorAll('#figure-large text')].map((e) => e.textContent)")
    return found


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("width", [SMALLEST_WIDTH, 1280])
def test_hostile_text_runs_nothing_and_breaks_nothing(
    browser: Browser, written: Callable[[StudyReport], Path], kind: str, width: int
) -> None:
    """In the place of every name, text and value that a study, its records and its attempts can bring."""
    text = HOSTILE[kind]
    small = plan(methods=["dense", "prune-ofa"], tasks=["sst2", "squad"], seeds=[0, 1])
    hostile = renamed(small, {"dense": f"dense{text}", "tiny": text})
    records = records_of(hostile)
    *_, last = hostile.stages
    del records[last]
    for record in records.values():
        record["provenance"] = {
            **made_reports.PROVENANCE,
            "processor": text,
            "versions": {"torch": text, text: text},
            "commit": text,
        }
    study = made_reports.study_of(hostile, text)
    recipe = {
        **study.recipe,
        "description": text,
        "notes": [text],
        "preset": text,
        "settings": {text: [text, text, text]},
    }
    numbers = made_reports.numbers_of(replace(study, recipe=recipe), records)
    report = made_reports.report_of(numbers, {last: [failed(text)]}, [])
    assert report.failures
    path = written(report)
    with opened(browser, path, width) as page:
        is_quiet(page, path)
        assert page.run("document.querySelectorAll('script').length") == 2
        assert page.run("document.querySelectorAll('img, iframe, object, link').length") == 0
        assert fits(page)
        whole = page.run("document.body.innerText")
        if kind in ("script", "image", "template"):
            assert text in whole
        if kind == "direction":
            assert "\u202e" not in whole
            assert "\\u202e" in whole
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        page.run("document.querySelector('#table tbody button.value').click()")
        assert page.run(
            "document.getElementById('provenance').scrollWidth <= document.getElementById('provenance').clientWidth"
        )
        assert fits(page)
        is_quiet(page, path)


def test_without_its_policy_nothing_runs_either(browser: Browser, tmp_path: Path) -> None:
    """Escaping alone holds: the policy is a second lock."""
    report = made_report(renamed(plan(methods=["dense"], tasks=["sst2"]), {"tiny": HOSTILE["script"]}))
    whole = report_page(report)
    open_page = re.sub(r"<meta http-equiv=[^>]*>", "", whole)
    assert open_page != whole
    path = tmp_path / "open.html"
    path.write_text(open_page, encoding="utf-8")
    with opened(browser, path) as page:
        is_quiet(page, path)
        assert page.run("document.querySelectorAll('script').length") == 2


def test_the_policy_stops_what_gets_through(browser: Browser, quick: Path, tmp_path: Path) -> None:
    """A script and a style that are put into the page do not run; the page's own do."""
    path = tmp_path / "changed.html"
    injected = "<script>document.title = 'owned'</script><p style='color: red' onclick='1'>x</p></main>"
    path.write_text(quick.read_text(encoding="utf-8").replace("</main>", injected), encoding="utf-8")
    with opened(browser, path) as page:
        assert page.run("document.title") == "quick: report"
        assert len(page.complaints) >= 2
        assert len(texts(page, "#table tbody tr")) == 7


@pytest.mark.parametrize("study", ["quick", "reduced"])
def test_a_phone_needs_no_sideways_scrolling(
    browser: Browser, written: Callable[[StudyReport], Path], study: str
) -> None:
    path = written(read_report(Store(ROOT / "results" / study), study))
    with opened(browser, path, SMALLEST_WIDTH, 740) as page:
        assert fits(page)
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert fits(page)
        choose(page, "form", "long")
        assert fits(page)
        page.run("document.querySelector('#table tbody button.value').click()")
        assert fits(page)
        boxes = page.run(
            "[...document.querySelectorAll('main table')].filter((t) => t.offsetWidth > t.parentElement.clientWidth"
            " && getComputedStyle(t.parentElement).overflowX !== 'auto').length"
        )
        assert boxes == 0  # a wide table scrolls in a box of its own


@pytest.mark.parametrize(("system", "expected"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 28)")])
def test_the_theme_is_the_systems_until_it_is_chosen(browser: Browser, quick: Path, system: str, expected: str) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, quick, prefers_color_scheme=system) as page:
        page.run("localStorage.clear()")
        page.open(quick)
        assert page.run(background) == expected
        page.run("document.getElementById('theme').click()")
        assert page.run(background) == "rgb(20, 23, 28)"
        page.run("document.getElementById('theme').click()")
        assert page.run(background) == "rgb(255, 255, 255)"
        page.run("document.getElementById('theme').click()")
        assert page.run(background) == expected
        page.run("localStorage.clear()")


def test_all_that_can_be_used_is_reached_by_tab_and_shows_it(browser: Browser, quick: Path) -> None:
    with opened(browser, quick) as page:
        page.press("Tab")
        assert page.run("document.activeElement.className") == "skip"
        assert page.run("document.activeElement.getBoundingClientRect().left >= 0")
        page.press("Enter")
        assert page.run("document.activeElement.id") == "main"
        reached = []
        for _ in range(30):
            page.press("Tab")
            reached.append(
                page.run("(document.activeElement.name || document.activeElement.id || document.activeElement.tagName)")
            )
            outline = page.run(
                "(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.stroke; })()"
            )
            assert outline != "nonenone", reached[-1]
        assert {"model", "panel", "method", "sparsity", "task", "bits", "form"} <= set(reached)


def test_headings_are_in_order_and_controls_have_names(browser: Browser, quick: Path) -> None:
    with opened(browser, quick) as page:
        page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        levels = page.run("[...document.querySelectorAll('h1, h2, h3, h4')].map((e) => Number(e.tagName[1]))")
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        nameless = page.run(
            "[...document.querySelectorAll('button, select, a')]"
            ".filter((e) => !(e.innerText || e.getAttribute('aria-label') || e.closest('label'))).length"
        )
        assert nameless == 0
        assert page.run("new Set([...document.querySelectorAll('[id]')].map((e) => e.id)).size") == page.run(
            "document.querySelectorAll('[id]').length"
        )


def test_on_paper_every_line_stands_and_no_control(browser: Browser, written: Callable[[StudyReport], Path]) -> None:
    report = made_report(
        plan(
            methods=["prune-ofa"],
            sparsities=[0.5 + 0.01 * n for n in range(40)],
            tasks=["sst2"],
            quantization=["none", "int8"],
        )
    )
    path = written(report)
    with opened(browser, path) as page:
        assert len(texts(page, "#table tbody tr")) == 50
        page.run("window.dispatchEvent(new Event('beforeprint'))")
        page.ask("Emulation.setEmulatedMedia", media="print")
        assert len(texts(page, "#table tbody tr")) == 80  # fp32 and int8
        assert page.run("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert page.run("document.querySelectorAll('main details:not([open])').length") == 0
        page.run("window.dispatchEvent(new Event('afterprint'))")
        assert len(texts(page, "#table tbody tr")) == 50


def test_an_empty_study_has_a_page_too(browser: Browser, written: Callable[[StudyReport], Path]) -> None:
    report = made_report(plan(methods=["dense"], tasks=["sst2", "squad"]), records={})
    path = written(report)
    with opened(browser, path) as page:
        is_quiet(page, path)
        assert texts(page, "#coverage .mark") == ["incomplete"]
        assert "missing" in texts(page, "#table tbody tr")[0]
        page.run("document.querySelector('#table tbody button.value').click()")
        assert "none yet" in texts(page, "#provenance")[0]
        is_quiet(page, path)


def test_where_nothing_ran_yet_the_papers_marks_are_reached_by_tab(
    browser: Browser, written: Callable[[StudyReport], Path]
) -> None:
    report = made_report(plan(methods=["dense"], tasks=["sst2"]), records={})
    report.content["rows"]["published"] = [90.0 for _ in report.content["rows"]["published"]]
    with opened(browser, written(report)) as page:
        assert page.run("document.querySelectorAll('#figure-large .paper').length") == 1
        assert page.run("document.querySelectorAll('#figure-large [tabindex=\"0\"]').length") == 1


def test_ten_thousand_cells_are_light_and_soon_of_use(browser: Browser, written: Callable[[StudyReport], Path]) -> None:
    report = made_report(large_plan())
    assert 9_900 <= len(report.coverage.cells) <= 10_100
    path = written(report)
    assert path.stat().st_size <= MOST_BYTES
    with opened(browser, path) as page:
        loaded = page.run("performance.getEntriesByType('navigation')[0].domComplete")
        filtering = page.run(
            "(() => { const began = performance.now(); const s = document.querySelector('#filters select[name=model]');"
            " s.value = 'bert-large'; s.dispatchEvent(new Event('change')); document.body.getBoundingClientRect();"
            " return performance.now() - began; })()"
        )
        assert "bert-large" in texts(page, "#shown")[0]
        print(f"bytes {path.stat().st_size}, loaded {loaded:.0f} ms, filtered {filtering:.0f} ms")
        assert loaded + filtering <= MOST_MS
        page.run("document.querySelector('#table tbody button.value').click()")
        assert len(texts(page, "#seeds tbody tr")) == 5
        is_quiet(page, path)
