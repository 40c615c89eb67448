"""Environment: on what, and with which code, the records of a study were made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.studies.verification import Records

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Fact:
    """One property of the machines or versions. counts: records by its value, the most frequent first."""

    name: str
    counts: tuple[tuple[str, int], ...]


def facts_of(made: Mapping[str, Any]) -> dict[str, str]:
    """What a record's provenance says, by name and in words; what it does not say is left out."""
    torch = made.get("torch") or {}
    kernels = made.get("kernel_variables") or {}
    found = {
        "commit": _commit(made),
        "harness": made.get("harness"),
        "Python": made.get("python"),
        **(made.get("versions") or {}),
        "processor": made.get("processor"),
        "processor version": made.get("processor_version"),
        "architecture": made.get("machine"),
        "cores": made.get("cores"),
        "torch's vectors": torch.get("cpu_capability"),
        "BLAS": torch.get("blas"),
        "GPUs": (", ".join(torch.get("gpus") or ()) or "none") if torch else None,
        "kernel variables": ", ".join(f"{name}={value}" for name, value in sorted(kernels.items())),
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _commit(made: Mapping[str, Any]) -> str | None:
    commit = made.get("commit")
    return f"{commit}, with uncommitted changes" if commit and made.get("uncommitted") else commit


def environment(records: Records) -> list[Fact]:
    """Every fact of the records, each with how many of them say so."""
    told = [facts_of(record.get("provenance") or {}) for record in records.values()]
    names = dict.fromkeys(name for found in told for name in found)
    facts = []
    for name in names:
        counts = Counter(found.get(name, NOT_RECORDED) for found in told)
        if name in ("GPUs", "torch's vectors", "BLAS"):  # stages that load no torch do not say
            counts.pop(NOT_RECORDED, None)
        facts.append(Fact(name, tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))))
    return facts
