"""Lineage: which stages of a store depend on which, over all studies and the records that no study names any more."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from harness.identity import parse_json
from harness.specs import StageSpec
from harness.store.store import Store
from harness.studies.study import Study, parents_first, read_study, study_names


@dataclass(frozen=True)
class Lineage:
    """specs: every known stage, parents first. studies: stage id -> names of the studies that have it."""

    specs: Mapping[str, StageSpec]
    studies: Mapping[str, tuple[str, ...]]

    def with_descendants(self, roots: Collection[str]) -> list[str]:
        """The stages and all that depend on them, parents first."""
        reached = set(roots)
        for stage_id, spec in self.specs.items():
            if reached & set(spec.parents.values()):
                reached.add(stage_id)
        return [stage_id for stage_id in self.specs if stage_id in reached]


def read_studies(store: Store) -> list[Study]:
    """All studies of a store. Raises StoreError when one cannot be read."""
    return [read_study(store, name) for name in study_names(store)]


def read_lineage(store: Store) -> Lineage:
    """Raises StoreError when a study cannot be read: its dependencies would be unknown."""
    specs: dict[str, StageSpec] = {}
    studies: dict[str, list[str]] = {}
    for study in read_studies(store):
        specs.update(study.plan.stages)
        for stage_id in study.plan.stages:
            studies.setdefault(stage_id, []).append(study.name)
    specs.update(_orphans(store, specs))
    ordered = {stage_id: specs[stage_id] for stage_id in parents_first(specs)}
    return Lineage(ordered, {stage_id: tuple(names) for stage_id, names in studies.items()})


def _orphans(store: Store, named: Collection[str]) -> dict[str, StageSpec]:
    """Stages of records that no study names, without damaged ones: their parents are unknown."""
    found: dict[str, StageSpec] = {}
    for stage_id in store.recorded():
        if stage_id not in named:
            with suppress(OSError, ValueError, KeyError, TypeError):
                found[stage_id] = StageSpec.from_json(parse_json(store.stage(stage_id).record_path.read_bytes()))
    return found
