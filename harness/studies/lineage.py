"""Lineage: what rests on what in a whole store, over all its studies and the records that no study names any more."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from harness.specs import StageSpec
from harness.store.store import Store
from harness.studies.study import Study, read_study, study_names


@dataclass(frozen=True)
class Lineage:
    """specs: every stage that is known, parents first. studies: stage id -> names of the studies that have it."""

    specs: Mapping[str, StageSpec]
    studies: Mapping[str, tuple[str, ...]]

    def with_descendants(self, roots: Collection[str]) -> list[str]:
        """The stages and all that rests on them, parents first."""
        reached = set(roots)
        for stage_id, spec in self.specs.items():
            if reached & set(spec.parents.values()):
                reached.add(stage_id)
        return [stage_id for stage_id in self.specs if stage_id in reached]


def read_studies(store: Store) -> list[Study]:
    """All studies of a store. Raises StoreError when one cannot be read."""
    return [read_study(store, name) for name in study_names(store)]


def read_lineage(store: Store) -> Lineage:
    """Raises StoreError when a study cannot be read: nobody could say then what rests on what."""
    specs: dict[str, StageSpec] = {}
    studies: dict[str, list[str]] = {}
    for study in read_studies(store):
        specs.update(study.plan.stages)
        for stage_id in study.plan.stages:
            studies.setdefault(stage_id, []).append(study.name)
    specs.update(_forgotten(store, specs))
    return Lineage(_parents_first(specs), {stage_id: tuple(names) for stage_id, names in studies.items()})


def _forgotten(store: Store, named: Collection[str]) -> dict[str, StageSpec]:
    """Stages of records that no study names; damaged ones say nothing of parents and are passed over."""
    found: dict[str, StageSpec] = {}
    for path in (store.root / "records").glob("*/*.json"):
        if path.stem not in named:
            with suppress(ValueError, KeyError, TypeError):
                found[path.stem] = StageSpec.from_json(json.loads(path.read_bytes()))
    return found


def _parents_first(specs: Mapping[str, StageSpec]) -> dict[str, StageSpec]:
    ordered: dict[str, StageSpec] = {}

    def visit(stage_id: str) -> None:
        if stage_id in specs and stage_id not in ordered:
            for parent in specs[stage_id].parents.values():
                visit(parent)
            ordered[stage_id] = specs[stage_id]

    for stage_id in specs:
        visit(stage_id)
    return ordered
