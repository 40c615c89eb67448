"""Studies planned under the tests' own preset, and records written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from grid_world import settings

from harness.planning.graph import Inputs, ModelIdentity
from harness.planning.grid import Axes, expand
from harness.planning.planner import plan_cells
from harness.planning.preset import load_preset
from harness.store.store import Store
from harness.studies.study import Study, merged, read_study, write_study

SLICE = Path(__file__).parents[1] / "support" / "presets" / "slice.toml"
SPLITS = ("corpus/train", "corpus/validation", "sst2/train", "sst2/validation", "squad/train", "squad/validation")
MNLI = ("mnli/train", "mnli/validation_matched", "mnli/validation_mismatched")


@pytest.fixture
def make_study(store: Store) -> Callable[..., Study]:
    """make_study(*assignments, splits=.., preset=.., name=.., **axes) -> a study in the store, none of it done."""

    def make(
        *assignments: str,
        splits: tuple[str, ...] = (*SPLITS, *MNLI),
        preset: str = str(SLICE),
        name: str = "mine",
        measures: Sequence[str] = (),
        **axes: Any,
    ) -> Study:
        chosen = load_preset(preset).changed(settings(*assignments))
        identities = {"tiny": ModelIdentity(weights="w", tokenizer="t")}
        found = Inputs(models=identities, data={split: split for split in splits})
        cells = expand(Axes(**{"models": ["tiny"], **axes}), chosen).cells
        plan = plan_cells(cells, chosen.recipe, found, measures=measures)
        write_study(store, merged(store, name, chosen, plan))
        return read_study(store, name)

    return make


@pytest.fixture
def publish(store: Store) -> Callable[..., None]:
    """publish(study, metrics, sparsity=.., **cell) writes the record of every cell with these values."""

    def write(study: Study, metrics: dict[str, dict[str, float]], *, zeros: float = 0.85, **cell: object) -> None:
        chosen = [c for c in study.plan.paths if all(getattr(c, name) == value for name, value in cell.items())]
        assert chosen, cell
        for found in chosen:
            result = {"metrics": metrics, "cell_sparsity": zeros}
            stage_id = study.plan.endpoint(found)
            store.stage(stage_id).publish_record({**study.plan.stages[stage_id].fingerprint_fields(), "result": result})

    return write
