"""Notes under a table: what a reader must know before using a number. Computed from the study's own records."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from harness.studies.row_check import mixed_rows
from harness.studies.study import Study
from harness.studies.verification import Records
from harness.wording import counted
from paper_tables.numbers.comparable import Differing, note_on_comparison
from paper_tables.numbers.made_by import mixed_makers
from paper_tables.numbers.rows import Row, method_title
from paper_tables.numbers.terms import differing_terms, on_equal_terms

PAPER_TOKENS_PER_STAGE = 100_000 * 256 * 512  # steps x batch x length: 13.1e9


def notes(study: Study, records: Records, rows: Sequence[Row], differing: Differing | None = None) -> list[str]:
    """What a reader must know, in sentences.

    Rows of unlike seeds and sources, why numbers of the paper are left out, the preset's own notes, the pre-training
    budget, the order of the methods, and the assumed settings.

    differing: what sets cells apart from the paper's.
    """
    found = [*mixed_rows(study.plan), *_sources(study, records), *note_on_comparison(differing or {})]
    found += study.recipe["notes"]
    found += _budget(study, records)
    found += _external_checkpoints(study, records)
    found += mixed_makers(study.plan, records, rows)
    found += _machines(study, records)
    found += _winners(study, rows)
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


def _sources(study: Study, records: Records) -> list[str]:
    """Kinds of other packages whose stages were computed by several sources under one version."""
    sources: dict[tuple[str, int], set[str]] = defaultdict(set)
    for stage_id, record in records.items():
        made = record.get("provenance", {})
        if "kind_source" in made:
            sources[study.plan.stages[stage_id].kind, made["kind_version"]].add(made["kind_source"])
    return [
        f"{kind}: its stages were computed by {len(found)} different sources under version {version}, so rows of it "
        "may not compare (records, provenance.kind_source). Its package should raise the version of the kind."
        for (kind, version), found in sources.items()
        if len(found) > 1
    ]


def _budget(study: Study, records: Records) -> list[str]:
    found = []
    for stage_id in study.plan.stages:
        if study.plan.work(stage_id) != "pretraining" or stage_id not in records:
            continue
        result = records[stage_id]["result"]
        tokens = result["training"]["tokens_seen"]
        metrics = result["metrics"]
        share = tokens / PAPER_TOKENS_PER_STAGE
        found.append(
            f"{study.plan.label(stage_id)}: {tokens:,} tokens, {share:.1e} of the paper's {PAPER_TOKENS_PER_STAGE:,}; "
            f"held-out masked-LM accuracy {100 * metrics['mlm_accuracy']:.1f} % "
            f"({metrics['mlm_correct']} of {metrics['mlm_positions']})."
        )
    return found


def _external_checkpoints(study: Study, records: Records) -> list[str]:
    """Sparse models that were not pruned here: where each came from, and what was counted in it."""
    found = []
    for stage_id, spec in study.plan.stages.items():
        if spec.kind == "sparse_checkpoint" and stage_id in records:
            result = records[stage_id]["result"]
            source, counted = result["checkpoint"]["source"], result["sparsity"]
            found.append(
                f"{study.plan.label(stage_id)}: not pruned here but taken from {source}; "
                f"{counted['encoder_zeros']:,} of {counted['encoder_numel']:,} encoder weights are zero."
            )
    return found


def _machines(study: Study, records: Records) -> list[str]:
    """The kinds of machine that trained models of the study, where there are several: their last bits differ."""
    kinds: dict[str, int] = {}
    for stage_id in study.plan.stages:
        record = records.get(stage_id, {})
        if "training" in record.get("result", {}) and "provenance" in record:
            kind = _machine(record["provenance"])
            kinds[kind] = kinds.get(kind, 0) + 1
    if len(kinds) < 2:
        return []
    listed = "; ".join(f"{kind}: {counted(count, 'model')}" for kind, count in kinds.items())
    return [f"Trained on several kinds of machine, between which bits differ ({listed})."]


def _machine(made: Mapping[str, Any]) -> str:
    """What a record says of where it was made, as far as it can change bits; earlier versions say less."""
    computed = made.get("torch") or {}
    facts = [made.get("processor"), computed.get("cpu_capability"), *computed.get("gpus", ())]
    return ", ".join([*filter(None, facts), f"torch {(made.get('versions') or {}).get('torch', 'unknown')}"])


def _winners(study: Study, rows: Sequence[Row]) -> list[str]:
    """The order of the sparse fp32 methods of each model, task, metric and sparsity, where they are comparable.

    Methods are comparable that were fine-tuned on equal terms. Of those whose means are no further apart than their
    seeds spread, nothing is said. Between others no winner is named, and a sentence lists the settings in which they
    differ (one for all metrics of a task).
    """
    groups: dict[tuple[str, str, str, float], list[Row]] = {}
    for row in rows:
        if row.sparsity > 0 and row.bits == 32 and row.value is not None:
            groups.setdefault((row.model, row.task, row.metric, row.sparsity), []).append(row)
    ranked: list[str] = []
    unranked: dict[str, None] = {}
    for (model, task, metric, sparsity), group in groups.items():
        first, *others = on_equal_terms(study, group)
        ranked += [
            f"{order}, {model} at {sparsity}, {task} {metric}: {', '.join(map(_title_and_value, best))}{seeds}."
            for best in map(_best_first, (first, *others))
            for order, seeds in _order(best)
        ]
        for equals in others:
            differing = ", ".join(differing_terms(study, first[0], equals[0]))
            unranked[
                f"No winner is named between {_titles(equals)} and {_titles(first)}, {model} at {sparsity}, {task}: "
                f"they differ in {differing}."
            ] = None
    return [*ranked, *unranked]


def _best_first(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-(row.value or 0.0), row.method))


def _order(best: Sequence[Row]) -> list[tuple[str, str]]:
    """How the first stands to the second, and what is to be known of the seeds; nothing where the seeds do not tell."""
    if len(best) < 2:
        return []
    gap = (best[0].value or 0.0) - (best[1].value or 0.0)
    spreads = [row.spread for row in best[:2] if row.spread is not None]
    if spreads and gap <= max(spreads):
        return []
    alike = f"{best[0].value:.2f}" == f"{best[1].value:.2f}"
    return [(f"{'No single best' if alike else 'Best'} at this budget", "" if spreads else " (one seed each)")]


def _title_and_value(row: Row) -> str:
    return f"{method_title(row.method)} {row.value:.2f}"


def _titles(rows: Sequence[Row]) -> str:
    return " or ".join(method_title(row.method) for row in rows)
