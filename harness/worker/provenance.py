"""With which code a record was made; on what machine is `machine_facts`."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import __version__
from harness.identity import sha256_of

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "evaluate", "tokenizers", "numpy", "scikit-learn")


@cache
def provenance() -> dict[str, Any]:
    """Commit and package versions; no part of a stage's identity."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "absent"
    return {
        "harness": __version__,
        **_commit(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _commit() -> dict[str, Any]:
    """The source's commit and a digest of uncommitted changes, when the package runs from a checkout."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *words], capture_output=True, text=True, check=True, timeout=20
        ).stdout

    try:
        if not git("ls-files", "--", __file__).strip():
            return {"commit": None}
        changes = git("status", "--porcelain") + git("diff", "HEAD")
        return {"commit": git("rev-parse", "HEAD").strip(), "uncommitted": sha256_of(changes) if changes else None}
    except (OSError, subprocess.SubprocessError):
        return {"commit": None}
