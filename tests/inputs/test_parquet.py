"""Reading a folder in the hub's schema: all problems at once, and values that are checked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.inputs.data_sources import FolderData
from harness.inputs.parquet import (
    article_problems,
    check_folder,
    corpus_files,
    load_corpus,
    load_split,
    row_problems,
    split_files,
)
from harness.tasks import TASKS, get_task

WriteParquet = Callable[[str, dict[str, Any]], Path]
SST2 = {"sentence": ["good film", "bad film"], "label": [1, 0], "idx": [0, 1]}
SQUAD = {
    "id": ["q1", "q2"],
    "title": ["t", "t"],
    "context": ["the cat sat", "the dog sat"],
    "question": ["who sat", "who sat"],
    "answers": [{"text": ["cat"], "answer_start": [4]}, {"text": ["dog"], "answer_start": [4]}],
}


def test_a_good_folder_has_no_problem(tmp_path: Path, write_parquet: WriteParquet):
    for name, columns in (("sst2", SST2), ("squad", SQUAD)):
        write_parquet(f"{name}/train", columns)
        write_parquet(f"{name}/validation", columns)
    for split in ("train", "validation"):
        write_parquet(f"corpus/{split}", {"title": ["t"], "text": ["A text."]})
    assert check_folder(tmp_path, [get_task("sst2"), get_task("squad")], corpus=True) == []
    assert list(split_files(tmp_path, get_task("sst2"))) == ["train", "validation"]
    assert list(corpus_files(tmp_path)) == ["train", "validation"]


def test_a_folder_check_lists_all_problems_at_once(tmp_path: Path, write_parquet: WriteParquet):
    write_parquet("sst2/train", {"text": ["good film"], "label": [1]})  # column named otherwise
    write_parquet("sst2/validation", {"sentence": pa.array([], pa.string()), "label": pa.array([], pa.int64())})
    write_parquet("qnli/train", {"question": ["q"], "sentence": ["s"], "label": [0.5]})  # no class
    (tmp_path / "qnli" / "validation.parquet").write_text("no parquet")
    write_parquet("mnli/train", {"premise": ["p"], "hypothesis": ["h"], "label": [2]})
    tasks = [get_task(name) for name in ("sst2", "qnli", "mnli")]

    problems = check_folder(tmp_path, tasks, corpus=True)

    expected = [
        ("sst2/train", "missing columns sentence. Found text, label; expected sentence, label"),
        ("sst2/validation", "has no rows"),
        ("qnli/train", "column label is double; expected integer, or string"),
        ("qnli/validation", "not readable as parquet"),
        ("mnli/validation_matched", "configuration 'mnli' of nyu-mll/glue on the hub"),
        ("corpus/train", "one article per row"),
        ("corpus/validation", "one article per row"),
    ]
    assert len(problems) == len(expected)
    for problem, (place, words) in zip(problems, expected, strict=True):
        assert problem.startswith(str(tmp_path / f"{place}.parquet"))
        assert words in problem


def test_a_missing_folder_is_one_problem(tmp_path: Path):
    (problem,) = check_folder(tmp_path / "absent", TASKS.values(), corpus=True)
    assert "absent does not exist" in problem


def test_a_folder_that_no_system_can_have_does_not_exist():
    (problem,) = check_folder("a\0b", TASKS.values(), corpus=True)
    assert problem.startswith("data folder a\0b does not exist. Expected a folder")


def test_an_optional_split_may_be_absent_but_not_wrong(tmp_path: Path, write_parquet: WriteParquet):
    columns = {"premise": ["p"], "hypothesis": ["h"], "label": [2]}
    write_parquet("mnli/train", columns)
    write_parquet("mnli/validation_matched", columns)
    assert check_folder(tmp_path, [get_task("mnli")], corpus=False) == []
    write_parquet("mnli/validation_mismatched", {"premise": ["p"]})
    (problem,) = check_folder(tmp_path, [get_task("mnli")], corpus=False)
    assert "missing columns hypothesis, label" in problem


def test_a_split_keeps_rows_and_order(tmp_path: Path, write_parquet: WriteParquet):
    write_parquet("sst2/train", SST2)
    assert load_split(tmp_path, get_task("sst2"), "train")[:] == {"sentence": SST2["sentence"], "label": [1, 0]}


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_out_of_range_is_named_with_its_row(tmp_path: Path, write_parquet: WriteParquet, label: int):
    write_parquet("sst2/train", {"sentence": ["a", "b", "c"], "label": [0, 1, label]})
    with pytest.raises(ValueError, match=rf"label {label} in row 2 .* expected 0 to 1 \(0 negative, 1 positive\)"):
        load_split(tmp_path, get_task("sst2"), "train")


def test_nulls_missing_files_and_unknown_splits_are_refused(tmp_path: Path, write_parquet: WriteParquet):
    task = get_task("sst2")
    write_parquet("sst2/train", {"sentence": ["a", None], "label": [0, 1]})
    with pytest.raises(ValueError, match="column sentence is null in row 1"):
        load_split(tmp_path, task, "train")
    with pytest.raises(FileNotFoundError, match="columns sentence, label"):
        load_split(tmp_path, task, "validation")
    with pytest.raises(ValueError, match="has train, validation"):
        load_split(tmp_path, task, "test")


def test_questions_need_an_answer_and_an_id_of_their_own(tmp_path: Path, write_parquet: WriteParquet):
    task = get_task("squad")
    no_answer: dict[str, list[Any]] = {"text": [], "answer_start": []}
    write_parquet("squad/train", {**SQUAD, "answers": [SQUAD["answers"][0], no_answer]})
    with pytest.raises(ValueError, match=r"row 1 .* has no answer"):
        load_split(tmp_path, task, "train")
    write_parquet("squad/validation", {**SQUAD, "id": ["q1", "q1"]})
    with pytest.raises(ValueError, match="id 'q1' occurs 2 times"):
        load_split(tmp_path, task, "validation")


def test_a_corpus_is_the_same_in_memory_and_mapped(tmp_path: Path, write_parquet: WriteParquet):
    write_parquet("corpus/train", {"source": ["x", "y"], "title": ["t", "u"], "text": ["One.", "Two."]})
    in_memory = load_corpus(tmp_path, "train")
    mapped = load_corpus(tmp_path, "train", cache_dir=tmp_path / "cache")
    assert in_memory[:] == mapped[:] == {"title": ["t", "u"], "text": ["One.", "Two."]}
    assert not in_memory.cache_files
    assert mapped.cache_files[0]["filename"].startswith(str(tmp_path / "cache"))


def test_an_article_without_text_is_named_also_where_the_corpus_is_mapped(
    tmp_path: Path, write_parquet: WriteParquet
) -> None:
    path = write_parquet("corpus/train", {"title": ["t"] * 5, "text": ["a", "b", "c", None, "e"]})
    pq.write_table(pq.read_table(path), path, row_group_size=2)
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(ValueError, match=r"corpus/train.parquet: column text is null in row 3"):
            load_corpus(tmp_path, "train", cache_dir=cache)


def test_damaged_pages_name_their_file(tmp_path: Path, write_parquet: WriteParquet) -> None:
    """The footer is whole, so that planning cannot see it."""
    sst2 = write_parquet("sst2/train", {"sentence": ["a film"] * 200, "label": [0, 1] * 100})
    corpus = write_parquet("corpus/train", {"title": ["t"] * 200, "text": ["One. Two."] * 200})
    for path in (sst2, corpus):
        content = bytearray(path.read_bytes())
        content[4:150] = b"\xff" * 146
        path.write_bytes(content)
    assert check_folder(tmp_path, [], corpus=False) == []
    with pytest.raises(ValueError, match=r"sst2/train.parquet: its rows cannot be read \(.*Write the file again"):
        load_split(tmp_path, get_task("sst2"), "train")
    with pytest.raises(ValueError, match=r"corpus/train.parquet: its rows cannot be read \(.*Write the file again"):
        load_corpus(tmp_path, "train", cache_dir=tmp_path / "cache")


def squad(contexts: list[str], answers: list[dict[str, list[Any]]]) -> dict[str, Any]:
    numbers = [str(row) for row in range(len(contexts))]
    return {"id": numbers, "title": numbers, "question": ["q"] * len(contexts), "context": contexts, "answers": answers}


@pytest.mark.parametrize("start", [-1, 7, 10**6])
def test_an_answer_outside_its_context_is_named(tmp_path: Path, write_parquet: WriteParquet, start: int) -> None:
    good, bad = {"text": ["Rome"], "answer_start": [3]}, {"text": ["Rome"], "answer_start": [start]}
    write_parquet("squad/train", squad(["in Rome", "in Rome"], [good, bad]))  # 7 characters; Rome ends at the last
    with pytest.raises(ValueError, match=rf"answer_start {start} of 'Rome' in row 1 .*lies outside .* 7 characters"):
        load_split(tmp_path, get_task("squad"), "train")


@pytest.mark.parametrize(
    "answers", [{"text": ["Rome"], "answer_start": []}, {"text": [None], "answer_start": [0]}], ids=["no place", "null"]
)
def test_an_answer_without_text_or_place_is_named(
    tmp_path: Path, write_parquet: WriteParquet, answers: dict[str, list[Any]]
) -> None:
    write_parquet("squad/train", squad(["in Rome"] * 2, [{"text": ["Rome"], "answer_start": [3]}, answers]))
    with pytest.raises(ValueError, match=r"the answers in row 1 .*expected an answer_start for every text"):
        load_split(tmp_path, get_task("squad"), "train")


@pytest.mark.parametrize(("wrong", "refused"), [(1, False), (2, True)])
def test_one_answer_in_a_hundred_may_be_a_character_off_and_no_more(
    tmp_path: Path, write_parquet: WriteParquet, wrong: int, refused: bool
) -> None:
    answers = [{"text": ["Rome"], "answer_start": [2 if row < wrong else 3]} for row in range(100)]
    write_parquet("squad/train", squad(["in Rome, they say"] * 100, answers))
    if refused:
        with pytest.raises(ValueError, match=r"2 of 100 answers are not at .*'Rome' in row 0, where .* ' Rome"):
            load_split(tmp_path, get_task("squad"), "train")
    else:
        assert len(load_split(tmp_path, get_task("squad"), "train")) == 100


# -- rows, while planning


BYTES = pa.array([b"good", b"b\xffd", b"fine"], pa.binary())


def write_rows(folder: Path, name: str, columns: dict[str, Any], rows_in_a_group: int = 2) -> Path:
    path = folder / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows_in_a_group)
    return path


def no_utf8(column: pa.Array) -> pa.Array:
    """Bytes under the type of a text, as a careless writer leaves them."""
    return pa.Array.from_buffers(pa.string(), len(column), column.buffers())


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"sentence": ["a", "b", "c"], "label": [0, 1, 2]}, "label 2 in row 2 (rows count from 0); expected 0 to 1"),
        ({"sentence": ["a", "b", "c"], "label": [0, 1, -1]}, "A label of -1 marks a split without published labels"),
        ({"sentence": ["a", "b", "c"], "label": [0, None, 1]}, "column label is null in row 1; expected a value"),
        ({"sentence": ["a", "b", None], "label": [0, 1, 1]}, "column sentence is null in row 2; expected a value"),
        ({"sentence": ["a", "b", "c"], "label": [0.0, 1.0, 1.0]}, "column label is double; expected integer"),
        ({"sentence": no_utf8(BYTES), "label": [0, 1, 1]}, "column sentence has bytes in row 1 (rows count from 0)"),
    ],
    ids=["label", "no label", "null label", "null text", "float", "bytes"],
)
def test_bad_rows_are_seen_before_anything_runs(
    run_harness: Any, world: Any, columns: dict[str, Any], words: str
) -> None:
    path = write_rows(world.folder / "data", "sst2/validation", columns)
    done = run_harness(world.grid("--dry-run", "--tasks", "sst2", "--methods", "dense"))
    assert done.code == 2
    assert f"{path}: " in done.err
    assert words in done.err
    with pytest.raises(ValueError, match=str(path)):
        load_split(world.folder / "data", get_task("sst2"), "validation")


def test_every_file_with_bad_rows_is_named_at_once(run_harness: Any, world: Any) -> None:
    data = world.folder / "data"
    write_rows(data, "sst2/train", {"sentence": ["a", None], "label": [0, 7]})
    write_rows(data, "squad/train", {**SQUAD, "id": ["q1", "q1"], "question": ["q", None]})
    write_rows(data, "squad/validation", {**SQUAD, "context": ["the cat sat", None]})
    write_rows(data, "corpus/train", {"title": ["t"] * 3, "text": ["One.", "Two.", None]})
    done = run_harness(world.grid("--dry-run", "--seeds", "-1"))
    for said in (
        f"{data}/sst2/train.parquet: column sentence is null in row 1",
        f"{data}/sst2/train.parquet: label 7 in row 1",
        f"{data}/squad/train.parquet: id 'q1' occurs 2 times",
        f"{data}/squad/train.parquet: column question is null in row 1",
        f"{data}/squad/validation.parquet: column context is null in row 1",
        f"{data}/corpus/train.parquet: column text is null in row 2",
        "seed -1",
    ):
        assert done.err.count(said) == 1, said
    assert done.err.startswith("7 problems")


def test_bytes_that_are_no_text_name_file_column_and_row(tmp_path: Path) -> None:
    corpus = write_rows(tmp_path, "corpus/train", {"title": ["t"] * 3, "text": no_utf8(BYTES)})
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(ValueError, match=rf"{corpus}: column text has bytes in row 1 .* that are no UTF-8 text"):
            load_corpus(tmp_path, "train", cache_dir=cache)
    texts = pa.ListArray.from_arrays([0, 1, 2, 3], no_utf8(BYTES))
    answers = pa.StructArray.from_arrays([texts, pa.array([[0], [0], [0]])], ["text", "answer_start"])
    contexts = {"context": ["good"] * 3, "question": ["q"] * 3, "id": ["1", "2", "3"], "title": ["t"] * 3}
    squad = write_rows(tmp_path, "squad/train", {**contexts, "answers": answers})
    with pytest.raises(ValueError, match=rf"{squad}: column answers has bytes in row 1 "):
        load_split(tmp_path, get_task("squad"), "train")


def test_of_a_large_corpus_a_plan_reads_the_statistics_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.inputs import parquet

    sound = write_rows(tmp_path, "corpus/train", {"title": ["t"] * 4, "text": ["a"] * 4})
    nulls = write_rows(tmp_path, "corpus/validation", {"title": ["t"] * 4, "text": ["a", "a", "a", None]})
    monkeypatch.setattr(parquet, "CHEAP_TEXT_BYTES", 0)
    read: list[tuple[int, ...]] = []
    real = pq.ParquetFile.iter_batches

    def watched(file: Any, *words: Any, row_groups: Any, **options: Any) -> Any:
        read.append(tuple(row_groups))
        return real(file, *words, row_groups=row_groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    assert parquet.article_problems(sound, thorough=False) == []
    assert read == []
    (problem,) = parquet.article_problems(nulls, thorough=False)
    assert problem == f"{nulls}: column text is null in row 3; expected a value in every row."
    assert read == [(1,)]  # the row group that has it


def test_rows_are_read_once_for_each_content(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.inputs import parquet
    from harness.inputs.content_hashes import ContentHashes

    memory = world.folder / "memory.json"
    hashes = ContentHashes(memory)
    assert FolderData(world.folder / "data", hashes).problems([get_task("sst2")], corpus=True) == []
    hashes.remember()

    def never(*words: Any, **options: Any) -> Any:
        raise AssertionError("read again")

    monkeypatch.setattr(parquet, "row_problems", never)
    monkeypatch.setattr(parquet, "article_problems", never)
    again = FolderData(world.folder / "data", ContentHashes(memory))
    assert again.problems([get_task("sst2")], corpus=True) == []
    write_rows(world.folder / "data", "sst2/train", {"sentence": ["a", "b"], "label": [1, 7]})
    with pytest.raises(AssertionError, match="read again"):
        again.problems([get_task("sst2")], corpus=True)


def test_a_scan_of_many_rows_takes_little_time(tmp_path: Path) -> None:
    """As many rows as QQP, whose texts are 24 MB."""
    import time

    text = ["What is the best way to learn how to play the piano at home?"] * 400_000
    path = write_rows(tmp_path, "qqp/train", {"question1": text, "question2": text, "label": [0, 1] * 200_000}, 100_000)
    began = time.process_time()
    assert row_problems(path, get_task("qqp")) == []
    assert time.process_time() - began < 1.5


@pytest.mark.parametrize(
    "answers", [{"text": ["cat"], "answer_start": ["4"]}, {"text": [4], "answer_start": [4]}, "cat"]
)
def test_answers_of_other_types_are_told(tmp_path: Path, write_parquet: WriteParquet, answers: Any) -> None:
    for split in ("train", "validation"):
        write_parquet(f"squad/{split}", {**SQUAD, "answers": [answers, answers]})
    found = check_folder(tmp_path, [get_task("squad")], corpus=False)
    assert len(found) == 2
    assert "expected struct of the lists text (strings) and answer_start (integers)" in found[0]


# -- what cannot be meant


BLANK = ["", "  \n\t", "\x00\u200b\ufeff"]


@pytest.mark.parametrize("columns", [{"sentence": BLANK, "label": [0, 1, 1]}, {"sentence": [""] * 3, "label": [0] * 3}])
def test_texts_that_are_all_blank_are_refused(tmp_path: Path, columns: dict[str, Any]) -> None:
    path = write_rows(tmp_path, "sst2/train", columns)
    said = f"{path}: column sentence is blank in all 3 rows; expected text. Write the file again with its texts."
    assert row_problems(path, get_task("sst2")) == [said]


def test_one_text_beside_blank_ones_is_enough(tmp_path: Path) -> None:
    path = write_rows(tmp_path, "sst2/train", {"sentence": [*BLANK, "?"], "label": [0, 1, 1, 0]})
    assert row_problems(path, get_task("sst2")) == []
    corpus = write_rows(tmp_path, "corpus/train", {"title": [""] * 4, "text": [*BLANK, "One."]})
    assert article_problems(corpus) == article_problems(corpus, thorough=False) == []


@pytest.mark.parametrize(
    ("texts", "where"), [([""], "its one row"), (BLANK, "all 3 rows")], ids=["one article", "more articles"]
)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_corpus_without_text_is_told_while_planning(
    run_harness: Any, world: Any, split: str, texts: list[str], where: str
) -> None:
    path = write_rows(world.folder / "data", f"corpus/{split}", {"title": ["t"] * len(texts), "text": texts})
    done = run_harness(world.grid("--dry-run"))
    assert done.code == 2
    assert done.err.count(f"{path}: column text is blank in {where}; expected text") == 1
    with pytest.raises(ValueError, match="column text is blank"):
        load_corpus(world.folder / "data", split)


@pytest.mark.parametrize("answer", ["", " "])
def test_an_empty_answer_is_no_answer(tmp_path: Path, write_parquet: WriteParquet, answer: str) -> None:
    good, empty = {"text": ["Rome"], "answer_start": [3]}, {"text": ["Rome", answer], "answer_start": [3, 2]}
    path = write_parquet("squad/train", squad(["in Rome"] * 3, [good, good, empty]))
    (problem,) = row_problems(path, get_task("squad"))
    assert problem.startswith(
        f"{path}: the answer in row 2 (rows count from 0) is empty; expected words of its context"
    )


@pytest.mark.parametrize("kind", [pa.uint64(), pa.uint8(), pa.int8(), pa.int64()], ids=str)
def test_a_label_of_any_integer_type_is_named_with_its_row(tmp_path: Path, kind: pa.DataType) -> None:
    largest = 2 ** (kind.bit_width - (0 if str(kind).startswith("u") else 1)) - 1
    path = write_rows(tmp_path, "sst2/train", {"sentence": ["a"] * 4, "label": pa.array([0, 1, 1, largest], kind)})
    (problem,) = row_problems(path, get_task("sst2"))
    assert f"label {largest} in row 3 (rows count from 0); expected 0 to 1" in problem


@pytest.mark.parametrize(("column", "times", "often"), [("label", 2, "twice"), ("sentence", 3, "3 times")])
def test_a_column_that_occurs_twice_is_told(run_harness: Any, world: Any, column: str, times: int, often: str) -> None:
    data = world.folder / "data"
    sst2 = pa.table({"sentence": ["a", "b"], "label": [0, 1]})
    path = data / "sst2" / "train.parquet"
    again = [sst2.column(column)] * (times - 1)
    pq.write_table(pa.Table.from_arrays([*sst2.columns, *again], [*sst2.column_names, *[column] * (times - 1)]), path)
    done = run_harness(world.grid("--dry-run", "--tasks", "sst2", "--methods", "dense"))
    assert done.code == 2
    assert f"{path}: column {column} occurs {often}; expected it once. Keep one of them." in done.err


def test_other_columns_may_occur_twice(tmp_path: Path) -> None:
    path = tmp_path / "sst2" / "train.parquet"
    path.parent.mkdir()
    pq.write_table(pa.Table.from_arrays([["a"], [1], [2], [3]], ["sentence", "label", "idx", "idx"]), path)
    assert load_split(tmp_path, get_task("sst2"), "train")[:] == {"sentence": ["a"], "label": [1]}


# -- what stands where a file should


def make_folder(path: Path) -> None:
    path.mkdir()
    pq.write_table(pa.table({"sentence": ["a"], "label": [1]}), path / "part-0.parquet")


ODD_PLACES: dict[str, Callable[[Path], None]] = {
    "a folder": make_folder,
    "a pipe": lambda path: os.mkfifo(path),
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a link that leads back to itself": lambda path: path.symlink_to(path.name),
    "a link to nowhere, which does not exist": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("what", ODD_PLACES)
def test_what_stands_where_a_file_should_is_told(run_harness: Any, world: Any, what: str) -> None:
    """Nothing of it is opened: a pipe without a writer and a device would never end."""
    data = world.folder / "data"
    paths = [
        data / name for name in ("sst2/train.parquet", "mnli/validation_mismatched.parquet", "corpus/train.parquet")
    ]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        ODD_PLACES[what](path)
    done = run_harness(world.grid("--dry-run", "--tasks", "sst2,mnli"))
    assert done.code == 2
    for path, columns in zip(paths, ("sentence, label", "premise, hypothesis, label", "title, text"), strict=True):
        assert f"{path}: is {what}; expected one parquet file with the columns {columns}" in done.err
    move = "Write its parts as one file under that name, or" if what == "a folder" else "Put the file itself there, or"
    assert f"{move} leave the task out." in done.err
    assert f"{move} take it away." in done.err  # of a split that may be absent
    with pytest.raises(
        FileNotFoundError, match=f"train.parquet: is {what}. Expected parquet with the columns sentence"
    ):
        load_split(data, get_task("sst2"), "train")


@pytest.mark.parametrize("what", ODD_PLACES)
def test_a_file_that_gave_way_since_the_plan_is_not_opened(world: Any, what: str) -> None:
    source = FolderData(world.folder / "data")
    path = source.folder / "sst2" / "train.parquet"
    content_id = source.content_ids([get_task("sst2")], corpus=False)["sst2/train"]
    path.unlink()
    ODD_PLACES[what](path)
    assert "sst2/train" not in source.content_ids([get_task("sst2")], corpus=False)
    with pytest.raises(ValueError, match="is not the file the plan was made with"):
        source.rows(get_task("sst2"), "train", content_id)


@pytest.mark.parametrize("what", [place for place in ODD_PLACES if place != "a folder"])
def test_what_stands_where_the_data_folder_should_is_told(tmp_path: Path, what: str) -> None:
    ODD_PLACES[what](tmp_path / "data")
    (problem,) = check_folder(tmp_path / "data", TASKS.values(), corpus=True)
    assert problem.startswith(f"data folder {tmp_path / 'data'} is {what}. Expected a folder with")
