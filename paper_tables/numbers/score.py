"""Score: one evaluated number of one seed, the only input of the tables.

Where scores come from (records, a CSV file, a test) is the caller's business.
"""

from dataclasses import dataclass

from harness.planning.method_summary import EXACT, TRANSFER_KD
from harness.tasks import SIGNED_METRICS


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one task for one cell and seed.

    sparsity: target fraction of encoder weights removed, in [0, 1). measured_sparsity: counted share of zeros in the
    prunable encoder matrices, in [0, 1], None when not counted.
    transfer_kd: "yes", "no", or "na" where the question does not arise (dense).
    bits: of weights and activations, 32 or 8. seed: of the transfer (or dense, or task-pruning) run.
    pruning_seed: of the sparse model it started from, None where there is none.
    value: in percent for every metric, in [0, 100], of a correlation in [-100, 100]; None while the cell has no result.
    stage_id: the evaluation it was read from.
    sparsity_is: "exact", or "outcome" where `sparsity` is what was aimed at and `measured_sparsity` what was reached.
    comparable: whether the cell is the paper's own (`numbers.comparable`), so that its number may stand beside.
    Raises ValueError when a field is outside its range.
    """

    study: str
    model: str
    method: str
    sparsity: float
    transfer_kd: str
    bits: int
    task: str
    metric: str
    seed: int
    pruning_seed: int | None = None
    value: float | None
    measured_sparsity: float | None = None
    stage_id: str | None = None
    comparable: bool = False
    sparsity_is: str = EXACT

    def __post_init__(self) -> None:
        # `not (a <= x <= b)` also catches NaN.
        least = -100 if self.metric in SIGNED_METRICS else 0
        if self.value is not None and not least <= self.value <= 100:
            raise ValueError(
                f"value={self.value} ({self._where}): expected percent in [{least}, 100], or None for a missing result."
            )
        if not 0 <= self.sparsity < 1:
            raise ValueError(
                f"sparsity={self.sparsity} ({self._where}): expected a fraction in [0, 1). "
                f"For {self.sparsity} percent write {self.sparsity / 100:g}."
            )
        if self.measured_sparsity is not None and not 0 <= self.measured_sparsity <= 1:
            raise ValueError(f"measured_sparsity={self.measured_sparsity} ({self._where}): expected a share in [0, 1].")
        if self.transfer_kd not in TRANSFER_KD:
            raise ValueError(
                f"transfer_kd={self.transfer_kd!r} ({self._where}): expected one of {', '.join(TRANSFER_KD)}."
            )
        if self.bits not in (8, 32):
            raise ValueError(f"bits={self.bits} ({self._where}): expected 32 (fp32) or 8 (int8).")

    @property
    def _where(self) -> str:
        """For an error alone: a study has thousands of scores."""
        return f"{self.model} / {self.method} / {self.task} {self.metric}, seed {self.seed}, stage {self.stage_id}"
