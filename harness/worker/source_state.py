"""Whether the source on disk is still the source this process runs.

A driver lives for days and imports a stage's modules when it first needs them. If the checkout changes meanwhile, the
code in memory is no longer that of the commit which its records would name: such a stage must not publish.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.identity import file_sha256, sha256_of
from harness.worker.code_closure import COMPUTES, SourceTree, package_folder, project_tree

WATCHED = (*COMPUTES, "harness.worker")


class SourceChanged(HarnessError):
    """The source of what this process runs was changed since it started."""


@dataclass
class SourceState:
    """Size and time of change of every watched module's file at one moment.

    Contents are hashed at the first check that finds nothing changed: from then on a file that was only touched, or
    changed and restored, does not count as changed.
    """

    files: Mapping[str, Path]
    at_start: dict[str, tuple[int, int] | None] = field(init=False)
    digests: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.at_start = {module: _stamp(path) for module, path in self.files.items()}

    def changed(self) -> list[str]:
        """Modules whose file has changed, or is gone."""
        touched = [module for module, path in self.files.items() if _stamp(path) != self.at_start[module]]
        if not touched and not self.digests:
            self.digests = {module: file_sha256(path) for module, path in self.files.items()}
        return [module for module in touched if not self._is_as_it_was(module)]

    def _is_as_it_was(self, module: str) -> bool:
        path = self.files[module]
        return module in self.digests and path.is_file() and file_sha256(path) == self.digests[module]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def watched_files() -> dict[str, Path]:
    """The files of all modules that compute, and of the worker, by module name."""
    tree = project_tree()
    return {module: path for name in WATCHED for module, path in tree.files(name).items()}


def source_digest() -> str:
    """One digest over the watched files as they are on disk now; a driver and its workers must agree on it."""
    return sha256_of({module: file_sha256(path) for module, path in watched_files().items()})


_AT_IMPORT = SourceState(watched_files())
_OWNED: dict[str, SourceState] = {}  # by top package of a kind that a method brings, since a stage first ran it


def watch(run: str) -> None:
    """Watch the package of a kind's `run` from here on, where it is none of ours."""
    package = run.partition(":")[0].partition(".")[0]
    if package != "harness" and package not in _OWNED:
        with suppress(ValueError):  # no package: that its function is not found ends the stage
            _OWNED[package] = SourceState(SourceTree({package: package_folder(package)}).files(package))


def check_source(*, imported_after: Collection[str] | None = None) -> None:
    """Raises SourceChanged when the source is not the one this process started with.

    imported_after: names of the modules that were in memory at an earlier check; only a change in one imported since
    counts then, because the others have run as they were.
    """
    changed = [module for state in (_AT_IMPORT, *_OWNED.values()) for module in state.changed()]
    if imported_after is not None:
        changed = [module for module in changed if module in sys.modules and module not in imported_after]
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise SourceChanged(
            f"the source of {', '.join(changed[:3])}{more} changed since this worker started; start it again."
        )
