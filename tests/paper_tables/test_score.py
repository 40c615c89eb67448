import math
from typing import Any

import pytest

from paper_tables.numbers.score import Score


def score(**changes: Any) -> Score:
    fields: dict[str, Any] = {
        "study": "demo",
        "model": "bert-base",
        "method": "prune-ofa",
        "sparsity": 0.85,
        "transfer_kd": "yes",
        "bits": 32,
        "task": "sst2",
        "metric": "accuracy",
        "seed": 0,
        "value": 91.0,
    }
    return Score(**(fields | changes))


@pytest.mark.parametrize("value", [0, 100, None])
def test_the_ends_of_the_percent_scale_and_a_missing_value_are_accepted(value: float | None) -> None:
    assert score(value=value).value == value


@pytest.mark.parametrize("value", [-0.1, 100.5, math.nan, math.inf])
def test_a_value_outside_percent_is_refused_and_its_stage_named(value: float) -> None:
    with pytest.raises(ValueError, match=r"percent in \[0, 100\]") as error:
        score(value=value, stage_id="ab12")
    assert "stage ab12" in str(error.value)


def test_a_sparsity_in_percent_is_refused_with_the_fraction_to_write() -> None:
    with pytest.raises(ValueError, match=r"For 85 percent write 0\.85"):
        score(sparsity=85)


@pytest.mark.parametrize(
    ("field", "value"), [("measured_sparsity", 85.0), ("transfer_kd", "maybe"), ("bits", 4), ("sparsity", 1.0)]
)
def test_any_other_field_out_of_range_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}="):
        score(**{field: value})
