"""Notes under a table: what a reader must know before using a number. Computed from the study's own records."""

from collections.abc import Sequence
from typing import Any

from harness.study import Study
from harness.verification import Records
from paper_tables.rows import Row

PAPER_TOKENS_PER_STAGE = 100_000 * 256 * 512  # steps x batch x length: 13.1e9
PRETRAINING = ("teacher_preparation", "student_pruning")


def notes(study: Study, records: Records, rows: Sequence[Row]) -> list[str]:
    """The preset's own notes, the pre-training budget that was spent, who wins at it, and what was assumed."""
    found = list(study.recipe["notes"])
    found += _budget(study, records)
    found += _winners(rows)
    settings: dict[str, list[Any]] = study.recipe["settings"]
    assumed = [key for key, (_, evidence, _) in settings.items() if evidence == "assumed"]
    changed = [f"{key}={value}" for key, (value, evidence, _) in settings.items() if evidence == "set"]
    if assumed:
        found.append(
            f"{len(assumed)} of {len(settings)} settings are assumed, not published (study file, recipe.settings)."
        )
    if changed:
        found.append(f"Changed by --set: {', '.join(sorted(changed))}.")
    return found


def _budget(study: Study, records: Records) -> list[str]:
    found = []
    for stage_id, spec in study.plan.stages.items():
        if spec.kind not in PRETRAINING or stage_id not in records:
            continue
        result = records[stage_id]["result"]
        tokens = result["training"]["tokens_seen"]
        metrics = result["metrics"]
        share = tokens / PAPER_TOKENS_PER_STAGE
        found.append(
            f"{spec.label()}: {tokens:,} tokens, {share:.1e} of the paper's {PAPER_TOKENS_PER_STAGE:,}; held-out "
            f"masked-LM accuracy {100 * metrics['mlm_accuracy']:.1f} % "
            f"({metrics['mlm_correct']} of {metrics['mlm_positions']})."
        )
    return found


def _winners(rows: Sequence[Row]) -> list[str]:
    """The best sparse fp32 method of each model, task, metric and sparsity, where at least two have a number."""
    groups: dict[tuple[str, str, str, float], list[Row]] = {}
    for row in rows:
        if row.sparsity > 0 and row.bits == 32 and row.value is not None:
            groups.setdefault((row.model, row.task, row.metric, row.sparsity), []).append(row)
    found = []
    for (model, task, metric, sparsity), group in groups.items():
        if len(group) > 1:
            ranked = sorted(group, key=lambda row: (-(row.value or 0.0), row.method))
            order = ", ".join(f"{row.method} {row.value:.2f}" for row in ranked)
            found.append(f"Best at this budget, {model} at {sparsity:g}, {task} {metric}: {order}.")
    return found
