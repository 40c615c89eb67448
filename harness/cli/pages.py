"""Pages of a verb written to the folder that was named for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError, system_problem
from harness.files import replace_files


def write_pages(folder: Path, pages: Mapping[str, str]) -> None:
    """Write the pages by their file names, all or none of them, and print where they are.

    Raises UsageError where they cannot be written.
    """
    paths = {folder / name: text for name, text in pages.items()}
    try:
        replace_files(paths)
    except OSError as error:
        raise UsageError(f"--out {folder}: {system_problem(error)}") from None
    print(*paths, sep="\n")
