"""Scale: how much pre-training stands behind numbers, beside the paper's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.studies.study import Study
from harness.studies.verification import Records

PAPER_TOKENS_PER_STAGE = 100_000 * 256 * 512  # steps x batch x length: 13.1e9


@dataclass(frozen=True)
class Scale:
    """Tokens seen by each pre-training stage, the fewest and the most; both None where none was done here."""

    fewest_tokens: int | None
    most_tokens: int | None

    def __str__(self) -> str:
        if self.fewest_tokens is None or self.most_tokens is None:
            return "no pre-training was done here"
        shares = [f"{tokens / PAPER_TOKENS_PER_STAGE:.1e}" for tokens in (self.fewest_tokens, self.most_tokens)]
        tokens = [f"{tokens:,}" for tokens in (self.fewest_tokens, self.most_tokens)]
        return (
            f"{' to '.join(dict.fromkeys(tokens))} tokens a pre-training stage, "
            f"{' to '.join(dict.fromkeys(shares))} of the paper's {PAPER_TOKENS_PER_STAGE:,}"
        )


def scale_of(study: Study, records: Records, stage_ids: Iterable[str]) -> Scale:
    """Of the finished pre-training stages behind these stages."""
    behind = {each for stage_id in stage_ids for each in study.plan.ancestors(stage_id)}
    tokens = [
        records[stage_id]["result"]["training"]["tokens_seen"]
        for stage_id in behind
        if stage_id in records
        and study.plan.work(stage_id) == "pretraining"
        and "tokens_seen" in records[stage_id]["result"].get("training", {})  # an author's kind says what it likes
    ]
    return Scale(min(tokens, default=None), max(tokens, default=None))
