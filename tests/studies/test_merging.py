"""Merging stores: what goes together does, conflicts are named, and the target is sound at every moment."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filled_stores import finish, make_study, share
from grid_world import files_below

from harness import files as harness_files
from harness.cli.main import main
from harness.errors import UsageError
from harness.files import folder_digest
from harness.identity import sha256_of
from harness.store.store import Store
from harness.studies.merging import merge as merge_module
from harness.studies.merging.contents import read_contents
from harness.studies.merging.merge import MergeOptions, carry_out, plan_merge
from harness.studies.study import read_study
from harness.studies.verification import verified_records
from paper_tables.numbers.study_numbers import read_numbers

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    finish(tmp_path / "ann", make_study(tmp_path / "ann", seeds=(0, 1)), who="ann")
    return tmp_path / "ann"


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    """Other seeds of the same study, run from the beginning by somebody else; what both ran came out alike."""
    finish(tmp_path / "bob", make_study(tmp_path / "bob", seeds=(2,)), who="bob")
    return tmp_path / "bob"


@pytest.fixture
def eve(tmp_path: Path) -> Path:
    """As bob, on a machine with other bits: her pruned model is another one."""
    other = {"metrics": {"mlm_accuracy": 0.5, "mlm_correct": 2, "mlm_positions": 4}, "training": {"tokens_seen": 1000}}
    pruned = ("student_pruning",)
    finish(
        tmp_path / "eve",
        make_study(tmp_path / "eve", seeds=(2,)),
        who="eve",
        result=lambda spec: other if spec.kind in pruned else {},
    )
    return tmp_path / "eve"


def merge(into: Path, *sources: Path, words: tuple[str, ...] = ()) -> int:
    return main(["merge", *map(str, sources), "--into", str(into), *words])


def values(root: Path) -> dict[tuple[object, ...], float | None]:
    return {(s.method, s.seed): s.value for s in read_numbers(Store(root), "mine").scores}


def bytes_of(root: Path) -> dict[str, bytes]:
    """Every file but leases, whose holder is a process of this machine."""
    return {name: content for name, (_, content) in files_below(root).items() if not name.startswith("leases/")}


# -- what goes together


def test_two_peoples_seeds_become_one_study_with_every_number_of_both(
    tmp_path: Path, ann: Path, bob: Path, capsys: Capture
) -> None:
    before, into = {root: files_below(root) for root in (ann, bob)}, tmp_path / "both"
    expected = values(ann) | values(bob)
    assert merge(into, ann, bob) == 0
    out = capsys.readouterr().out
    assert "study mine: 6 cells, 6 new" in out
    assert values(into) == expected
    assert len({seed for _, seed in expected}) == 3
    assert {root: files_below(root) for root in (ann, bob)} == before  # sources are read
    # The four stages before the first seed were run by both and are alike: one record each, the other as its twin.
    store = Store(into)
    twins = sorted(path.parent.name for path in (into / "twins").glob("*/*.json"))
    shared = sorted(
        read_study(Store(ann), "mine").plan.stages.keys() & read_study(Store(bob), "mine").plan.stages.keys()
    )
    assert twins
    assert set(twins) <= set(shared)
    assert set(verified_records(read_study(store, "mine").plan, store)) == set(read_study(store, "mine").plan.stages)


def test_the_same_command_again_writes_nothing(tmp_path: Path, ann: Path, bob: Path, capsys: Capture) -> None:
    into = tmp_path / "both"
    assert merge(into, ann, bob) == 0
    before = files_below(into)
    capsys.readouterr()
    assert merge(into, ann, bob) == 0
    assert files_below(into) == before
    assert "study mine: nothing new" in capsys.readouterr().out


def test_a_twin_that_says_another_thing_is_none(tmp_path: Path, ann: Path, bob: Path) -> None:
    into = tmp_path / "both"
    merge(into, ann, bob)
    twin = next((into / "twins").glob("*/*.json"))
    twin.write_text(twin.read_text().replace('"mlm_correct": 1', '"mlm_correct": 2'))
    found = read_contents(Store(into), "both")
    assert found.problems
    assert all("was made from another" in problem for problem in found.problems)


def test_records_of_one_origin_are_there_once_whatever_the_order(tmp_path: Path, ann: Path) -> None:
    """Random parts of one store, merged in random order, are the whole: by identity alone, without twins."""
    draw = random.Random(1)
    for attempt in range(4):
        parts = []
        for part in range(3):
            copy = tmp_path / f"{attempt}-{part}"
            shutil.copytree(ann, copy)
            for path in sorted((copy / "records").glob("*/*.json")):
                if draw.randrange(3) > part:  # the last part is whole
                    path.unlink()
            parts.append(copy)
        into = tmp_path / f"{attempt}"
        assert merge(into, *draw.sample(parts, 3)) == 0
        assert not (into / "twins").exists()
        assert {p.name: p.read_bytes() for p in (into / "records").glob("*/*")} == {
            p.name: p.read_bytes() for p in (ann / "records").glob("*/*")
        }


def test_a_study_in_which_one_of_both_did_nothing_yet_keeps_its_cells(tmp_path: Path, ann: Path) -> None:
    make_study(tmp_path / "dan", seeds=(7,))
    assert merge(tmp_path / "both", tmp_path / "dan", ann) == 0
    assert {seed for _, seed in values(tmp_path / "both")} == {0, 1, 7}


def test_one_study_alone_comes_with_its_records(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    finish(ann, make_study(ann, "transfer.epochs=4", name="longer", seeds=(0,)))
    assert merge(tmp_path / "both", ann, words=("--study", "longer")) == 0
    store = Store(tmp_path / "both")
    assert store.recorded() == sorted(read_study(store, "longer").plan.stages)


# -- conflicts


def test_one_study_alone_meets_the_records_of_a_target_that_knows_its_stages_by_another(
    tmp_path: Path, ann: Path, eve: Path, capsys: Capture
) -> None:
    """Equal ones are there already, and others are a conflict, though the target has no such study."""
    same, other = tmp_path / "same", tmp_path / "other"
    for into, source in ((same, ann), (other, eve)):
        shutil.copytree(source, into)
        study = into / "studies" / "mine.json"
        (into / "studies" / "theirs.json").write_text(study.read_text().replace('"mine"', '"theirs"'))
        study.unlink()
        before = files_below(into / "records")
        assert merge(into, ann, words=("--study", "mine")) == (0 if source is ann else 1)
        assert files_below(into / "records") == before
    told = capsys.readouterr()
    assert f"{len(read_study(Store(ann), 'mine').plan.stages)} records there already" in told.out
    assert "student_pruning" in told.err


def test_two_outcomes_are_named_with_all_that_is_known_and_nothing_is_written(
    tmp_path: Path, ann: Path, eve: Path, capsys: Capture
) -> None:
    into = tmp_path / "both"
    assert merge(into, ann, eve) == 1
    err = capsys.readouterr().err
    assert not into.exists()
    (pruned,) = [i for i, s in read_study(Store(ann), "mine").plan.stages.items() if s.kind == "student_pruning"]
    for root, who, metric in ((ann, "ann", "mlm_accuracy 0.25"), (eve, "eve", "mlm_accuracy 0.5")):
        digest = Store(root).stage(pruned).read_record()["digest"]
        (line,) = [line for line in err.splitlines() if digest[:12] in line]
        assert line.strip().startswith(f"{root}: record {digest[:12]}, {metric}")
        assert f"(commit {who} " in line
        assert f"on {who}'s machine)" in line
    assert f"student_pruning tiny 0.85 seed 0 ({pruned}): 2 results" in err
    assert err.startswith("1 problem; nothing was written:")
    assert "--prefer STORE" in err


@pytest.mark.parametrize("result", [3, "x", [1], {"metrics": "x"}, {"metrics": [1]}], ids=str)
def test_a_conflict_with_a_result_of_another_form_is_told_as_any_other(
    tmp_path: Path, ann: Path, bob: Path, capsys: Capture, result: Any
) -> None:
    study = read_study(Store(bob), "mine")
    (pruned,) = [stage_id for stage_id, spec in study.plan.stages.items() if spec.kind == "student_pruning"]
    path = Store(bob).stage(pruned).record_path
    record = {key: value for key, value in json.loads(path.read_text()).items() if key != "digest"}
    record["result"] = result
    path.write_text(json.dumps({**record, "digest": sha256_of(record)}))
    assert merge(tmp_path / "both", ann, bob) == 1
    told = capsys.readouterr().err
    assert f"({pruned}): 2 results" in told
    assert "no metric (commit bob" in told
    assert not (tmp_path / "both").exists()


def test_as_json_a_conflict_has_both_digests(tmp_path: Path, ann: Path, eve: Path, capsys: Capture) -> None:
    assert merge(tmp_path / "both", ann, eve, words=("--json",)) == 1
    (conflict,) = json.loads(capsys.readouterr().out)["conflicts"]
    assert len({record["digest"] for record in conflict["records"]}) == 2
    assert [record["metrics"]["mlm_accuracy"] for record in conflict["records"]] == [0.25, 0.5]


def test_a_preferred_stores_records_count_and_what_others_made_from_theirs_stays_behind(
    tmp_path: Path, ann: Path, eve: Path, capsys: Capture
) -> None:
    dense = {key: value for key, value in values(eve).items() if key[0] == "dense"}
    into = tmp_path / "annes"
    assert merge(into, ann, eve, words=("--prefer", str(ann))) == 0
    assert "stay behind" in capsys.readouterr().err
    missing = {("prune-ofa", 2): None}  # made from her pruned model: to be run again from ann's
    assert values(into) == values(ann) | dense | missing
    theirs = tmp_path / "eves"
    assert merge(theirs, ann, eve, words=("--prefer", str(eve))) == 0
    lost = {("prune-ofa", 0): None, ("prune-ofa", 1): None}
    assert values(theirs) == values(ann) | values(eve) | lost


def test_the_targets_records_are_never_written_over(tmp_path: Path, ann: Path, eve: Path, capsys: Capture) -> None:
    before = files_below(ann)
    assert merge(ann, eve, words=("--prefer", str(eve))) == 1
    err = capsys.readouterr().err
    assert files_below(ann) == before
    (pruned,) = [i for i, s in read_study(Store(ann), "mine").plan.stages.items() if s.kind == "student_pruning"]
    mend = f"invalidate {pruned} --store {ann}"
    assert f"harness {mend}" in err
    assert main([*mend.split(), "--yes"]) == 0
    assert merge(ann, eve, words=("--prefer", str(eve))) == 0
    assert values(ann)["prune-ofa", 2] == values(eve)["prune-ofa", 2]
    assert values(ann)["prune-ofa", 0] is None
    assert main(["tables", "--store", str(ann)]) == 4


def test_a_record_whose_parent_is_elsewhere_and_another_one_is_a_conflict(
    tmp_path: Path, ann: Path, eve: Path, capsys: Capture
) -> None:
    """Ann gave away all but her pruned model; eve has one of that stage, from which ann's models were not made."""
    plan = read_study(Store(ann), "mine").plan
    (pruned,) = [i for i, s in plan.stages.items() if s.kind == "student_pruning"]
    Store(ann).stage(pruned).record_path.unlink()
    assert merge(tmp_path / "both", ann, eve) == 1
    err = capsys.readouterr().err
    assert "it was made from another record than there is (model " in err
    for prefer, other in ((ann, eve), (eve, ann)):
        into = tmp_path / f"prefer {prefer.name}"
        assert merge(into, ann, eve, words=("--prefer", str(prefer))) == 0
        ours, theirs = values(prefer), values(other)
        kept = {key: value for key, value in theirs.items() if key[0] == "dense"}
        assert values(into) == dict.fromkeys(theirs) | kept | ours


def test_another_recipe_is_another_study(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    make_study(tmp_path / "dan", "transfer.epochs=7", seeds=(0,))
    assert merge(tmp_path / "both", ann, tmp_path / "dan") == 1
    err = capsys.readouterr().err
    assert "another recipe (they differ in transfer.epochs)" in err
    assert "--study NAME" in err
    assert not (tmp_path / "both").exists()


def test_cells_that_were_made_from_other_data_are_a_conflict(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    dan = tmp_path / "dan"
    finish(dan, make_study(dan, seeds=(0,), changed={"sst2/train": "cleaned"}), who="dan")
    assert merge(tmp_path / "both", ann, dan) == 1
    err = capsys.readouterr().err
    assert "2 cells (" in err
    assert "were made otherwise; they differ in the data (sst2)" in err
    assert merge(tmp_path / "both", ann, dan, words=("--prefer", str(dan))) == 0
    assert values(tmp_path / "both") == values(ann) | values(dan)


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path, ann: Path, eve: Path, capsys: Capture) -> None:
    plan = read_study(Store(ann), "mine").plan
    first, second = (Store(ann).stage(plan.endpoint(cell)).record_path for cell in list(plan.paths)[:2])
    first.write_bytes(b"")
    second.write_text(second.read_text().replace('"attempt": 1', '"attempt": 3'))
    make_study(eve, "transfer.epochs=7", name="more", seeds=(0,))
    make_study(ann, "transfer.epochs=8", name="more", seeds=(0,))
    assert merge(tmp_path / "both", ann, eve) == 1
    err = capsys.readouterr().err
    for told in (str(first), str(second), "study 'more'", "student_pruning tiny 0.85 seed 0"):
        assert told in err
    assert err.startswith("4 problems; nothing was written:")


# -- doing it


def test_a_dry_run_writes_nothing(tmp_path: Path, ann: Path, bob: Path, capsys: Capture) -> None:
    assert merge(tmp_path / "both", ann, bob, words=("--dry-run",)) == 0
    assert "would be merged" in capsys.readouterr().out
    assert not (tmp_path / "both").exists()


class Stop(Exception):
    pass


def test_cut_short_at_any_moment_the_target_is_sound_and_the_same_command_finishes_it(
    tmp_path: Path, ann: Path, bob: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tmp_path / "whole"
    assert merge(whole, ann, bob) == 0
    durable, count, limit = harness_files._durable, 0, 0

    def counting(path: Path, content: Any) -> Any:
        nonlocal count
        count += 1
        if count == limit:
            raise Stop
        return durable(path, content)

    monkeypatch.setattr(harness_files, "_durable", counting)
    options = MergeOptions(sources=(ann, bob), into=tmp_path / "count")
    carry_out(plan_merge(options))
    writes = count
    assert writes > 50
    for stop in range(1, writes + 1, 7):
        into, count, limit = tmp_path / f"cut {stop}", 0, stop
        options = MergeOptions(sources=(ann, bob), into=into)
        with pytest.raises(Stop):
            carry_out(plan_merge(options))
        assert not read_contents(Store(into), "cut").problems
        limit = 0
        carry_out(plan_merge(options))
        assert bytes_of(into) == bytes_of(whole)


def test_a_folder_whose_copying_was_cut_short_is_not_there(
    tmp_path: Path, ann: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:1])
        raise Stop

    options = MergeOptions(sources=(ann,), into=tmp_path / "both", artifacts=True)
    with monkeypatch.context() as patched:
        patched.setattr(merge_module.shutil, "copy2", half)
        with pytest.raises(Stop):
            carry_out(plan_merge(options))
    assert [path.name for path in (tmp_path / "both" / "artifacts").iterdir()] == []
    carry_out(plan_merge(options))
    assert bytes_of(tmp_path / "both" / "artifacts") == bytes_of(ann / "artifacts")


def test_a_stage_that_runs_in_the_target_is_left_alone(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    into = tmp_path / "both"
    study = make_study(into, seeds=(0, 1))
    stage_id = study.plan.endpoint(next(iter(study.plan.paths)))
    lease = Store(into).stage(stage_id).acquire_lease()
    assert lease is not None
    assert merge(into, ann) == 1
    assert f"({stage_id}) is running in {into}" in capsys.readouterr().err
    assert not Store(into).recorded()
    lease.release()
    assert merge(into, ann) == 0


def test_a_stage_that_begins_to_run_meanwhile_ends_the_merge_with_a_sound_target(tmp_path: Path, ann: Path) -> None:
    into = tmp_path / "both"
    planned = plan_merge(MergeOptions(sources=(ann,), into=into))
    last = planned.new_records[-1]
    assert Store(into).stage(last).acquire_lease() is not None
    with pytest.raises(Exception, match=f"stage {last} began to run in .* meanwhile; give the same command again"):
        carry_out(planned)
    assert not read_contents(Store(into), "both").problems


def test_a_study_that_grew_meanwhile_keeps_its_cells(tmp_path: Path, ann: Path) -> None:
    into = tmp_path / "both"
    planned = plan_merge(MergeOptions(sources=(ann,), into=into))
    make_study(into, seeds=(9,))
    with pytest.raises(Exception, match="'mine' of .* was changed meanwhile"):
        carry_out(planned)
    assert merge(into, ann) == 0
    assert {seed for _, seed in values(into)} == {0, 1, 9}


def test_predictions_come_and_models_only_when_asked_for(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    plan = read_study(Store(ann), "mine").plan
    evaluations = {i for i, s in plan.stages.items() if s.kind == "evaluation"}
    into = tmp_path / "both"
    assert merge(into, ann) == 0
    assert {path.name for path in (into / "artifacts").iterdir()} == evaluations
    assert merge(into, ann, words=("--artifacts",)) == 0
    assert {path.name for path in (into / "artifacts").iterdir()} == set(plan.stages)
    assert bytes_of(into / "artifacts") == bytes_of(ann / "artifacts")


def test_of_a_repository_records_and_studies_come_alone(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    into = tmp_path / "results"
    assert merge(into, ann, words=("--records-only",)) == 0
    assert {path.name for path in into.iterdir()} == {"records", "studies", "leases"}
    assert bytes_of(into / "records") == bytes_of(ann / "records")
    assert values(into) == values(ann)
    assert capsys.readouterr().err == ""
    assert merge(into, ann) == 0
    assert "artifacts" in {path.name for path in into.iterdir()}


def test_of_a_repository_and_with_models_exclude_each_other(tmp_path: Path, ann: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        merge(tmp_path / "results", ann, words=("--records-only", "--artifacts"))
    assert ended.value.code == 2
    assert not (tmp_path / "results").exists()


def test_an_artifact_that_is_not_its_records_is_named_and_one_that_is_gone_told(
    tmp_path: Path, ann: Path, capsys: Capture
) -> None:
    plan = read_study(Store(ann), "mine").plan
    changed, gone = (Store(ann).stage(plan.endpoint(cell)).artifact_path for cell in list(plan.paths)[:2])
    (changed / "predictions" / "sst2.csv").write_text("example,label,prediction\n")
    shutil.rmtree(gone)
    assert merge(tmp_path / "both", ann) == 1
    err = capsys.readouterr().err
    assert f"artifact {changed} is not the one that its record describes" in err
    assert "1 artifact that records describe are in no store" in err
    shutil.rmtree(changed)
    assert merge(tmp_path / "both", ann) == 0
    assert "2 artifacts that records describe" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), ("--artifacts",)], ids=["records", "artifacts"])
def test_what_an_attempt_left_without_a_record_is_never_taken_for_the_artifact(
    tmp_path: Path, ann: Path, words: tuple[str, ...]
) -> None:
    """A worker of the target was killed between artifact and record, on a machine with other bits."""
    study = make_study(tmp_path / "both", seeds=(0, 1))
    target = Store(tmp_path / "both")
    for stage_id in study.plan.stages:
        target.stage(stage_id).artifact_path.mkdir(parents=True)
        (target.stage(stage_id).artifact_path / "weights").write_text("of another machine")
    assert merge(target.root, ann, words=words) == 0
    for stage_id, spec in study.plan.stages.items():
        stage = target.stage(stage_id)
        assert stage.has_artifact() == (bool(words) or spec.kind == "evaluation")
        if stage.has_artifact():
            assert harness_files.folder_digest(stage.artifact_path) == stage.read_record()["artifact"]["digest"]


def test_an_artifact_without_a_record_that_is_the_right_one_stays(tmp_path: Path, ann: Path) -> None:
    """As a merge leaves it that is cut short between the two; the source may have lost its own meanwhile."""
    into = tmp_path / "both"
    shutil.copytree(ann / "artifacts", into / "artifacts")
    before = bytes_of(into / "artifacts")
    assert merge(into, ann) == 0
    assert bytes_of(into / "artifacts") == before


def test_a_twin_of_a_record_that_is_no_more_lets_nothing_in(
    tmp_path: Path, ann: Path, bob: Path, capsys: Capture
) -> None:
    """Zoe's store had ann's pruned model and bob's, which are alike; then she did that stage again, with other bits."""
    both, zoe = tmp_path / "both", tmp_path / "zoe"
    assert merge(both, ann, bob) == 0
    other = {"metrics": {"mlm_accuracy": 0.5, "mlm_correct": 2, "mlm_positions": 4}, "training": {"tokens_seen": 1000}}
    study = make_study(zoe, seeds=(3,))
    finish(zoe, study, who="zoe", result=lambda spec: other if spec.kind == "student_pruning" else {})
    (pruned,) = [i for i, s in study.plan.stages.items() if s.kind == "student_pruning"]
    shutil.copytree(both / "twins" / pruned, zoe / "twins" / pruned)
    assert Store(zoe).stage(pruned).twin_digests() == [Store(bob).stage(pruned).read_record()["digest"]]
    Store(bob).stage(pruned).record_path.unlink()
    assert merge(tmp_path / "all", zoe, bob) == 1
    assert "it was made from another record than there is" in capsys.readouterr().err


def test_attempts_come_with_their_records_and_never_beside_others(tmp_path: Path, ann: Path, bob: Path) -> None:
    study = make_study(ann, seeds=(5,))
    failed = study.plan.endpoint(next(cell for cell in study.plan.paths if cell.seed == 5))
    stage = Store(ann).stage(failed)
    stage.end_attempt(stage.begin_attempt({"host": "ann"}), {"outcome": "code", "message": "it broke"})
    into = tmp_path / "both"
    merge(into, ann, bob)
    target = Store(into)
    (attempt,) = target.stage(failed).attempts()
    assert (attempt.outcome, attempt.message) == ("code", "it broke")
    for stage_id in read_study(target, "mine").plan.stages:
        if target.stage(stage_id).has_record():
            (attempt,) = target.stage(stage_id).attempts()
            assert attempt.host == target.stage(stage_id).read_record()["times"]["of"]


def test_what_stays_behind_of_a_stage_that_both_ran_is_told(
    tmp_path: Path, ann: Path, bob: Path, capsys: Capture
) -> None:
    """Hours of work done twice are hours that no page counts; the command says so, and whose."""
    shared = set(read_study(Store(ann), "mine").plan.stages) & set(read_study(Store(bob), "mine").plan.stages)
    assert merge(tmp_path / "both", ann, bob) == 0
    told = f"the attempts of {len(shared)} stages of {bob} stay behind, and with them their hours"
    assert told in capsys.readouterr().err
    assert merge(tmp_path / "alone", ann) == 0
    assert "attempts" not in capsys.readouterr().err


def test_predictions_that_an_older_record_has_none_of_are_told(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    """The store was filled before predictions were kept; ann scored the same models again."""
    old = tmp_path / "old"
    plan = make_study(old, seeds=(0, 1)).plan
    for stage_id, spec in plan.stages.items():
        record = Store(ann).stage(stage_id).read_record()
        if spec.kind == "evaluation":
            del record["digest"]
            Store(old).stage(stage_id).publish_record({**record, "artifact": {"digest": "d", "bytes": 0, "files": []}})
        else:
            Store(old).stage(stage_id).adopt(Store(old).stage(stage_id).record_path, record)
    assert merge(old, ann) == 0
    assert "the predictions of 4 evaluations stay behind" in capsys.readouterr().err
    assert merge(tmp_path / "new", ann, old) == 0
    assert "predictions" not in capsys.readouterr().err


def test_a_target_within_a_source_is_refused_for_sources_are_only_read(
    tmp_path: Path, ann: Path, bob: Path, capsys: Capture
) -> None:
    (tmp_path / "link").symlink_to(ann)
    before = bytes_of(ann)
    for into in (ann / "inner", ann / "records", ann / "studies" / "deep", tmp_path / "link" / "inner"):
        assert merge(into, bob, ann) == 2
        assert f"--into {into} lies in store {ann}, which is only read" in capsys.readouterr().err
    assert bytes_of(ann) == before
    assert merge(tmp_path / "ann-and-bob", ann, bob) == 0  # whose name begins alike


def test_a_source_within_the_target_is_only_read_as_any_other(tmp_path: Path, ann: Path, bob: Path) -> None:
    inner = ann / "from-bob"
    shutil.copytree(bob, inner)
    assert merge(ann, inner) == 0
    assert bytes_of(inner) == bytes_of(bob)
    assert {seed for _, seed in values(ann)} == {0, 1, 2}


def test_links_that_lead_nowhere_are_named(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("gone")
    assert merge(tmp_path / "loop", ann, tmp_path / "loop", words=("--prefer", str(tmp_path / "loop"))) == 2
    told = capsys.readouterr().err
    assert f"store {tmp_path / 'loop'} is not there" in told or f"store {tmp_path / 'loop'} is the one" in told
    assert f"--into {tmp_path / 'loop'} is a link to nothing" in told
    assert merge(tmp_path / "dangling", ann) == 2
    assert f"--into {tmp_path / 'dangling'} is a link to nothing" in capsys.readouterr().err
    assert merge(ann / "studies" / "mine.json" / "x", ann) == 2
    assert "mine.json is a file. Name a folder." in capsys.readouterr().err


def test_a_name_that_is_empty_is_not_this_folder(
    tmp_path: Path, ann: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a variable of the shell that is not set."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["merge", str(ann), "", "--into", "", "--prefer", "", "--study", ""]) == 2
    told = capsys.readouterr().err
    assert all(f"{name} is empty" in told for name in ("STORE", "--into", "--prefer", "--study"))
    assert list((tmp_path / "here").iterdir()) == []


def test_what_a_link_among_attempts_leads_to_is_not_copied(tmp_path: Path, ann: Path) -> None:
    """A store from somebody else may name any file of the machine on which it is merged."""
    (tmp_path / "secret").write_text("mine alone")
    (folder,) = (path.parent for path in list((ann / "attempts").glob("*/1.jsonl"))[:1])
    (folder / "2.log").symlink_to(tmp_path / "secret")
    into = tmp_path / "both"
    assert merge(into, ann) == 0
    assert (into / "attempts" / folder.name / "1.jsonl").is_file()
    assert not (into / "attempts" / folder.name / "2.log").exists()


@pytest.mark.parametrize("leads_to", ["outside", "itself", "nothing"])
def test_a_link_in_an_artifact_is_left_where_it_is(tmp_path: Path, ann: Path, leads_to: str) -> None:
    """The digest of an artifact knows nothing of it, so the copy needs it not."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("mine alone")
    for folder in (ann / "artifacts").iterdir():
        (folder / "itself").symlink_to({"outside": tmp_path / "outside", "itself": "itself"}.get(leads_to, "gone"))
    into = tmp_path / "both"
    assert merge(into, ann, words=("--artifacts",)) == 0
    for folder in (ann / "artifacts").iterdir():
        copy = into / "artifacts" / folder.name
        assert not (copy / "itself").is_symlink()
        assert not (copy / "itself").exists()
        assert folder_digest(copy) == folder_digest(folder)


def test_a_study_whose_file_names_another_place_is_not_written_there(
    tmp_path: Path, ann: Path, capsys: Capture
) -> None:
    path = ann / "studies" / "mine.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "study": "../../elsewhere"}))
    assert merge(tmp_path / "deep" / "both", ann) == 1
    assert "it says that it is study '../../elsewhere'" in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()


def test_what_is_no_store_is_named_all_at_once(tmp_path: Path, ann: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    words = ("--prefer", str(tmp_path / "other"))
    assert (
        merge(ann, tmp_path / "gone", tmp_path / "file", ann, tmp_path / "empty", tmp_path / "empty", words=words) == 2
    )
    err = capsys.readouterr().err
    told = ("gone is not there", "file is a file", "is the one to merge into", "is given twice", "--prefer")
    for each in told:
        assert each in err
    assert merge(tmp_path / "both", tmp_path / "empty") == 2
    assert "is empty: it has no study and no record" in capsys.readouterr().err
    assert merge(tmp_path / "file", ann) == 2
    assert merge(tmp_path / "both", ann, words=("--study", "nobody")) == 2
    assert "no store has a study 'nobody'" in capsys.readouterr().err


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("nothing"), lambda path: path.symlink_to(path.name)])
def test_a_source_that_cannot_be_read_is_named(
    tmp_path: Path, ann: Path, capsys: Capture, make: Callable[[Path], None]
) -> None:
    for name in ("studies", "records"):
        shutil.move(ann / name, tmp_path / name)
        make(ann / name)
        assert merge(tmp_path / "both", ann) in (1, 2)
        assert str(ann) in capsys.readouterr().err
        (ann / name).unlink()
        shutil.move(tmp_path / name, ann / name)


def test_the_numbers_are_those_of_the_records(ann: Path) -> None:
    """So that the comparisons above are of something."""
    plan = read_study(Store(ann), "mine").plan
    assert values(ann) == {(c.method, c.seed): pytest.approx(100 * share(plan.endpoint(c))) for c in plan.paths}
    with pytest.raises(UsageError):
        plan_merge(MergeOptions(sources=(), into=ann))
