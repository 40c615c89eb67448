"""Finding: a claim and what the seeds say of it, as a line of the page. Who judges is not this room."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """claim: in a sentence. where: which rows it compares. verdict: "held", "not held" or "cannot say".

    effect, interval: as text with their unit, "" where there is none. n: seeds or pairs behind it. note: why, or how it
    was corrected.
    """

    claim: str
    where: str
    verdict: str
    effect: str = ""
    interval: str = ""
    n: int = 0
    note: str = ""
