"""Where data come from: a folder in the hub's schema, the hub itself at pinned revisions, or the synthetic world.

A data source gives every split a content id (which enters stage ids), reports what is wrong or missing before anything
runs, and reads rows. Planning needs only the first two; they import nothing heavy.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.errors import UsageError
from harness.identity import require_commit, sha256_of
from harness.inputs.content_hashes import ContentHashes
from harness.inputs.hub import cached_files
from harness.progress import NEVER, StopFlag
from harness.tasks import CORPUS_SPLITS, TASKS, Task
from harness.wording import option

if TYPE_CHECKING:
    import datasets

WIKIPEDIA = ("wikimedia/wikipedia", "20231101.en", "b04c8d1ceb2f5cd4588862100d08de323dccfbaa")
require_commit(f"the corpus ({WIKIPEDIA[0]})", WIKIPEDIA[2])
HELD_OUT_SHARE = 0.05  # the first 5 % of the articles, as in the authors' release
# Rows of the hub's splits at the pinned commits, and bytes of text in its Wikipedia (its data set card).
HUB_ROWS = {
    "sst2/train": 67_349,
    "sst2/validation": 872,
    "qnli/train": 104_743,
    "qnli/validation": 5_463,
    "qqp/train": 363_846,
    "qqp/validation": 40_430,
    "mnli/train": 392_702,
    "mnli/validation_matched": 9_815,
    "mnli/validation_mismatched": 9_832,
    "squad/train": 87_599,
    "squad/validation": 10_570,
    "cola/train": 8_551,
    "cola/validation": 1_043,
    "mrpc/train": 3_668,
    "mrpc/validation": 408,
    "rte/train": 2_490,
    "rte/validation": 277,
    "stsb/train": 5_749,
    "stsb/validation": 1_500,
}
WIKIPEDIA_TEXT_BYTES = 20_200_062_385


ROW_CHECKS = 2  # raised when the checks of rows change, so that none of the old ones is remembered


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much data there is: number of rows by "TASK/SPLIT", bytes of text by "corpus/SPLIT"."""

    rows: Mapping[str, int]
    text_bytes: Mapping[str, int]


class DataSource(Protocol):
    """The splits of tasks and corpus, from one source."""

    def problems(self, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
        """What is wrong with it: a folder that does not exist, files of another schema."""

    def missing(self, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
        """What exists but is not on this machine: a warning in a plan, an error in a run."""

    def content_ids(self, tasks: Iterable[Task], *, corpus: bool) -> dict[str, str]:
        """Content id of every split there is, by "TASK/SPLIT" and "corpus/SPLIT"."""

    def sizes(self, tasks: Iterable[Task], *, corpus: bool) -> Sizes:
        """The size of every split, for an estimate; reads no rows."""

    def rows(self, task: Task, split: str, content_id: str) -> datasets.Dataset:
        """A split's rows. Raises ValueError when its content id is not `content_id`."""

    def articles(self, split: str, content_id: str, cache: Path, stops: StopFlag = NEVER) -> datasets.Dataset:
        """The corpus's articles (title, text), mapped from `cache`. Raises ValueError as `rows`, and as `stops`."""

    def as_json(self) -> dict[str, Any]:
        """What another process needs to open the same source: `data_source_from_json`."""


@dataclass(frozen=True)
class FolderData:
    """DIR/TASK/SPLIT.parquet and DIR/corpus/SPLIT.parquet. Content id: SHA-256 of the file."""

    folder: Path
    hashes: ContentHashes = field(default_factory=ContentHashes, compare=False)

    def problems(self, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
        from harness.inputs.parquet import check_folder

        return check_folder(self.folder, tasks, corpus=corpus, rows=self._row_problems)

    def missing(self, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
        return []

    def content_ids(self, tasks: Iterable[Task], *, corpus: bool) -> dict[str, str]:
        from harness.inputs.parquet import corpus_files, split_files

        files = {
            f"{task.name}/{split}": path for task in tasks for split, path in split_files(self.folder, task).items()
        }
        if corpus:
            files.update({f"corpus/{split}": path for split, path in corpus_files(self.folder).items()})
        return {name: self.hashes.file(path) for name, path in files.items()}

    def sizes(self, tasks: Iterable[Task], *, corpus: bool) -> Sizes:
        from harness.inputs.parquet import corpus_files, num_rows, split_files, text_bytes

        return Sizes(
            rows={
                f"{task.name}/{split}": num_rows(path)
                for task in tasks
                for split, path in split_files(self.folder, task).items()
            },
            text_bytes={f"corpus/{split}": text_bytes(path) for split, path in corpus_files(self.folder).items()}
            if corpus
            else {},
        )

    def rows(self, task: Task, split: str, content_id: str) -> datasets.Dataset:
        from harness.inputs.parquet import read_rows

        path = self.folder / task.name / f"{split}.parquet"
        self._check(path, content_id)
        return read_rows([path], task)

    def articles(self, split: str, content_id: str, cache: Path, stops: StopFlag = NEVER) -> datasets.Dataset:
        from harness.inputs.parquet import read_articles

        path = self.folder / "corpus" / f"{split}.parquet"
        self._check(path, content_id)
        return read_articles([path], cache_dir=cache, stops=stops)

    def as_json(self) -> dict[str, Any]:
        return {"source": "folder", "folder": str(self.folder.absolute())}

    def _row_problems(self, path: Path, task: Task | None) -> list[str]:
        """What is wrong with a file's rows, read once for each content."""
        from harness.inputs.parquet import article_problems, row_problems

        def find() -> list[str]:
            found = article_problems(path, thorough=False) if task is None else row_problems(path, task)
            return [problem.removeprefix(f"{path}: ") for problem in found]

        named = "the corpus" if task is None else " ".join(task.parameters.values())
        what = f"rows of {named}, {ROW_CHECKS}"
        return [f"{path}: {problem}" for problem in self.hashes.sentences(self.hashes.file(path), what, find)]

    def _check(self, path: Path, content_id: str) -> None:
        if not path.is_file() or self.hashes.file(path) != content_id:
            raise ValueError(f"{path} is not the file the plan was made with. Put it back, or plan again.")


@dataclass(frozen=True)
class HubData:
    """The hub's own data sets, each at a pinned commit. Content id: of data set, configuration, commit and split."""

    def problems(self, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
        """Tasks that are not there, footers that cannot be read or are of another schema; a commit fixes the rows."""
        from harness.inputs.parquet import CORPUS_FORMS, file_problems
        from harness.inputs.row_checks import forms_of

        tasks = list(tasks)
        wanted = [(path, forms_of(task)) for task in tasks for path in _cached(task) if _split_of(path) in task.splits]
        wanted += [(path, CORPUS_FORMS) for path in (cached_files(*WIKIPEDIA) if corpus else ())]
        again = "It is in the hub's cache: remove it there, and run harness fetch where there is internet."
        found = [_nowhere(task, "on the hub: its declaration has no [hub]") for task in tasks if not task.is_on_hub]
        return found + [f"{problem} {again}" for path, forms in wanted for problem in file_problems(path, forms)]

    def missing(self, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
        return [
            f"{what}: {repository} ({configuration}) at {revision[:12]} is not in the hub's cache on this machine. Run "
            f"harness fetch where there is internet, or use a folder: {option('data')} DIR."
            for (repository, configuration, revision), what in hub_sets(tasks, corpus=corpus).items()
            if not cached_files(repository, configuration, revision)
        ]

    def content_ids(self, tasks: Iterable[Task], *, corpus: bool) -> dict[str, str]:
        found = {
            f"{task.name}/{split}": _hub_content_id(task, split)
            for task in tasks
            if task.is_on_hub
            for split in task.splits
        }
        if corpus:
            found.update({f"corpus/{split}": _wikipedia_content_id(split) for split in CORPUS_SPLITS})
        return found

    def sizes(self, tasks: Iterable[Task], *, corpus: bool) -> Sizes:
        return Sizes(
            rows={f"{task.name}/{split}": _hub_rows(task, split) for task in tasks for split in task.splits},
            text_bytes={"corpus/train": WIKIPEDIA_TEXT_BYTES} if corpus else {},
        )

    def rows(self, task: Task, split: str, content_id: str) -> datasets.Dataset:
        if content_id != _hub_content_id(task, split):
            raise ValueError(f"the plan was made with another revision of {task.hub_path} than {task.hub_revision}.")
        from harness.inputs.parquet import read_rows

        return read_rows(_of_split(_cached(task), split, task.hub_path), task)

    def articles(self, split: str, content_id: str, cache: Path, stops: StopFlag = NEVER) -> datasets.Dataset:
        if content_id != _wikipedia_content_id(split):
            raise ValueError(f"the plan was made with another revision of {WIKIPEDIA[0]} than {WIKIPEDIA[2]}.")
        from harness.inputs.parquet import read_articles

        articles = read_articles(
            _of_split(cached_files(*WIKIPEDIA), "train", WIKIPEDIA[0]), cache_dir=cache, stops=stops
        )
        num_held_out = int(len(articles) * HELD_OUT_SHARE)
        return articles.select(range(num_held_out) if split == "validation" else range(num_held_out, len(articles)))

    def as_json(self) -> dict[str, Any]:
        return {"source": "hub"}


def _cached(task: Task) -> tuple[Path, ...]:
    """The task's files in the hub's cache."""
    return cached_files(task.hub_path, task.hub_name, task.hub_revision) if task.is_on_hub else ()


def _hub_rows(task: Task, split: str) -> int:
    """Of a split at the pinned commit; of a task that is not shipped those in the cache."""
    from harness.inputs.parquet import num_rows

    known = HUB_ROWS.get(f"{task.name}/{split}") if task.name in TASKS else None
    return sum(num_rows(path) for path in _cached(task) if _split_of(path) == split) if known is None else known


def _nowhere(task: Task, where: str) -> str:
    return f"task {task.name!r} is not {where}. Give a folder with {task.name}/SPLIT.parquet: {option('data')} DIR."


def _hub_content_id(task: Task, split: str) -> str:
    return sha256_of([task.hub_path, task.hub_name, task.hub_revision, split])


def _wikipedia_content_id(split: str) -> str:
    return sha256_of([*WIKIPEDIA, split, HELD_OUT_SHARE])


@functools.lru_cache(maxsize=16)
def _drawn(task: str, split: str, seed: int) -> datasets.Dataset:
    """A table of the synthetic world, kept because a worker trains many stages on it."""
    import datasets

    from harness.synthetic.source import rows

    return datasets.Dataset.from_dict(rows(task, split, seed))


@dataclass(frozen=True)
class SyntheticData:
    """The synthetic world, generated from a seed. Content id: of generator version, seed, task, split and size."""

    seed: int = 0

    def problems(self, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
        from harness.synthetic.source import SPLITS

        return [_nowhere(task, "of the synthetic world") for task in tasks if task.name not in SPLITS]

    def missing(self, tasks: Iterable[Task], *, corpus: bool) -> list[str]:
        return []

    def content_ids(self, tasks: Iterable[Task], *, corpus: bool) -> dict[str, str]:
        from harness.synthetic.source import SPLITS, content_id

        names = [f"{task.name}/{split}" for task in tasks for split in SPLITS[task.name]]
        names += [f"corpus/{split}" for split in CORPUS_SPLITS] if corpus else []
        return {name: content_id(name, self.seed) for name in names}

    def sizes(self, tasks: Iterable[Task], *, corpus: bool) -> Sizes:
        from harness.synthetic.source import ARTICLE_BYTES, ARTICLES, SPLITS, num_rows

        return Sizes(
            rows={f"{task.name}/{split}": num_rows(split) for task in tasks for split in SPLITS[task.name]},
            text_bytes={f"corpus/{split}": ARTICLES[split] * ARTICLE_BYTES for split in CORPUS_SPLITS}
            if corpus
            else {},
        )

    def rows(self, task: Task, split: str, content_id: str) -> datasets.Dataset:
        self._check(f"{task.name}/{split}", content_id)
        return _drawn(task.name, split, self.seed).select_columns(list(task.columns))

    def articles(self, split: str, content_id: str, cache: Path, stops: StopFlag = NEVER) -> datasets.Dataset:
        import datasets

        from harness.synthetic.source import corpus

        self._check(f"corpus/{split}", content_id)
        return datasets.Dataset.from_dict(corpus(split, self.seed))

    def as_json(self) -> dict[str, Any]:
        return {"source": "synthetic", "seed": self.seed}

    def _check(self, name: str, wanted: str) -> None:
        from harness.synthetic.source import GENERATOR_VERSION, content_id

        if content_id(name, self.seed) != wanted:
            raise ValueError(
                f"the plan was made with another {name} of the synthetic world than version {GENERATOR_VERSION} of its "
                f"generator makes from seed {self.seed}. Plan again."
            )


def named_source(words: str, hashes: ContentHashes, given_as: str = "data") -> DataSource:
    """The source that hub, a folder, synthetic or synthetic:SEED name. given_as: the argument that said so.

    Raises UsageError for a seed that is none; whether the folder is there, `problems` says.
    """
    world, colon, seed = words.partition(":")
    if world == "synthetic":
        if colon and not (seed.isascii() and seed.isdigit()):
            expected = "expected synthetic or synthetic:SEED, SEED a whole number, 0 or more"
            raise UsageError(f"{option(given_as)} {words}: {expected}.")
        return SyntheticData(int(seed or 0))
    return HubData() if words == "hub" else FolderData(Path(words), hashes)


def data_source_from_json(value: Mapping[str, Any], hashes: ContentHashes) -> DataSource:
    """The source that `DataSource.as_json` describes."""
    if value["source"] == "synthetic":
        return SyntheticData(value["seed"])
    return HubData() if value["source"] == "hub" else FolderData(Path(value["folder"]), hashes)


def hub_sets(tasks: Iterable[Task], *, corpus: bool) -> dict[tuple[str, str, str], str]:
    """(repository, configuration, revision) of every data set on the hub that is needed, and what it is needed for."""
    wanted = {
        (task.hub_path, task.hub_name, task.hub_revision): f"task {task.name!r}" for task in tasks if task.is_on_hub
    }
    if corpus:
        wanted[WIKIPEDIA] = "the corpus"
    return wanted


def _split_of(path: Path) -> str:
    """ "train" of train-00000-of-00002.parquet."""
    return path.name.rpartition("-of-")[0].rpartition("-")[0]


def _of_split(files: Sequence[Path], split: str, repository: str) -> list[Path]:
    found = [path for path in files if _split_of(path) == split]
    if not found:
        raise FileNotFoundError(f"{repository}: no files of the split {split!r} in the hub's cache. Run harness fetch.")
    return found
