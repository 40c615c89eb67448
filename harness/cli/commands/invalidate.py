"""`harness invalidate`: finished stages, with all that depends on them in every study of the store."""

from __future__ import annotations

import argparse
import json
import sys

from harness.cli.commands.chosen import number_of, read_chosen, stages_as_json
from harness.errors import UsageError
from harness.specs import stage_label
from harness.studies.invalidation import invalidate
from harness.studies.lineage import Lineage, read_lineage
from harness.wording import counted


def run(options: argparse.Namespace) -> int:
    """Exit code 0; without --yes nothing is changed.

    Raises UsageError when none of the stages named is finished, or when one that depends on them is running or queued.
    """
    chosen = read_chosen(options)
    store, roots = chosen.store, chosen.in_state("done")
    if not roots:
        raise UsageError(f"nothing to invalidate: of the stages named none is finished ({chosen.counted()}).")
    lineage = read_lineage(store)
    downstream = [stage_id for stage_id in lineage.with_descendants(roots) if stage_id not in set(roots)]
    finished = store.finished(downstream)
    if not options.json:  # before the rest, which may take long
        print(f"{number_of(len(roots))} to invalidate:")
        print("\n".join(_lines(lineage, roots)), flush=True)
        if downstream:
            print(f"and the stages that depend on them ({number_of(len(downstream))}, {len(finished)} finished):")
            print("\n".join(_lines(lineage, downstream)), flush=True)
    if chosen.activity.problem and len(finished) < len(downstream):
        text = "a stage that is queued and starts from one of these will not run, and is queued again by the next grid."
        print(f"warning: {chosen.activity.problem}, so what is queued is not known; {text}", file=sys.stderr)
    archived = invalidate(store, roots, chosen.activity.queue) if options.yes else {}
    if options.json:
        fields = {
            "study": chosen.study.name,
            "matched": stages_as_json(lineage.specs, chosen.stage_ids),
            "invalidated": stages_as_json(lineage.specs, roots),
            "downstream": [
                {**stage, "studies": list(lineage.studies.get(stage["id"], ())), "finished": stage["id"] in finished}
                for stage in stages_as_json(lineage.specs, downstream)
            ],
            "acted": options.yes,
            "archived": {stage_id: str(path) for stage_id, path in archived.items()},
        }
        print(json.dumps(fields, indent=1))
    elif options.yes:
        print(
            f"{counted(len(archived), 'record')} moved to {store.root / 'invalidated'}. The next harness grid runs the "
            "stages again; one that is running now does so itself, as far as its cells need them."
        )
    else:
        print("nothing was changed; add --yes to do it.")
    return 0


def _lines(lineage: Lineage, stage_ids: list[str]) -> list[str]:
    """Every stage with the studies that have it; a long list is not cut, since all of these results go."""
    return [
        f"    {stage_label(lineage.specs[stage_id], lineage.specs)} ({stage_id}) in "
        + (", ".join(lineage.studies.get(stage_id, ())) or "no study")
        for stage_id in stage_ids
    ]
