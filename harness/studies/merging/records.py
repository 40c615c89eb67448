"""Which record of each stage is taken, where several stores have one. Pure.

Records of one stage with one outcome (`studies.twins`) go together: the first is taken, and the others stay as its
twins where something was made from them. Two outcomes are a conflict, which only a preferred store settles: then its
records are taken, and what others made from a record that is not taken is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.identity import flatten
from harness.specs import StageSpec, stage_label
from harness.studies.merging.contents import Contents, Record
from harness.studies.twins import outcome


@dataclass(frozen=True)
class Holder:
    """Who has a record of a stage: the store, the record's digest, its metrics, and where it was made."""

    store: str
    digest: str
    metrics: Mapping[str, Any]
    commit: str | None
    machine: str | None

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {_written(value)}" for name, value in self.metrics.items()) or "no metric"
        made = f"commit {(self.commit or 'unknown')[:12]} on {self.machine or 'a machine that it does not name'}"
        return f"{self.store}: record {self.digest[:12]}, {numbers} ({made})"


@dataclass(frozen=True)
class Conflict:
    """Records of one stage with different outcomes; or a record of a stage, and what another store's was made from.

    made_from: "" or what a record of another stage says that it was made from. follows: whether a stage that it
    depends on is in conflict too, which explains it.
    """

    stage_id: str
    label: str
    holders: tuple[Holder, ...]
    made_from: str = ""
    follows: bool = False

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.stage_id,
            "label": self.label,
            "follows": self.follows,
            "made_from": self.made_from,
            "records": [vars(holder) for holder in self.holders],
        }

    def lines(self) -> list[str]:
        what = self.made_from or f"{len(self.holders)} results"
        return [f"{self.label} ({self.stage_id}): {what}", *(f"    {holder}" for holder in self.holders)]


@dataclass
class Choice:
    """taken: stage -> the store whose record is taken, parents first. twins: (stage, digest) -> the store that has it.

    left_out: stage -> names of the stores whose records are not taken. undecided: stages that are in conflict, or were
    made from such. specs: of all stages.
    """

    specs: Mapping[str, StageSpec]
    taken: dict[str, Contents] = field(default_factory=dict)
    twins: dict[tuple[str, str], Contents] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    undecided: set[str] = field(default_factory=set)


def choose(every: Sequence[Contents], specs: Mapping[str, StageSpec], preferred: Contents | None = None) -> Choice:
    """every: the stores, the first of equals first. specs: all their stages, parents first."""
    found = Choice(specs)
    accepted: dict[str, set[str]] = {}  # stage -> digests that a record may have been made from
    pinned = _pinned(preferred)
    for stage_id in specs:
        holders = [contents for contents in every if stage_id in contents.records]
        groups = _by_outcome(holders, stage_id)
        group = _accepted_group(groups, stage_id, preferred, pinned)
        if group is None and len(groups) > 1:
            found.conflicts.append(_conflict(found, stage_id, [group[0] for group in groups]))
            found.undecided.add(stage_id)
            continue
        if found.undecided & set(specs[stage_id].parents.values()):
            found.undecided.add(stage_id)
            continue
        if group is None:
            if stage_id in pinned:
                accepted[stage_id] = {pinned[stage_id]}
                _leave_out(found, stage_id, holders)
            continue
        fitting = [each for each in group if _fits(found, each, stage_id, accepted)]
        if not fitting and preferred is None:
            found.conflicts.append(_made_from_another(found, stage_id, group[0], every, accepted))
            found.undecided.add(stage_id)
            continue
        _leave_out(found, stage_id, [each for each in holders if each not in fitting])
        accepted[stage_id] = {digest for each in fitting for digest in each.digests(stage_id)}
        if fitting:
            found.taken[stage_id] = fitting[0]
    if not found.conflicts:
        found.twins = dict(_needed_twins(found, every))
    return found


def _pinned(preferred: Contents | None) -> dict[str, str]:
    """Of stages that the preferred store has no record of: the digest that its records were made from."""
    if preferred is None:
        return {}
    return {
        parent: record.get("parent_digests", {}).get(role)
        for stage_id, record in preferred.records.items()
        for role, parent in preferred.specs[stage_id].parents.items()
        if parent not in preferred.records and record.get("parent_digests", {}).get(role)
    }


def _by_outcome(holders: Sequence[Contents], stage_id: str) -> list[list[Contents]]:
    groups: list[tuple[Any, list[Contents]]] = []
    for contents in holders:
        own = outcome(contents.records[stage_id])
        group = next((group for known, group in groups if known == own), None)
        if group is None:
            groups.append((own, [contents]))
        else:
            group.append(contents)
    return [group for _, group in groups]


def _accepted_group(
    groups: Sequence[list[Contents]], stage_id: str, preferred: Contents | None, pinned: Mapping[str, str]
) -> list[Contents] | None:
    """The stores whose outcome counts; None where that is open, or no store has what the preferred one built on."""
    if preferred is not None and stage_id in preferred.records:
        return next(group for group in groups if preferred in group)
    if stage_id in pinned:
        has_it = [group for group in groups if any(pinned[stage_id] in each.digests(stage_id) for each in group)]
        return has_it[0] if has_it else None
    return groups[0] if len(groups) == 1 else None


def _fits(found: Choice, contents: Contents, stage_id: str, accepted: Mapping[str, set[str]]) -> bool:
    """Whether a record was made from what is taken, or from stages that no store has a record of."""
    made_from = contents.records[stage_id].get("parent_digests", {})
    return all(
        parent not in accepted or made_from.get(role) in accepted[parent]
        for role, parent in found.specs[stage_id].parents.items()
    )


def _leave_out(found: Choice, stage_id: str, contents: Sequence[Contents]) -> None:
    if contents:
        found.left_out.setdefault(stage_id, []).extend(each.name for each in contents)


def _needed_twins(found: Choice, every: Sequence[Contents]) -> Iterator[tuple[tuple[str, str], Contents]]:
    """What taken records were made from, where that is not the record that is taken, and the first store has it not."""
    for stage_id, contents in found.taken.items():
        for role, parent in found.specs[stage_id].parents.items():
            digest = contents.records[stage_id].get("parent_digests", {}).get(role)
            if parent not in found.taken or digest == found.taken[parent].records[parent]["digest"]:
                continue
            if digest not in every[0].twins.get(parent, {}):
                holder = next(each for each in every if digest in each.digests(parent))
                yield (parent, digest), holder


def _conflict(found: Choice, stage_id: str, holders: Sequence[Contents]) -> Conflict:
    return Conflict(
        stage_id,
        stage_label(found.specs[stage_id], found.specs),
        tuple(_holder(each, each.records[stage_id]) for each in holders),
        follows=bool(found.undecided & set(found.specs[stage_id].parents.values())),
    )


def _made_from_another(
    found: Choice, stage_id: str, contents: Contents, every: Sequence[Contents], accepted: Mapping[str, set[str]]
) -> Conflict:
    """A record whose parent's record is in another store, and is not the one that it was made from."""
    spec, record = found.specs[stage_id], contents.records[stage_id]
    made_from = record.get("parent_digests", {})
    apart = [
        (role, parent)
        for role, parent in spec.parents.items()
        if parent in accepted and made_from.get(role) not in accepted[parent]
    ]
    others = [_holder(each, each.records[parent]) for _, parent in apart for each in every if parent in each.records]
    roles = ", ".join(f"{role} {str(made_from.get(role))[:12]}" for role, _ in apart)
    return Conflict(
        stage_id,
        stage_label(spec, found.specs),
        (_holder(contents, record), *others),
        made_from=f"it was made from another record than there is ({roles})",
    )


def _holder(contents: Contents, record: Record) -> Holder:
    made, result = record.get("provenance") or {}, record.get("result")
    metrics = result.get("metrics") if isinstance(result, Mapping) else None
    numbers = {
        name: value
        for name, value in flatten(metrics if isinstance(metrics, Mapping) else {}).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Holder(contents.name, record["digest"], numbers, made.get("commit"), made.get("processor"))


def _written(value: float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
