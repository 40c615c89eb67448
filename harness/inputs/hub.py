"""The hub's cache on this machine: what of a pinned repository is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.identity import require_commit, sha256_of


@dataclass(frozen=True, kw_only=True)
class HubSource:
    """A repository of the hub at a pinned commit. Raises ValueError for any other revision."""

    repository: str
    revision: str

    def __post_init__(self) -> None:
        require_commit(f"model {self.repository}", self.revision)

    def content_id(self, what: str) -> str:
        """Of one part of it, such as its weights: a commit fixes its files, so none of them need be here."""
        return sha256_of([self.repository, self.revision, what])

    def __str__(self) -> str:
        return f"{self.repository} at {self.revision[:12]}"


def cached_snapshot(source: HubSource, weight_files: Sequence[str]) -> Path | None:
    """The snapshot's folder in the hub's cache, if it is there with its configuration and one of the weight files."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source.repository, revision=source.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    whole = (folder / "config.json").is_file() and any((folder / name).is_file() for name in weight_files)
    return folder if whole else None


@cache
def cached_files(repository: str, configuration: str, revision: str) -> tuple[Path, ...]:
    """The parquet files of a data set's configuration in the hub's cache, in name order; empty when there are none."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = snapshot_download(repository, repo_type="dataset", revision=revision, local_files_only=True)
    except LocalEntryNotFoundError:
        return ()
    return tuple(sorted((Path(folder) / configuration).glob("*.parquet")))
