"""The reference has every verb, option, preset value, kind, parameter, method and format key that the code has."""

from __future__ import annotations

import argparse
import contextlib
import html
import io
import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch
import yaml
from grid_world import ROOT
from torch import nn

from handbook import command_line, formats, kinds, method_facts, presets, python_api, reference, tree
from handbook.docstrings import as_markdown
from harness.cli.main import main
from harness.cli.verbs import VERBS, Verb
from harness.compression.quantization import freeze, quantize_linears
from harness.inputs.families import FAMILIES
from harness.inputs.family import BERT_TOKENS, SIZES, Family
from harness.planning.kinds import KINDS
from harness.planning.method_registry import BUILT_IN
from harness.planning.preset import load_preset, preset_names
from harness.task_files import form
from harness.task_files.task import HEADS
from slurm.profiles import KEYS


def section(text: str, heading: str) -> str:
    """What stands below a heading, with marks as they are shown."""
    _, _, rest = text.partition(f"\n## {heading}\n")
    assert rest, heading
    return html.unescape(re.sub(r"</?code>", "`", re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]))


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_option_that_a_verb_prints_is_told(verb: Verb, pages: dict[str, str]) -> None:
    """By what --help prints, not by the parser's own list."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main([verb.name, "--help"])
    options = re.findall(r"^  (--?[a-z][a-z-]*)(?:, (--[a-z-]+))?", printed.getvalue(), re.MULTILINE)
    words = {word for option in options for word in option if word} - {"-h", "--help"}
    told = section(pages[command_line.PATH], f"harness {verb.name}")
    rows = [line for line in told.splitlines() if line.startswith("| `")]
    assert words
    assert [word for word in words if not any(re.search(rf"(?<![\w-]){word}(?![\w-])", row) for row in rows)] == []
    assert re.search("^Exit code", told, re.MULTILINE)


def test_exit_codes_are_those_of_the_program(pages: dict[str, str]) -> None:
    told = section(pages[command_line.PATH], "Exit codes")
    assert re.findall(r"(?<!\w)(\d+) [a-z]", told) == ["0", "1", "2", "3", "4", "130"]


def test_a_default_and_a_choice_are_told_as_they_are() -> None:
    def arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--keep", choices=("a", "b"), default="b", help="100%% of it")
        parser.add_argument("what", metavar="WHAT")

    verb = VERBS[0]._replace(name="made-up", arguments=arguments)
    written = [command_line._written(action) for action in command_line.arguments_of(verb)]
    assert written == ["--keep {a,b}", "WHAT"]
    assert [command_line._default(action) for action in command_line.arguments_of(verb)] == ["<code>b</code>", "needed"]
    assert [command_line._help(action) for action in command_line.arguments_of(verb)] == ["100% of it", ""]


@pytest.mark.parametrize("name", preset_names())
def test_every_value_of_a_preset_is_told_with_its_evidence(name: str, pages: dict[str, str]) -> None:
    told = section(pages[presets.path_of(name)], "Settings")
    rows = {line.split("|")[1].strip().strip("`"): line for line in told.splitlines() if line.startswith("| `")}
    settings = load_preset(name).recipe.settings
    assert rows.keys() == settings.keys()
    for key, found in settings.items():
        assert f"| `{found.value}` | {found.evidence} | " in rows[key]


def test_every_kind_is_told_with_its_parameters(pages: dict[str, str]) -> None:
    found = kinds.all_kinds()
    assert KINDS.keys() < found.keys()
    assert "obert:pruning" in found
    for name, kind in found.items():
        told = section(pages[kinds.PATH], name)
        rows = [line.split("|")[1].strip().strip("`") for line in told.splitlines() if line.startswith("| `")]
        assert rows == list(kind.recipe)
        assert all(f"`{given}`" in told for given in kind.identity)
        assert f"version {kind.version}" in told


def test_every_method_is_told_and_its_page_is_there(pages: dict[str, str]) -> None:
    for name, target in BUILT_IN.items():
        told = section(pages[method_facts.PATH], name)
        assert method_facts.page_of(target) in told
        assert (ROOT / method_facts.page_of(target)).is_file()


def test_formats_have_every_key_and_an_example_of_each_part(pages: dict[str, str]) -> None:
    text = pages[formats.PATH]
    profile = section(text, "Profile of a cluster")
    assert [key for key in KEYS if f"`{key}`" not in profile] == []
    record = section(text, "Record")
    assert all(f'"{part}"' in record for part in ("artifact", "digest", "parents", "provenance", "result", "times"))
    assert formats.shortened([1, 2, 3, 4, 5]) == [1, 2, 3, "2 more"]
    assert formats.shortened({"a": {"b": 1, "c": 2, "d": 3, "e": 4}}) == {"a": {"b": 1, "c": 2, "d": 3, "..": "1 more"}}


def cells(text: str, column: int) -> list[str]:
    """The words of code in a column of a table; the head is left out."""
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row[column])]


def test_every_key_of_a_task_file_is_told(pages: dict[str, str]) -> None:
    told = section(pages[formats.PATH], "Task")
    before, _, tables = told.partition("By kind:")
    assert re.findall(r"`([^`]+)`", before)[1:] == [
        *form.KEYS,
        *("[splits]", *form.SPLIT_KEYS),
        *("[hub]", *form.HUB_KEYS),
    ]
    kinds_told = tables.partition("```")[0]
    assert cells(kinds_told, 0) == [head.name for head in HEADS]
    assert cells(kinds_told, 1) == [metric for head in HEADS for metric in head.metrics]
    assert cells(kinds_told, 2) == [key for head in HEADS for key in form.COLUMN_KEYS[head.name]]
    assert cells(kinds_told, 3) == [key for head in HEADS for key in form.SETTINGS[head.name]]
    for text in re.findall(r"```toml\n(.*?)```", told, re.DOTALL):
        assert form.parse_task(text, "page").is_on_hub


def test_every_field_of_a_family_is_told(pages: dict[str, str]) -> None:
    """By the class that a declaration becomes, not by the table that checks it."""
    told = section(pages[formats.PATH], "Family of encoders")
    assert sorted(cells(told, 0)) == sorted(each.name for each in fields(Family))
    needed = [each.name for each in fields(Family) if each.default is each.default_factory is MISSING]
    assert [line.split("`")[1] for line in told.splitlines() if line.endswith("| needed |")] == needed
    for word in ("like", "family.toml", "encoder_family", *FAMILIES, *SIZES, *BERT_TOKENS):
        assert f"`{word}`" in told


def test_every_tensor_of_the_int8_file_is_told(pages: dict[str, str]) -> None:
    """By what two Linears leave, one of them with an output that is requantised."""
    told = section(pages[formats.PATH], "Int8 file")
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    quantize_linears(model, ["0", "1"], fp32_output_names=["1"])
    model(torch.randn(3, 4))
    left = freeze(model)
    assert sorted(cells(told, 0)) == sorted({f"MODULE.{name.partition('.')[2]}" for name in left})
    plain = nn.Sequential(nn.Linear(4, 4, bias=False))
    quantize_linears(plain, ["0"], fp32_output_names=["0"])
    plain(torch.randn(3, 4))
    always = [line.split("`")[1].partition(".")[2] for line in told.splitlines() if line.endswith("| yes |")]
    assert sorted(always) == sorted(name.partition(".")[2] for name in freeze(plain))


def test_public_names_of_python_are_those_that_can_be_imported() -> None:
    import harness
    from harness import plugin

    assert {name.rpartition(".")[2] for name in python_api.face()} == set(harness.__all__)
    assert len(python_api.for_authors()) == len(plugin.__all__)
    assert "harness.errors.UsageError" in python_api.raised()
    assert "harness.testing.planned" in python_api.for_tests()


def test_docstrings_become_lists_of_their_fields() -> None:
    text = "What it is, in [0, 1).\n\nname: a `word`,\nand more. other, third: both.\nRaises ValueError for *none*."
    assert as_markdown(text) == (
        "What it is, in &#91;0, 1).\n\n- `name`: a `word`, and more. other, third: both.\n\n"
        "Raises ValueError for &#42;none&#42;."
    )


class _Menu(yaml.SafeLoader):
    """mkdocs.yml names a Python object; the menu does not."""


_Menu.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)


def test_every_page_stands_in_the_menu_once() -> None:
    menu = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), _Menu)["nav"]

    def paths(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [path for value in values for path in paths(value)]  # type: ignore[attr-defined]

    assert sorted(paths(menu)) == sorted([*tree.pages(), *reference.pages()])


def test_the_nouns_of_the_concepts_are_those_of_the_architecture() -> None:
    of = {
        page: [
            line for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines() if line.startswith("| **")
        ]
        for page in ("architecture.md", "concepts.md")
    }
    assert of["concepts.md"][:8] == of["architecture.md"][:8]


def test_links_are_found_outside_of_code(tmp_path: Path) -> None:
    text = "[a](b.md#c) ![d](e.png)\n```sh\n[no](f.md)\n```\n[g](h.py)"
    assert list(tree.links(text)) == ["b.md#c", "e.png", "h.py"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("[x](../x.json) [gone](gone.json) [page](b.md)")
    (tmp_path / "x.json").touch()
    assert tree.linked_files(["docs/a.md"], tmp_path) == ["x.json"]
