"""What a run will cost: hours by stage kind, each with its basis, and bytes on disk.

Pure: a plan, the work of its stages and past timings in, an `Estimate` out. Hours come from finished records of the
same kind and model where there are any that speak for so much work, scaled by it; else from an assumed speed. They are
approximate.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from tabulate import tabulate

from harness.errors import Problem, UsageError
from harness.execution.hardware import Machine
from harness.grids.workload import (
    CORPUS_BYTES_PER_TEXT_BYTE,
    PAIRS_BYTES_PER_TOKEN,
    SCORES,
    Group,
    InputSizes,
    Timing,
    corpus_bytes,
    group_of,
    shape_for,
    stored_logits_bytes,
    work_of,
)
from harness.inputs.shapes import FP32_BYTES
from harness.planning.graph import Plan
from harness.specs import TEACHER_LOGITS, StageSpec
from harness.wording import counted, option

# An A100-class card, whose peaks are 19.5, 156 and 312 TFLOP/s: about 70 % of fp32's, and 40 % of the others', since
# what is no matrix product then takes its share of the time.
GPU_FLOPS = {"fp32": 14e12, "tf32": 62e12, "bf16": 125e12}
# A core of a server CPU in fp32: 15 to 28 GFLOP/s a thread were seen in results/reduced.
CPU_FLOPS_PER_THREAD = 20e9
# On one core, seen in results/reduced: splitting 10 MB into sentences took 2 s, making 2.8 million tokens of pairs 9 s.
CORPUS_TEXT_BYTES_PER_SECOND = 5e6
PAIR_TOKENS_PER_SECOND = 3e5
GPU_HOURS_LIMIT, CPU_HOURS_LIMIT = 24.0, 8.0
LEAST_TOLD = 1.1  # times as many hours, below which sharing is not spoken of
CHECKPOINTS_AT_ONCE = 3  # the last two, and the one being written
ADAM_COPIES = 3  # weights and two moments
ONE_EACH: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class KindEstimate:
    """All stages of one kind that are to run. hours None: their work is unknown. basis: of the hours, in words."""

    kind: str
    stages: int
    hours: float | None
    basis: str


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """on_gpu: whether hours are of one GPU (data stages: of the CPU beside it).

    checkpoint_bytes: the most that one running stage keeps at a time; the mapped copy of its data comes on top.
    seconds: of each stage whose work is known, by the clock: of all its ranks at once.
    unshared_hours: what they would take if every cell ran all of its stages for itself.
    """

    on_gpu: bool
    kinds: tuple[KindEstimate, ...]
    artifact_bytes: int
    checkpoint_bytes: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    unshared_hours: float = 0.0

    @property
    def hours(self) -> float:
        return sum(kind.hours or 0.0 for kind in self.kinds)

    @property
    def unit(self) -> str:
        return "GPU-hours" if self.on_gpu else "hours without a GPU"

    def as_json(self) -> dict[str, Any]:
        return {
            "approximate": True,
            "device": "gpu" if self.on_gpu else "cpu",
            "hours": self.hours,
            "unshared_hours": self.unshared_hours,
            "kinds": [asdict(kind) for kind in self.kinds],
            "artifact_bytes": self.artifact_bytes,
            "checkpoint_bytes": self.checkpoint_bytes,
        }

    def as_text(self) -> str:
        """A table of hours by kind, their sum, and the disk."""
        if not self.kinds:
            return "estimate: nothing to run."
        rows = [[kind.kind, kind.stages, _rounded(kind.hours), kind.basis] for kind in self.kinds]
        rows.append(["total", sum(kind.stages for kind in self.kinds), _rounded(self.hours), ""])
        headers = ["estimate", "to run", self.unit, "basis"]
        table = tabulate(rows, headers, colalign=("left", "right", "right", "left"), disable_numparse=True)
        artifacts, checkpoints = _gigabytes(self.artifact_bytes), _gigabytes(self.checkpoint_bytes)
        disk = f"disk: about {artifacts} of artifacts, and up to {checkpoints} of checkpoints while a stage runs"
        return "\n".join([table, *self._sharing(), f"{disk}; all approximate."])

    def _sharing(self) -> list[str]:
        """What cells save by the stages that they have in common; nothing where that is little."""
        if not self.hours or self.unshared_hours < LEAST_TOLD * self.hours:
            return []
        times = self.unshared_hours / self.hours
        return [
            f"shared stages: run for each cell by itself, the same stages would take about "
            f"{_rounded(self.unshared_hours)} {self.unit}, {_rounded(times)} times as many."
        ]


def estimate(
    plan: Plan,
    waiting: Sequence[str],
    sizes: InputSizes,
    timings: Iterable[Timing],
    machine: Machine,
    ranks: Mapping[str, int] = ONE_EACH,
) -> Estimate:
    """The cost of the stages that wait. ranks: by kind, how many train a stage together, where they are several."""
    speeds = _by_group(timing for timing in timings if timing.on_gpu in (None, bool(machine.gpus)))
    costs: dict[str, list[_Cost]] = {}
    seconds: dict[str, float] = {}
    num_cells = Counter(stage_id for cell in plan.paths for stage_id in plan.stages_of(cell))
    unshared = 0.0
    for stage_id in waiting:
        spec = plan.stages[stage_id]
        cost = _cost(spec, plan, sizes, speeds, machine)
        costs.setdefault(spec.kind, []).append(cost)
        if cost.hours is not None:
            seconds[stage_id] = 3600 * cost.hours / ranks.get(spec.kind, 1)
            unshared += cost.hours * num_cells[stage_id]
    return Estimate(
        on_gpu=bool(machine.gpus),
        kinds=tuple(_kind_estimate(kind, found) for kind, found in costs.items()),
        artifact_bytes=round(sum(_artifact_bytes(plan.stages[stage_id], plan, sizes) for stage_id in waiting)),
        checkpoint_bytes=max((_checkpoint_bytes(plan.stages[i], plan, sizes) for i in waiting), default=0),
        seconds=seconds,
        unshared_hours=unshared,
    )


class _Cost(NamedTuple):
    """The hours of one stage (None: its work is unknown), and their basis in words."""

    hours: float | None
    basis: str


def _cost(spec: StageSpec, plan: Plan, sizes: InputSizes, speeds: Mapping[Group, _Speeds], machine: Machine) -> _Cost:
    work = work_of(spec, plan, sizes)
    if work is None:
        return _Cost(None, "nothing known")
    rate, basis = _rate(spec, work, plan, speeds, machine)
    return _Cost(work / rate / 3600, basis)


def _kind_estimate(kind: str, costs: Sequence[_Cost]) -> KindEstimate:
    """The sum over the stages of a kind; those of unknown work count nothing where others are known."""
    known = [cost.hours for cost in costs if cost.hours is not None]
    bases = Counter(cost.basis for cost in costs)
    one_basis = len(bases) == 1
    return KindEstimate(
        kind=kind,
        stages=len(costs),
        hours=sum(known) if known else None,
        basis="; ".join(basis if one_basis else f"{basis} ({stages})" for basis, stages in bases.items()),
    )


def check_limit(found: Estimate, max_hours: float | None) -> None:
    """Raises UsageError for a run that is estimated above `max_hours` (None: 24 GPU-hours, or 8 without a GPU)."""
    limit = (GPU_HOURS_LIMIT if found.on_gpu else CPU_HOURS_LIMIT) if max_hours is None else max_hours
    if found.hours <= limit:
        return
    largest = max(found.kinds, key=lambda kind: kind.hours or 0.0)
    name = option("max-gpu-hours")
    allowed = f"{limit:g} {found.unit}, the limit" if max_hours is None else f"{name} {max_hours:g}"
    too_long = (
        f"this run is estimated at about {_rounded(found.hours)} {found.unit} (most of it {largest.kind}, "
        f"{_rounded(largest.hours)}, {largest.basis}), above {allowed}"
    )
    shown = "harness grid --dry-run shows the whole estimate"
    start = f"Start it with {name} {_above(found.hours)}, or name fewer cells; {shown}."
    raise UsageError(Problem(too_long, "max-gpu-hours", next_move=start))


@dataclass(frozen=True)
class _Speed:
    """Work a second over finished stages, and the number of their records."""

    rate: float
    records: int


class _Speeds:
    """The speeds of a group: of all its timings together that speak for so much work."""

    def __init__(self, timings: Iterable[Timing]) -> None:
        self._sums: list[tuple[float, float, float, int]] = []  # up to which work; sums of work and seconds; count
        work = seconds = 0.0
        for count, timing in enumerate(sorted(timings, key=lambda timing: -timing.up_to), start=1):
            work, seconds = work + timing.work, seconds + timing.seconds
            self._sums.append((timing.up_to, work, seconds, count))

    def for_work(self, work: float) -> _Speed | None:
        """None: none of them speaks for so much."""
        found = bisect_right(self._sums, -work, key=lambda sums: -sums[0])
        if not found:
            return None
        _, done, seconds, records = self._sums[found - 1]
        return _Speed(done / seconds, records)


def _by_group(timings: Iterable[Timing]) -> dict[Group, _Speeds]:
    """Speeds by group, and for all tasks of a kind and model together (task None)."""
    found: dict[Group, list[Timing]] = {}
    for timing in timings:
        exact = timing.group
        for group in {exact, replace(exact, task=None)}:
            found.setdefault(group, []).append(timing)
    return {group: _Speeds(each) for group, each in found.items()}


def _rate(
    spec: StageSpec, work: float, plan: Plan, speeds: Mapping[Group, _Speeds], machine: Machine
) -> tuple[float, str]:
    """Work a second, and its basis in words: records of the same task, else of the same model, else assumed."""
    group = group_of(spec, plan)
    for known in (group, replace(group, task=None)):
        found = speeds[known].for_work(work) if known in speeds else None
        if found:
            return found.rate, f"from {counted(found.records, 'record')}"
    if spec.kind == "corpus":
        return CORPUS_TEXT_BYTES_PER_SECOND, f"assumed {CORPUS_TEXT_BYTES_PER_SECOND / 1e6:g} MB/s"
    if spec.kind == "pairs":
        return PAIR_TOKENS_PER_SECOND, f"assumed {PAIR_TOKENS_PER_SECOND:,.0f} tokens/s"
    if machine.gpus:
        rate = GPU_FLOPS[group.precision]
        return rate, f"assumed {rate / 1e12:g} TFLOP/s per GPU ({group.precision})"
    threads = max(1, min(group.threads or 1, machine.cores))
    return (
        CPU_FLOPS_PER_THREAD * threads,
        f"assumed {CPU_FLOPS_PER_THREAD / 1e9:g} GFLOP/s per thread, {threads} of them",
    )


def _artifact_bytes(spec: StageSpec, plan: Plan, sizes: InputSizes) -> float:
    """fp32 weights; quantization writes the int8 encoder and pooler beside them. Of a teacher's logits: these."""
    if spec.kind == "corpus":
        return corpus_bytes(sizes) * CORPUS_BYTES_PER_TEXT_BYTE
    if spec.kind == "pairs":
        return (work_of(spec, plan, sizes) or 0.0) * PAIRS_BYTES_PER_TOKEN
    if spec.kind == TEACHER_LOGITS:
        return stored_logits_bytes(spec, sizes.data)
    shape = shape_for(spec, plan, sizes.shapes)
    work = plan.work_of_kind(spec.kind)
    if shape is None or work == "scoring":
        return 0.0
    if work == "measuring":  # what is left of a model that is packed: all but the encoder, and a byte for four
        rest = FP32_BYTES * (shape.parameters - shape.encoder_weights)
        return rest + shape.encoder_weights if spec.inputs else 0.0
    int8 = shape.encoder_weights + shape.width**2 if spec.kind == "quantization" else 0
    head = shape.width**2 if work == "pretraining" else 0  # the decoder is tied to the embeddings
    return FP32_BYTES * (shape.parameters + head) + int8


def _checkpoint_bytes(spec: StageSpec, plan: Plan, sizes: InputSizes) -> int:
    shape = shape_for(spec, plan, sizes.shapes)
    if shape is None or plan.work_of_kind(spec.kind) in SCORES:
        return 0
    return CHECKPOINTS_AT_ONCE * ADAM_COPIES * FP32_BYTES * shape.parameters


def _rounded(hours: float | None) -> str:
    """Two significant digits: an estimate has no more."""
    if hours is None:
        return "?"
    if hours >= 100:
        return f"{float(f'{hours:.2g}'):,.0f}"
    return f"{hours:.2g}" if hours >= 0.01 else "<0.01"


def _above(hours: float) -> str:
    """A round number of hours above the estimate."""
    step = 10.0 ** (len(str(int(hours))) - 2)
    return f"{(int(hours / step) + 1) * step:g}"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:,.0f} GB" if count >= 10e9 else f"{count / 1e9:.2g} GB"
