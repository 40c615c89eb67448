"""`harness merge`: several stores' studies and records into one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from harness.cli.streams import print_notes, tell
from harness.errors import Problem, UsageError, system_problem
from harness.studies.merging.merge import Merge, MergeOptions, carry_out, plan_merge
from harness.wording import counted

REFUSED = 1
MOST_CONFLICTS = 20


def run(options: argparse.Namespace) -> int:
    """Exit code: 0 merged, or would be; 1 conflicts or what cannot be trusted, and nothing was written.

    Raises UsageError for stores that are none.
    """
    _check_words(options)
    chosen = MergeOptions(
        sources=tuple(map(Path, options.sources)),
        into=Path(options.into),
        study=options.study,
        prefer=None if options.prefer is None else Path(options.prefer),
        artifacts=options.artifacts,
        records_only=options.records_only,
    )
    merge = plan_merge(chosen)
    acts = not (merge.is_refused or options.dry_run)
    if acts:
        try:
            carry_out(merge)
        except OSError as error:
            raise UsageError(f"--into {chosen.into}: {system_problem(error)} The same command goes on.") from None
    if options.json:
        print(json.dumps(_as_json(merge, acts), indent=1))
    elif not merge.is_refused:
        print("\n".join(_lines(merge, acts)))
    if merge.is_refused:
        tell("\n".join(_refusal(merge)))
    print_notes(merge.notes)
    return REFUSED if merge.is_refused else 0


def _check_words(options: argparse.Namespace) -> None:
    """Raises UsageError for empty names, as of variables of a shell that are not set: they would mean this folder."""
    given = [("STORE", each) for each in options.sources]
    given += [(f"--{name}", getattr(options, name)) for name in ("into", "prefer", "study")]
    if empty := [name for name, word in given if word == ""]:
        raise UsageError([Problem(f"{name} is empty", expected="a name") for name in empty])


def _lines(merge: Merge, acted: bool) -> list[str]:
    taken, new = merge.choice.taken, set(merge.new_records)
    lines = [f"{merge.target.name}: {'merged' if acted else 'would be merged; without --dry-run it is done'}"]
    for study in merge.studies:
        older = merge.target.studies.get(study.name)
        more = len(study.plan.paths) - (len(older.plan.paths) if older else 0)
        lines.append(f"  study {study.name}: {counted(len(study.plan.paths), 'cell')}, {more} new")
    lines += [f"  study {name}: nothing new" for name in merge.unchanged]
    for contents in dict.fromkeys(contents.name for contents in taken.values()):
        brought = [i for i, each in taken.items() if each.name == contents and i in new]
        if brought:
            lines.append(f"  {counted(len(brought), 'record')} from {contents}")
    lines.append(f"  {counted(len(taken) - len(new), 'record')} there already")
    if merge.choice.twins:
        lines.append(f"  {counted(len(merge.choice.twins), 'twin')}: records with the same outcome, made elsewhere")
    lines.append(f"  {counted(len(merge.artifacts), 'artifact')}, attempts of {counted(len(merge.attempts), 'stage')}")
    return lines


def _refusal(merge: Merge) -> list[str]:
    conflicts = merge.choice.conflicts
    roots = [each for each in conflicts if not each.follows]
    count = len(merge.problems) + len(conflicts)
    lines = [f"{counted(count, 'problem')}; nothing was written:"]
    lines += [f"  - {problem}" for problem in merge.problems]
    for conflict in roots[:MOST_CONFLICTS]:
        first, *others = conflict.lines()
        lines += [f"  - {first}", *(f"  {line}" for line in others)]
    if len(roots) > MOST_CONFLICTS:
        lines.append(f"  - and {len(roots) - MOST_CONFLICTS} more conflicts (--json has all)")
    if following := [each for each in conflicts if each.follows]:
        shown = following[:MOST_CONFLICTS]
        lines.append(f"  - stages that depend on these, and differ as well ({len(following)}):")
        for conflict in shown:
            first, *others = conflict.lines()
            lines += [f"      {first}", *(f"      {line}" for line in others)]
        if len(following) > len(shown):
            lines.append(f"      and {len(following) - len(shown)} more (--json has all)")
    if more := len(merge.choice.undecided) - len(conflicts):
        lines.append(f"  Stages that were made from these, and are in one store alone: {more}.")
    if conflicts:
        lines.append(
            "Stages ran in several stores with other results. --prefer STORE takes that store's; what others made from "
            "theirs then stays behind."
        )
    return lines


def _as_json(merge: Merge, acted: bool) -> dict[str, Any]:
    new = set(merge.new_records)
    return {
        "into": merge.target.name,
        "acted": acted,
        "problems": merge.problems,
        "conflicts": [conflict.as_json() for conflict in merge.choice.conflicts],
        "notes": merge.notes,
        "studies": {study.name: len(study.plan.paths) for study in merge.studies},
        "unchanged": merge.unchanged,
        "records": {i: contents.name for i, contents in merge.choice.taken.items() if i in new},
        "there": [i for i in merge.choice.taken if i not in new],
        "left_out": merge.choice.left_out,
        "twins": [{"id": i, "digest": digest, "store": c.name} for (i, digest), c in merge.choice.twins.items()],
        "artifacts": {i: str(folder) for i, folder in merge.artifacts.items()},
        "attempts": {i: str(folder) for i, folder in merge.attempts.items()},
    }
