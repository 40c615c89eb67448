import torch
from random_pruning import METHOD
from random_pruning.stage import zero_at_random

from harness.testing import check_code_versions, planned


def test_exactly_the_share_is_zero_and_the_rest_is_as_it_was() -> None:
    weight = torch.ones(4, 5)
    zero_at_random(weight, 0.85, torch.Generator().manual_seed(0))
    assert weight.sum() == 3  # 0.85 of 20 is 17


def test_the_mask_seed_reaches_the_stage() -> None:
    seed, epochs = (f"random-pruning:pruning.{name}" for name in ("mask_seed", "epochs"))
    one, other = (planned("random_pruning:METHOD", settings={epochs: 3.0, seed: value}) for value in (0, 1))
    assert len(one.stages.keys() - other.stages.keys()) == 4  # two sparsities: pruning and evaluation


def test_the_source_is_the_one_recorded() -> None:
    check_code_versions(METHOD)
