"""What the store answers for many stages at once, against one stage at a time."""

import pytest

from harness.errors import UsageError
from harness.store.store import Store

# Two folders of records, aa and ab; the last two stages share theirs.
A, B, C = "aa" * 16, "ab" * 16, "ab" + "cc" * 15


def test_creating_a_store_touches_no_disk(store: Store) -> None:
    assert store.finished([A, B]) == store.attempted() == store.leased() == store.with_checkpoints() == set()
    assert store.recorded() == []
    assert not store.root.exists()


def test_the_finished_stages_are_those_with_a_record_among_the_ones_named(store: Store) -> None:
    for stage_id in (C, A):
        store.stage(stage_id).publish_record({})
    store.stage(B).record_path.with_name(f".{B}.json.half").write_text("{")  # a writer was killed
    assert store.finished([A, B]) == {A}
    assert store.finished([B, C]) == {C}
    assert store.finished([A, B, C]) == {i for i in (A, B, C) if store.stage(i).has_record()}
    assert store.recorded() == [A, C]


def test_attempts_leases_and_checkpoints_are_listed_by_stage(store: Store) -> None:
    store.stage(A).begin_attempt({})
    store.stage(B).acquire_lease()
    store.stage(C).checkpoints_path.mkdir(parents=True)
    assert (store.attempted(), store.leased(), store.with_checkpoints()) == ({A}, {B}, {C})


def test_a_store_cannot_be_below_a_file(store: Store) -> None:
    store.root.parent.joinpath("file").write_text("x")
    store.check_is_folder()
    with pytest.raises(UsageError, match="file is a file. Name a folder with store"):
        Store(store.root.parent / "file" / "runs").check_is_folder()
