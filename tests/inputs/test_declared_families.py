"""Families of others: a declaration in TOML or by an entry point, read without torch, every problem told at once."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from family_toys import PAGE, declarations
from grid_world import ROOT, write_model

from harness.errors import UsageError
from harness.identity import sha256_of
from harness.inputs import declared_families
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.declared_families import family_in, family_of_table, table_of, table_problems
from harness.inputs.encoder_folder import read_config
from harness.inputs.families import BERT, FAMILIES, ROBERTA
from harness.inputs.family import Family
from harness.inputs.models import find_models

TWO_LINES = 'name = "camembert"\nlike = "roberta"\n'


def mpnet() -> dict[str, Any]:
    """The page's whole declaration."""
    return tomllib.loads(next(block for block in declarations() if 'name = "mpnet"' in block))


def folder_of(place: Path, model_type: str = "camembert", declaration: str | None = TWO_LINES) -> Path:
    """A folder in the hub's layout with the tensors of a small RoBERTa, as another model_type."""
    folder = write_model(place, model_type="roberta", pad_token_id=0)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": model_type}))
    tokens = dict(zip(ROBERTA.special_tokens, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), strict=True))
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    if declaration is not None:
        (folder / "family.toml").write_text(declaration)
    return folder


def told(folder: Path) -> list[str]:
    return [problem.on_command_line for problem in find_models([("m", folder)], ContentHashes()).problems]


# -- found where it is declared


def test_two_lines_declare_a_family_that_is_named_as_a_known_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m")
    assert told(folder) == []
    config, family = read_config("it", folder)
    assert family.name == "camembert"
    assert {**vars(family), "name": "roberta"} == vars(ROBERTA)
    assert config["encoder_family"] == {"name": "camembert", "like": "roberta"}


def test_what_nobody_declares_is_refused_with_how_to(tmp_path: Path) -> None:
    (problem,) = told(folder_of(tmp_path / "m", declaration=None))
    for words in (
        "model 'm': model_type 'camembert' is not known.",
        "bert, deberta-v2, distilbert, electra, modernbert, roberta",
        str(tmp_path / "m" / "family.toml"),
        'name = "camembert" and like = "roberta"',
        "harness.families",
        "docs/new-encoder.md",
    ):
        assert words in problem


@pytest.mark.parametrize("page", ["README.md", "docs/own-model.md", "docs/new-encoder.md"])
def test_pages_name_every_family(page: str) -> None:
    """By the table of the page on families: its names everywhere, its model_types where a page lists these."""
    table = (ROOT / "docs" / "new-encoder.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w[\w-]+) \| `([a-z][a-z0-9-]+)` \|", table, re.MULTILINE)
    assert sorted(model_type for _, model_type in rows) == sorted(FAMILIES)
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [name for name, _ in rows if not re.search(rf"\b{name}\b", text)] == []
    if "`model_type`" in text:
        assert [model_type for _, model_type in rows if f"`{model_type}`" not in text] == []


def test_the_declaration_is_part_of_the_models_content(tmp_path: Path) -> None:
    """Another list is another model: finished stages of the first do not count for it."""

    def content(name: str, declaration: str) -> str:
        folder = folder_of(tmp_path / name, declaration=declaration)
        return find_models([("m", folder)], ContentHashes()).models["m"].weights

    one = content("one", TWO_LINES)
    assert content("same", TWO_LINES + "# said otherwise\n") == one
    assert content("other", TWO_LINES + 'fp32_outputs = ["output.dense"]\n') != one


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_the_content_of_our_families_has_no_declaration(family: Family, tmp_path: Path) -> None:
    """Ids of finished stages stay: nothing is added to what config.json says."""
    folder = tmp_path / "m"
    folder.mkdir()
    said = {"model_type": family.name, "vocab_size": 7}
    (folder / "config.json").write_text(json.dumps(said))
    config, found = read_config("it", folder)
    assert sha256_of(config) == sha256_of(said)
    assert found is family


def test_a_declaration_of_a_family_of_ours_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", "roberta")
    (problem,) = told(folder)
    assert f"{folder / 'family.toml'} declares 'roberta', which is a family of the harness. Remove it." in problem


def test_an_artifact_carries_its_declaration_in_config_json(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m")
    config, family = read_config("it", folder)
    (folder / "family.toml").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    assert read_config("it", folder) == (config, family)


def installed(monkeypatch: pytest.MonkeyPatch, *targets: str) -> None:
    points = [EntryPoint("camembert", target, "harness.families") for target in targets]
    monkeypatch.setattr(
        declared_families,
        "entry_points",
        lambda group, name: [point for point in points if (point.group, point.name) == (group, name)],
    )


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def make(**values: Any) -> None:
        module = ModuleType("their_families")
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, "their_families", module)

    return make


def test_an_entry_point_declares_a_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Callable[..., None]
) -> None:
    theirs = family_of_table({"name": "camembert", "like": "roberta"})
    package(FAMILY=theirs)
    installed(monkeypatch, "their_families:FAMILY")
    folder = folder_of(tmp_path / "m", declaration=None)
    assert told(folder) == []
    config, family = read_config("it", folder)
    assert family == theirs
    installed(monkeypatch)  # what was trained from it needs no package
    assert family_in(json.loads(json.dumps(config))) == theirs


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (("their_families:BERT",), "name = 'bert', and config.json has the model_type 'camembert'"),
        (("their_families:TEXT",), "is a value of type str, expected a harness.plugin.Family"),
        (("their_families:NONE",), "is a value of type NoneType, expected a harness.plugin.Family"),
        (("no_such_module:FAMILY",), "cannot be loaded (ModuleNotFoundError: No module named 'no_such_module')"),
        (("a:A", "b:B"), "more than one entry point declares the family 'camembert' (a:A, b:B)"),
    ],
)
def test_an_entry_point_that_gives_no_family_is_told(
    targets: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: Callable[..., None],
) -> None:
    package(BERT=BERT, TEXT="bert")
    installed(monkeypatch, *targets)
    problems = told(folder_of(tmp_path / "m", declaration=None))
    assert words in problems[0]


# -- what a declaration may hold


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_family_comes_back_from_its_table(family: Family) -> None:
    """Under another name: ours are taken. The table is JSON."""
    table = json.loads(json.dumps({**table_of(family), "name": "another"}))
    assert vars(family_of_table(table)) == {**vars(family), "name": "another"}


def test_the_pages_declaration_is_whole() -> None:
    family = family_of_table(mpnet())
    assert family.encoder_matrices(2)[-1] == "mpnet.encoder.layer.1.output.dense"
    assert family.usable_positions({"max_position_embeddings": 514}) == 512
    assert len([block for block in declarations() if tomllib.loads(block)]) == 3


def test_the_page_has_every_field() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for field in declared_families._FORMS:
        assert f"`{field}" in text or f"\n{field} =" in text or f"[{field}]" in text, field


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"layers": "encoder.layer"}, "layers = 'encoder.layer'. Expected a module's path with {i}"),
        ({"layers": "{i}.{j}"}, "layers = '{i}.{j}'. Expected a module's path with {i}"),
        ({"linears": {}}, "linears is empty"),
        ({"linears": {"a": ["width"]}, "fp32_outputs": []}, "linears: 'a' has the shape ['width']. Expected 2 sizes."),
        ({"linears": {"a": ["width", "with"]}, "fp32_outputs": []}, "linears: 'a' names with. Expected layers, width"),
        ({"linears": {"a": ["width", "0*width"]}, "fp32_outputs": []}, "linears: 'a' names 0*width. Expected layers"),
        ({"linears": ["a"]}, 'linears = [\'a\']. Expected a table of shapes, as "output.dense" = ["width", "feed_forw'),
        ({"norms": "LayerNorm"}, "norms = 'LayerNorm'. Expected a list of texts"),
        ({"biases": 1}, "biases = 1. Expected true or false."),
        ({"backbone": ""}, "backbone = ''. Expected a text."),
        ({"fp32_outputs": ["dense"]}, "fp32_outputs names dense. Expected some of the linears: attention.attn.q"),
        ({"absent": ["layer.0.norm"]}, "absent names layer.0.norm. Expected norms of one layer"),
        ({"attention": ["flash"]}, "attention = ['flash']. Expected some of sdpa, eager."),
        ({"attention": []}, "attention = []. Expected some of sdpa, eager."),
        ({"special_tokens": {"pad_token": "x"}}, "special_tokens names pad_token. Expected pad_token, unk_token"),
        ({"sizes": {"layers": "num_hidden_layers"}}, "sizes lacks width, heads, feed_forward, vocabulary, positions."),
        ({"aliases": {"dim": "width"}}, "aliases: dim = 'width' is no key of architecture"),
        ({"fixed": {"legacy": True}}, "fixed: 'legacy' is no key of architecture"),
        ({"positions_after": "hidden_act"}, "positions_after = 'hidden_act' is no key of architecture with a whole"),
        ({"lineers": {}}, "field 'lineers' is not known. Did you mean 'linears'"),
        ({"like": "robert"}, "like: family 'robert' is not known. Did you mean"),
    ],
)
def test_what_a_declaration_may_not_hold(changed: dict[str, Any], words: str) -> None:
    assert any(words in problem for problem in table_problems({**mpnet(), **changed}, "mpnet"))


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Each with the model, the file and the field."""
    declaration = TWO_LINES.replace("camembert", "camembart") + 'layers = "layer"\nattention = []\nfixed = {a = 1}\n'
    folder = folder_of(tmp_path / "m", declaration=declaration)
    problems = told(folder)
    assert [problem.partition(f"model 'm': {folder / 'family.toml'}: ")[2].split(" ")[0] for problem in problems] == [
        "name",
        "layers",
        "attention",
        "fixed:",
    ]


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        ("name = ", "is no TOML"),
        ('name = "camembert"\n', "it lacks backbone, layers, linears, norms, embeddings, fp32_outputs"),
    ],
)
def test_a_file_that_declares_nothing_is_told(declaration: str, words: str, tmp_path: Path) -> None:
    (problem,) = told(folder_of(tmp_path / "m", declaration=declaration))
    assert words in problem
    assert str(tmp_path / "m" / "family.toml") in problem


@pytest.mark.parametrize("table", [[], "bert", 3, None])
def test_a_declaration_in_config_json_that_is_no_table_is_told(table: Any, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", declaration=None)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "encoder_family": table}))
    (problem,) = told(folder)
    assert "encoder_family in " in problem
    assert "Expected a table with the fields of a family" in problem


def test_a_table_that_is_wrong_is_no_family() -> None:
    with pytest.raises(UsageError, match="it lacks backbone"):
        family_of_table({"name": "x"})


def test_a_declaration_is_read_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from harness.inputs.encoder_folder import check_encoder_folder as c;"
        "c('m', Path(sys.argv[1])); print([n for n in ('torch', 'transformers', 'datasets') if n in sys.modules])"
    )
    words = [sys.executable, "-c", code, str(folder_of(tmp_path / "m"))]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() == "[]"


# -- layouts of our families that are not listed


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"model_type": "deberta-v2"}, "gives relative_attention = False. Expected True"),
        ({"model_type": "deberta-v2", "conv_kernel_size": 3}, "gives conv_kernel_size = 3. Expected 0"),
        ({"model_type": "deberta-v2"}, "gives position_buckets = -1. Expected a whole number above 0."),
        ({"model_type": "modernbert", "norm_bias": True}, "gives norm_bias = True. Expected False"),
        ({"model_type": "modernbert", "mlp_dropout": 1}, "gives mlp_dropout = 1. Expected a share from 0 to below 1."),
        (
            {"model_type": "roberta", "max_position_embeddings": 2, "pad_token_id": 1},
            "gives max_position_embeddings = 2 and pad_token_id = 1. Expected more",
        ),
    ],
)
def test_another_layout_of_a_family_is_refused(said: dict[str, Any], words: str, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(said))
    assert any(words in problem for problem in told(folder))


def test_a_tokenizer_in_other_files_is_told_with_the_next_move(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m")
    (folder / "vocab.txt").unlink()
    (folder / "spm.model").write_bytes(b"pieces")
    (problem,) = told(folder)
    assert "neither tokenizer.json nor vocab.txt" in problem
    assert "It has spm.model: load the tokenizer once with the library and save it again" in problem


def test_special_tokens_have_the_familys_names_where_the_files_do_not_say(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m")
    (folder / "tokenizer_config.json").unlink()
    (problem,) = told(folder)
    assert (
        "lacks <pad> (pad_token), <unk> (unk_token), <s> (cls_token), </s> (sep_token), <mask> (mask_token)" in problem
    )
