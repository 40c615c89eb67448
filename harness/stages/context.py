"""StageContext in, StageResult out: the contract between a kind's function and whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.files import no_guard
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.models import BaseModel
from harness.inputs.sparse_checkpoints import SparseCheckpoint
from harness.progress import StageProgress, StopFlag
from harness.specs import StageSpec, Team

if TYPE_CHECKING:
    from harness.inputs.data_sources import DataSource

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where a plan's inputs are on this machine: base models by alias, the data, sparse checkpoints by content id.

    hashes: by which a stage finds that files changed since the plan was made.
    """

    models: Mapping[str, BaseModel]
    data: DataSource
    checkpoints: Mapping[str, SparseCheckpoint] = field(default_factory=dict)
    hashes: ContentHashes = field(default_factory=ContentHashes, compare=False)

    def as_json(self) -> dict[str, Any]:
        """For another process on this machine, or on one with the same file system."""
        return {
            "models": {alias: _with_path(model) for alias, model in self.models.items()},
            "data": self.data.as_json(),
            "checkpoints": {key: _with_path(checkpoint) for key, checkpoint in self.checkpoints.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], hashes: ContentHashes) -> Sources:
        from harness.inputs.data_sources import data_source_from_json

        def located(fields: Mapping[str, Any]) -> dict[str, Any]:
            return {**fields, "folder": None if fields["folder"] is None else Path(fields["folder"])}

        return cls(
            models={alias: BaseModel(**located(fields)) for alias, fields in value["models"].items()},
            data=data_source_from_json(value["data"], hashes),
            checkpoints={key: SparseCheckpoint(**located(fields)) for key, fields in value["checkpoints"].items()},
            hashes=hashes,
        )


def _with_path(found: BaseModel | SparseCheckpoint) -> dict[str, Any]:
    return {**asdict(found), "folder": None if found.folder is None else str(found.folder.absolute())}


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Choices that enter no stage id.

    checkpoint_minutes: time between two checkpoints of a training stage. Changes no number.
    micro_batch_size: most examples of a training batch on the device at a time; 0 means the whole batch. It is halved
        whenever the device runs out of memory. Loss, gradient and data order equal those of the whole batch up to
        rounding; dropout draws anew for every micro-batch, so the numbers are another sample of the same run, and the
        record says how the batch was cut.
    processes: that prepare data, the stages corpus and pairs; they change nothing of it.
    ranks: processes that train a stage together, each on its part of every batch (`harness.training.ranks`). As with
        the micro-batch size the numbers are another sample of the same run, which the record says.
    launcher: words before the command of the other ranks, which start all of them, as srun does; none: they are started
        one by one on this machine.
    """

    checkpoint_minutes: float = 3.0
    micro_batch_size: int = 0
    processes: int = 1
    ranks: int = 1
    launcher: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """All that a stage function may use.

    artifact: an empty folder; its content at the end becomes the stage's artifact.
    checkpoints: the stage's own folder, kept across attempts until the record exists.
    should_stop: polled between steps; once it is True, a stage saves a checkpoint and raises Interrupted. A loop that
        saves none takes `checked(rows, "rows")` for its rows, or `stops` along.
    report: called with the progress after every step.
    guard: called before a checkpoint appears or is removed; raises where another worker has the stage by now.
    team: the processes that train the stage; None: this one alone. Whoever runs the stage sets it.
    """

    spec: StageSpec
    parent_records: Mapping[str, Mapping[str, Any]]
    parent_artifacts: Mapping[str, Path]
    artifact: Path
    checkpoints: Path
    sources: Sources
    resources: Resources
    should_stop: Callable[[], bool]
    report: Callable[[StageProgress], None]
    guard: Callable[[], None] = no_guard
    team: Team | None = None

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.spec.parameters

    @property
    def stops(self) -> StopFlag:
        """What ends a loop between two items once a stop is requested."""
        return StopFlag(self.should_stop)

    def checked(self, items: Iterable[Item], what: str) -> Iterator[Item]:
        """The items one by one; raises Interrupted between two of them once a stop is requested.

        what: they are, for the sentence that says where it stopped: "rows", "matrices".
        """
        return self.stops.over(items, what)


@dataclass(kw_only=True)
class StageResult:
    """What a stage function returns; it becomes the record's `result`.

    metrics: named values with their raw counts. did: what was done, with counts, for people and for tests.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
