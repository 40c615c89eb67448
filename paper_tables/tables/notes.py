"""Notes under a table: what a reader must know before using a number. Computed from the study's own records."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from harness.planning.recipe import SEARCHED, split_key
from harness.studies.row_check import mixed_rows
from harness.studies.study import Study
from harness.studies.verification import Records
from harness.wording import counted
from paper_tables.numbers.comparable import Differing, note_on_comparison
from paper_tables.numbers.scale import PAPER_TOKENS_PER_STAGE


def notes(study: Study, records: Records, differing: Differing | None = None) -> list[str]:
    """What a reader must know, in sentences.

    Rows of unlike seeds and sources, why numbers of the paper are left out, the preset's own notes, the pre-training
    budget, and the assumed and the searched settings.

    differing: what sets cells apart from the paper's.
    """
    found = [*mixed_rows(study.plan), *_sources(study, records), *note_on_comparison(differing or {})]
    found += study.recipe["notes"]
    found += _budget(study, records)
    found += _external_checkpoints(study, records)
    found += _machines(study, records)
    settings: dict[str, list[Any]] = study.recipe["settings"]
    assumed = [key for key, (_, evidence, _) in settings.items() if evidence == "assumed"]
    changed = [f"{key}={value}" for key, (value, evidence, _) in settings.items() if evidence == "set"]
    if assumed:
        found.append(
            f"{len(assumed)} of {len(settings)} settings are assumed, not published (study file, recipe.settings)."
        )
    found += _searched(settings, {spec.kind for spec in study.plan.stages.values()})
    if changed:
        found.append(f"Changed by --set: {', '.join(sorted(changed))}.")
    return found


def _searched(settings: Mapping[str, list[Any]], kinds: Collection[str]) -> list[str]:
    """What was searched, and how; settings that were searched alike in one sentence.

    kinds: of the study's stages. A preset has settings for other kinds too, and these say nothing of this table.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for key, (value, evidence, source) in sorted(settings.items()):
        if evidence == SEARCHED and split_key(key)[0] in {*kinds, "common", "task"}:
            alike[source].append(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}")
    return [f"Searched, alike for each: {', '.join(keys)}: {source}." for source, keys in alike.items()]


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
        metrics = result.get("metrics") or {}
        if "tokens_seen" not in result.get("training", {}) or "mlm_positions" not in metrics:
            continue  # of an author's kind, which says what it likes
        tokens = result["training"]["tokens_seen"]
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
