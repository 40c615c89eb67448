"""What all tables of a large study cost: 4,960 cells with 9,947 sound records, every shipped table in every format."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from yardstick import slowness

from harness.identity import canonical_json, sha256_of
from harness.inputs.data_sources import HubData
from harness.inputs.models import MODELS
from harness.planning.graph import Inputs, ModelIdentity, Plan
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells, without_garbage_collection
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import merged, write_study
from harness.tasks import TASKS, get_task
from paper_tables.numbers.study_numbers import StudyNumbers, read_numbers
from paper_tables.tables.build import build
from paper_tables.tables.study_page import SUFFIXES, page, study_table
from paper_tables.tables.table_file import load_table_files

QUICK = Path(__file__).parents[2] / "results" / "quick" / "records"
ALIASES = ("bert-base", "bert-large", "distilbert")
NUM_SEEDS = 62  # 80 cells and some 160 stages each
# The target is 1.0 s of processor time. Measured on two cores 0.90 to 0.97 s where little else runs, up to 1.15 s
# beside other work on both. 0.37 s are reading and digesting records, 0.26 s the study, 0.15 s tables and their notes.
# A slower machine may take longer, in proportion.
MOST_SECONDS = 1.25


def planned() -> Plan:
    preset = load_preset("paper")
    cells = expand(Axes(models=list(ALIASES), seeds=list(range(NUM_SEEDS))), preset).cells
    models = {
        name: ModelIdentity(weights=MODELS[name].content_id("weights"), tokenizer=MODELS[name].content_id("tokenizer"))
        for name in ALIASES
    }
    return plan_cells(
        cells, preset.recipe, Inputs(models=models, data=HubData().content_ids(TASKS.values(), corpus=True))
    )


def examples() -> Mapping[str, dict[str, Any]]:
    """A committed record of each kind, for what records hold beside their stage."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(QUICK.glob("*/*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found.setdefault(record["kind"], record)
    # The preset quick stores no logits. Tables read none of that stage's result either.
    return {"teacher_logits": found["corpus"], **found}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store, plan, kinds = Store(tmp_path_factory.mktemp("large") / "runs"), planned(), examples()
    write_study(store, merged(store, "paper", load_preset("paper"), plan))
    cells = {path[-1]: cell for cell, path in plan.paths.items()}
    digests: dict[str, str] = {}
    for number, (stage_id, spec) in enumerate(plan.stages.items()):
        result = kinds[spec.kind]["result"]
        if (cell := cells.get(stage_id)) is not None:
            task, share = get_task(cell.task), 0.7 + 0.001 * (number % 97)
            scores = dict.fromkeys(task.metrics, 100 * share if task.head.metrics_in_percent else share)
            metrics = {reported_as: scores for _, reported_as in task.evaluation_splits}
            result = {**result, "metrics": metrics, "cell_sparsity": cell.sparsity}
        parents = {role: digests[parent] for role, parent in spec.parents.items()}
        fields = {**kinds[spec.kind], **spec.fingerprint_fields(), "result": result, "parent_digests": parents}
        record = json.loads(canonical_json({**fields, "stage_id": stage_id}))
        del record["digest"]
        digests[stage_id] = record["digest"] = sha256_of(record)
        path = store.stage(stage_id).record_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return store


def all_tables(numbers: StudyNumbers) -> list[str]:
    tables = [study_table(numbers), *(build(file, numbers) for file in load_table_files(["all"]))]
    return [page(tables, form, title=numbers.study.name) for form in SUFFIXES]


def seconds_of_all(store: Store) -> float:
    """Processor time from the records to the text of every table."""
    began = time.process_time()
    with without_garbage_collection():
        numbers = read_numbers(store, "paper")
        texts = all_tables(numbers)
        seconds = time.process_time() - began
    assert len(numbers.records) == 9947
    assert numbers.is_complete
    assert all("81.10" in text for text in texts)  # they are the paper's own cells, and its numbers stand beside them
    return seconds


@pytest.mark.slow
def test_all_tables_of_ten_thousand_records(large: Store) -> None:
    taken = [seconds_of_all(large) / slowness() for _ in range(5)]
    print(f"{min(taken):.2f} s")
    assert min(taken) <= MOST_SECONDS, taken
