"""Code versions that changed no number keep finished work valid; what the file may say."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from grid_world import ROOT, of_kind, plan, sentences, with_descendants

import harness.planning.equivalents
from harness.errors import UsageError
from harness.planning.equivalents import Equivalent, load_equivalents, read_equivalents
from harness.planning.kinds import KINDS
from harness.store.store import Store

KIND = "transfer"
Raise = Callable[..., None]


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> Raise:
    """raised(version, (from, to), ..): the kind is at this version, with these entries."""

    def to(version: int, *entries: tuple[int, int]) -> None:
        monkeypatch.setitem(KINDS, KIND, replace(KINDS[KIND], version=version))
        text = "".join(entry(older, newer) for older, newer in entries)
        found = {(e.kind, e.newer): e.older for e in read_equivalents(text, KINDS)}
        monkeypatch.setattr(harness.planning.equivalents, "_older", lambda: found)

    return to


def entry(older: object, newer: object, kind: str = KIND, reason: str = "measured") -> str:
    return f'[[equivalent]]\nkind = "{kind}"\nfrom = {older}\nto = {newer}\nreason = "{reason}"\n'


@pytest.mark.parametrize(
    ("version", "entries"),
    [(2, [(1, 2)]), (3, [(1, 2), (2, 3)]), (3, [(2, 3), (1, 2)]), (3, [(1, 3)]), (3, [(1, 2), (1, 3)])],
)
def test_versions_connected_with_the_first_leave_every_id_as_it_was(
    raised: Raise, version: int, entries: list[tuple[int, int]]
) -> None:
    before = plan(tasks=["sst2"])
    raised(version, *entries)
    assert plan(tasks=["sst2"]).stages == before.stages


@pytest.mark.parametrize(("version", "entries"), [(2, []), (3, [(1, 2)]), (3, [(2, 3)]), (4, [(1, 2), (3, 4)])])
def test_versions_that_are_not_change_the_kind_and_what_rests_on_it(
    raised: Raise, version: int, entries: list[tuple[int, int]]
) -> None:
    before = plan(tasks=["sst2"])
    raised(version, *entries)
    reached = with_descendants(before, list(of_kind(before, KIND)))
    assert before.stages.keys() - plan(tasks=["sst2"]).stages.keys() == reached


def test_two_versions_after_the_first_may_be_one_identity_of_their_own(raised: Raise) -> None:
    raised(2)
    before = plan(tasks=["sst2"])
    raised(3, (2, 3))
    assert plan(tasks=["sst2"]).stages == before.stages


def test_a_record_says_which_version_ran(
    raised: Raise, fakes: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.execution.executors import run_in_process
    from harness.stages.context import Resources, Sources

    raised(2, (1, 2))
    planned, store = plan(tasks=["sst2"], methods=["prune-ofa-no-kd"]), Store(tmp_path)
    run_in_process(planned, store, Sources(models={}, data=tmp_path), Resources(), lambda line: None)  # type: ignore[arg-type]
    for stage_id, spec in planned.stages.items():
        record = store.stage(stage_id).read_record()
        assert record["versions"] == {"kind": 1}
        assert record["provenance"]["kind_version"] == (2 if spec.kind == KIND else 1)


# -- the file


def test_the_shipped_file_is_read_and_goes_with_the_package() -> None:
    assert all(entry.newer <= KINDS[entry.kind].version for entry in load_equivalents())
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["harness"]
    assert "planning/equivalents.toml" in data


def test_an_entry_is_read_as_written() -> None:
    kinds = {KIND: replace(KINDS[KIND], version=2)}
    assert read_equivalents(entry(1, 2), kinds) == [Equivalent(kind=KIND, older=1, newer=2, reason="measured")]
    assert read_equivalents("", kinds) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (entry(1, 2, kind="transfr"), "entry 1: stage kind 'transfr' is not known. Did you mean 'transfer'"),
        (entry(2, 2), "entry 1: from=2, to=2: expected 1 <= from < to"),
        (entry(3, 2), "entry 1: from=3, to=2: expected 1 <= from < to"),
        (entry(0, 2), "entry 1: from=0, to=2: expected 1 <= from < to"),
        (entry(1, 9), "entry 1: to=9: transfer is at version 4; raise it in kinds.py"),
        (entry(1, 2, reason=" "), "entry 1: reason is empty"),
        (entry(1, '"2"'), "entry 1: to='2': expected a whole number"),
        (entry(1, "true"), "entry 1: to=True: expected a whole number"),
        ('[[equivalent]]\nkind = "transfer"\nfrom = 1\nto = 2\n', "entry 1: reason is missing"),
        (entry(1, 2) + "because = 1\n", "entry 1: 'because' is not known; expected kind, from, to, reason"),
        (entry(1, 3) + entry(2, 3), "entry 2: transfer version 3 has an entry already; keep one"),
        ("[[equivalents]]\nfrom = 1\n", "'equivalents' is not known; write [[equivalent]] tables"),
        ("equivalent = 1\n", "expected [[equivalent]] tables"),
        ("[[", "no TOML"),
    ],
)
def test_a_bad_entry_is_told(text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_equivalents(text, {KIND: replace(KINDS[KIND], version=4)})
    (problem,) = sentences(caught.value)
    assert words in problem
    assert problem.startswith("equivalents.toml")


def test_every_problem_is_told_at_once() -> None:
    text = entry(1, 2, kind="nothing") + entry(1, 2) + entry(2, 1, reason="") + "more = 1\n" + entry(1, 2)
    with pytest.raises(UsageError) as caught:
        read_equivalents(text, {KIND: replace(KINDS[KIND], version=2)})
    assert [problem.split(":")[0].split()[-1] for problem in sentences(caught.value)] == ["1", "3", "4"]
