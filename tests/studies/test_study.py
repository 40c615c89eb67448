import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from grid_world import files_below, gone_process, inputs, plan, preset, sentences

from harness.cli.main import main
from harness.errors import StoreError, UsageError
from harness.planning.graph import Plan
from harness.planning.kept_recipe import check_kept, recipe_of
from harness.planning.preset import load_preset
from harness.specs import StageSpec
from harness.store.leases import acquire, current_holder
from harness.store.processes import is_gone
from harness.store.store import Store
from harness.studies import study as study_module
from harness.studies.study import (
    Study,
    add_to_study,
    check_name,
    check_recipe,
    merged,
    only_study,
    parents_first,
    read_study,
    study_names,
    write_study,
)


def write(store: Store, name: str, planned: Plan, *assignments: str) -> None:
    write_study(store, merged(store, name, preset(*assignments), planned))


def test_a_study_comes_back_as_it_went_in(store: Store) -> None:
    planned = plan(tasks=["sst2"], seeds=(0, 1))
    write(store, "mine", planned)
    study = read_study(store, "mine")
    assert (study.name, study.plan.paths) == ("mine", planned.paths)
    assert study.plan.stages == planned.stages
    assert study.recipe["hash"] == preset().recipe_hash
    assert study.recipe["settings"]["transfer.epochs"] == [3.0, "assumed", "equal epochs for every method"]


def test_a_study_read_back_has_parents_first(store: Store) -> None:
    write(store, "mine", plan())
    seen: set[str] = set()
    for stage_id, spec in read_study(store, "mine").plan.stages.items():
        assert set(spec.parents.values()) <= seen
        seen.add(stage_id)


def test_cells_of_a_later_grid_join_the_study(store: Store) -> None:
    write(store, "mine", plan(tasks=["sst2"]))
    write(store, "mine", plan(tasks=["squad"], seeds=(1,)))
    together = {*plan(tasks=["sst2"]).paths, *plan(tasks=["squad"], seeds=(1,)).paths}
    assert set(read_study(store, "mine").plan.paths) == together


def test_two_grids_that_join_a_study_at_the_same_moment_both_stay_in_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has read and not yet written when the second comes: it reads only what the first has written."""
    write(store, "mine", plan(tasks=["sst2"]))
    first_is_at_it, second_has_read = threading.Event(), threading.Event()
    merge, replace = study_module._merged, study_module.write_study

    def slow_write(place: Store, study: Study) -> None:
        if not first_is_at_it.is_set():
            first_is_at_it.set()
            assert second_has_read.wait(30)
        replace(place, study)

    def noted_merge(*arguments: object) -> Study:
        found = merge(*arguments)  # type: ignore[arg-type]
        if first_is_at_it.is_set():
            second_has_read.set()
        return found

    monkeypatch.setattr(study_module, "write_study", slow_write)
    monkeypatch.setattr(study_module, "_merged", noted_merge)
    grids = [plan(tasks=["squad"]), plan(tasks=["sst2"], seeds=(1,))]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(add_to_study, store, "mine", preset(), grids[0])
        assert first_is_at_it.wait(30)
        second = pool.submit(add_to_study, store, "mine", preset(), grids[1])
        first.result(60), second.result(60)
    together = {cell for planned in (plan(tasks=["sst2"]), *grids) for cell in planned.paths}
    assert set(read_study(store, "mine").plan.paths) == together
    holder = current_holder(store.study_lease_path("mine"))
    assert holder is not None
    assert (holder.generation, holder.released) == (2, True)


def test_a_study_that_has_all_the_cells_is_not_touched(store: Store) -> None:
    add_to_study(store, "mine", preset(), plan())
    before = files_below(store.root)
    add_to_study(store, "mine", preset(), plan(tasks=["sst2"]))
    assert files_below(store.root) == before


def test_who_died_while_adding_to_a_study_keeps_nobody_from_it(store: Store) -> None:
    acquire(store.study_lease_path("mine"), gone_process(), is_gone)
    add_to_study(store, "mine", preset(), plan())
    assert set(read_study(store, "mine").plan.paths) == set(plan().paths)
    assert store.leased() == set(), "a study is no stage"


def test_one_name_for_two_recipes_is_refused_and_says_where_they_differ(store: Store) -> None:
    write(store, "mine", plan())
    before = store.study_path("mine").read_bytes()
    other = preset("transfer.epochs=7", "dense.tasks.squad.epochs=1")
    with pytest.raises(UsageError) as caught:
        merged(store, "mine", other, plan())
    (problem,) = sentences(caught.value)
    assert "study 'mine' has another recipe (it differs in dense.tasks.squad.epochs, transfer.epochs)" in problem
    assert "--study NAME" in problem
    assert store.study_path("mine").read_bytes() == before


def test_the_recipe_is_checked_without_reading_the_stages(store: Store) -> None:
    write(store, "mine", plan())
    path = store.study_path("mine")
    text = path.read_text()
    path.write_text(text[: text.index('"stages": {')])  # nothing of what follows the recipe can be read
    check_recipe(store, "mine", preset())
    with pytest.raises(UsageError, match=r"has another recipe \(it differs in transfer.epochs\)"):
        check_recipe(store, "mine", preset("transfer.epochs=7"))
    with pytest.raises(StoreError, match="is damaged"):
        read_study(store, "mine")


@pytest.mark.parametrize("indent", [None, 0, 1, 4])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_recipe_is_found_in_any_layout_of_the_file(store: Store, indent: int | None, reverse: bool) -> None:
    write(store, "mine", plan())
    path = store.study_path("mine")
    tree = json.loads(path.read_text())
    tree["recipe"]["notes"] = [
        '} "recipe": {"hash": 1}, [\\" \n "recipe": '
    ]  # what a mark in the text would take for it
    members = {"cells": tree["cells"], **dict(sorted(tree.items(), reverse=reverse))}
    path.write_text(json.dumps(members, indent=indent))
    check_recipe(store, "mine", preset())
    with pytest.raises(UsageError, match="has another recipe"):
        check_recipe(store, "mine", preset("transfer.epochs=7"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"cells"', '{"cells": []', '{"cells": [] "recipe": {}}', "\x00", "{" + '"a":{' * 9999]
)
def test_a_damaged_study_is_named_with_the_next_move(store: Store, text: str) -> None:
    write(store, "mine", plan())
    store.study_path("mine").write_text(text)
    with pytest.raises(StoreError, match="is damaged .* Move it away and give its grid's command again"):
        check_recipe(store, "mine", preset())


@pytest.mark.parametrize("name", ["../../elsewhere", "other", "\x1b[31m", None, 3, ["mine"]])
def test_a_study_that_has_another_name_than_its_file_is_damaged(store: Store, name: object) -> None:
    """Whoever writes it again, as a merge does, would write it under that name: anywhere."""
    write(store, "mine", plan())
    path = store.study_path("mine")
    path.write_text(json.dumps({**json.loads(path.read_text()), "study": name}))
    with pytest.raises(StoreError) as raised:
        read_study(store, "mine")
    assert f"it says that it is study {name!r}" in str(raised.value)


def stage(kind: str, **parents: str) -> StageSpec:
    return StageSpec(kind=kind, parameters={}, parents=parents)


def test_each_stage_comes_after_its_parents_and_otherwise_in_the_order_given() -> None:
    # By hand: e comes first and needs c and d (a before each); b needs a, which is there by then.
    specs = {
        "e": stage("e", model="c", teacher="d"),
        "b": stage("b", model="a"),
        "d": stage("d", model="a"),
        "c": stage("c", model="a"),
        "a": stage("a", model="of another store"),
    }
    assert parents_first(specs) == ["a", "c", "d", "e", "b"]


def test_stages_that_depend_on_themselves_are_refused() -> None:
    with pytest.raises(ValueError, match="cycle"):
        parents_first({"a": stage("a", model="b"), "b": stage("b", model="a")})


def test_a_study_without_a_parent_of_its_stages_is_damaged(store: Store) -> None:
    write(store, "mine", plan(tasks=["sst2"]))
    path = store.study_path("mine")
    tree = json.loads(path.read_text())
    (corpus,) = (stage_id for stage_id, fields in tree["stages"].items() if fields["kind"] == "corpus")
    del tree["stages"][corpus]
    path.write_text(json.dumps(tree))
    with pytest.raises(StoreError, match=f"is damaged .*no stage {corpus}, which others depend on"):
        read_study(store, "mine")


def test_stages_that_no_cell_needs_any_more_leave_the_study(store: Store) -> None:
    # A data file is mended: the cells are the same, their stages are new. The old ones are no part of the study.
    write(store, "mine", plan(tasks=["sst2"], found=inputs(changed={"sst2/train": "broken"})))
    mended = plan(tasks=["sst2"])
    write(store, "mine", mended)
    assert set(read_study(store, "mine").plan.stages) == set(mended.stages)


def test_an_edited_parameter_is_found(store: Store) -> None:
    write(store, "mine", plan())
    path = store.study_path("mine")
    path.write_text(path.read_text().replace('"epochs": 3.0', '"epochs": 4.0', 1))
    with pytest.raises(
        StoreError, match=r"the parameters of stage .* were changed .* Move it away and give its grid's"
    ):
        read_study(store, "mine")


@pytest.mark.parametrize("was", ['"epochs": 3.0', '"threads": 2'])
def test_a_plan_that_is_known_to_be_sound_changes_nothing_of_what_is_found(store: Store, was: str) -> None:
    """3 is equal to 3.0, and another parameter."""
    planned = plan(tasks=["sst2"])
    write(store, "mine", planned)
    known = read_study(store, "mine", planned)
    assert known == read_study(store, "mine")
    (first, *_) = known.plan.stages
    assert known.plan.stages[first] is planned.stages[first]
    path = store.study_path("mine")
    path.write_text(path.read_text().replace(was, was.removesuffix(".0") if "." in was else f"{was}.0", 1))
    with pytest.raises(StoreError, match="were changed"):
        read_study(store, "mine", planned)


RECIPE_EDITS: list[tuple[dict[str, Any], str]] = [
    ({"settings": {"a": 1}}, "a is 1: expected [value, evidence, source], the evidence one of published, partner"),
    ({"settings": {"a": [1, "guessed", "b"]}}, "a is [1, 'guessed', 'b']: expected [value, evidence, source]"),
    ({"settings": [1]}, "recipe.settings is [1]: expected an object"),
    ({"settings": {}}, "a value was changed (the recipe's hash does not fit them)"),
    ({"hash": "0" * 32}, "a value was changed (the recipe's hash does not fit them)"),
    ({"notes": "one"}, "recipe.notes is 'one': expected a list of texts"),
    ({"preset": None}, "recipe.preset is None: expected a text"),
    ({"sparse_checkpoints": [{"model": "tiny"}]}, "expected model, sparsity, repository and revision of each"),
    ({"sparse_checkpoints": [{"model": "m", "sparsity": 0.5, "repository": "r", "revision": "main"}]}, "is not pinned"),
    ({"defaults": 3}, "recipe.defaults is 3: expected a list of texts"),
]


@pytest.mark.parametrize(("change", "said"), RECIPE_EDITS, ids=lambda value: str(value)[:40])
def test_a_recipe_of_another_form_is_told_by_whoever_reads_the_study(
    store: Store, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    write(store, "mine", plan(tasks=["sst2"]))
    path = store.study_path("mine")
    tree = json.loads(path.read_text())
    tree["recipe"] |= change
    path.write_text(json.dumps(tree, indent=1, sort_keys=True))
    assert main(["tables", "--store", str(store.root)]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Move it away and give its grid's command again" in told
    with pytest.raises(StoreError, match="is damaged"):
        check_recipe(store, "mine", preset())


def test_a_value_of_the_recipe_that_was_edited_is_no_fact(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    write(store, "mine", plan("transfer.epochs=7", tasks=["sst2"]), "transfer.epochs=7")
    path = store.study_path("mine")
    tree = json.loads(path.read_text())
    assert tree["recipe"]["settings"]["transfer.epochs"][0] == 7.0
    tree["recipe"]["settings"]["transfer.epochs"][0] = 77.0
    path.write_text(json.dumps(tree))
    assert main(["tables", "--store", str(store.root)]) == 1
    assert "a value was changed (the recipe's hash does not fit them)" in capsys.readouterr().err


def test_the_hash_of_a_recipe_with_released_checkpoints_is_that_of_its_preset() -> None:
    released = load_preset("paper-released")
    assert released.sparse_checkpoints
    kept = json.loads(json.dumps(released.as_json()))
    check_kept(kept)
    assert recipe_of(kept).settings == released.recipe.settings
    kept["sparse_checkpoints"][0]["revision"] = "0" * 40
    with pytest.raises(ValueError, match="a value was changed"):
        check_kept(kept)


def test_a_study_of_another_schema_is_named_as_such(store: Store) -> None:
    write(store, "mine", plan())
    path = store.study_path("mine")
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 9}))
    with pytest.raises(StoreError, match="schema 9, expected 1"):
        read_study(store, "mine")


def test_an_unknown_study_is_answered_with_the_nearest(store: Store) -> None:
    with pytest.raises(UsageError, match="no study in .*Start one with harness grid"):
        read_study(store, "mine")
    write(store, "mine", plan())
    with pytest.raises(UsageError, match="study 'mime' is not known. Did you mean 'mine'"):
        read_study(store, "mime")


def test_the_only_study_needs_no_name(store: Store) -> None:
    with pytest.raises(UsageError, match="no study"):
        only_study(store)
    write(store, "mine", plan())
    assert only_study(store) == "mine"
    write(store, "other", plan())
    with pytest.raises(UsageError, match="several studies: mine, other. Name one with study"):
        only_study(store)
    assert study_names(store) == ["mine", "other"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", ".hidden", "-x", "a\n"])
def test_a_name_that_cannot_be_a_file_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="use at most 100 letters, digits"):
        check_name(name)


@pytest.mark.parametrize("name", ["reduced", "2024-05.run_1", "A"])
def test_other_names_are_fine(name: str) -> None:
    check_name(name)
