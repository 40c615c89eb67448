"""Iterative magnitude pruning in rounds: lottery tickets (weights rewound) and learning-rate rewinding (they stay)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.plugin import (
    DISTILLATION,
    FINE_TUNING,
    LEARNS,
    PRUNING,
    TRAIN_DATA,
    WINDOW,
    Chain,
    Method,
    Parameter,
    StageKind,
    StageSpec,
)
from methods.lottery_ticket.rounds import ORIGINAL, REMAINING, round_sparsities

_RELEASE = "Chen et al. 2020, released code (BERT-Tickets, LT_glue.py)"
_DISTILLED = "it was published without a teacher; as Prune OFA's examples have it: equal terms"
KIND = StageKind(
    name="lottery-ticket:round",
    version=1,
    run="methods.lottery_ticket.stage:run_round",
    recipe={
        **FINE_TUNING,
        **DISTILLATION,
        "epochs": FINE_TUNING["epochs"].with_default(3.0, published=f"{_RELEASE}: a round of MNLI is 36,813 steps"),
        "learning_rate": FINE_TUNING["learning_rate"].with_default(2e-5, published=f"{_RELEASE}: GLUE; SQuAD 3e-5"),
        "batch_size": FINE_TUNING["batch_size"].with_default(32, published=f"{_RELEASE}: GLUE; SQuAD 16"),
        "ce_weight": DISTILLATION["ce_weight"].with_default(0.5, assumed=_DISTILLED),
        "kd_weight": DISTILLATION["kd_weight"].with_default(0.5, assumed=_DISTILLED),
        "temperature": DISTILLATION["temperature"].with_default(2.0, assumed=_DISTILLED),
        "amount": Parameter(float, above=0, below=1, default=0.1, published=f"{_RELEASE}: a tenth a round"),
        "amount_of": Parameter(
            str, one_of=(ORIGINAL, REMAINING), default=ORIGINAL, published=f"{_RELEASE}: 1/10, 1/9, 1/8, .."
        ),
        "ranking": Parameter(
            str, one_of=("global", "local"), default="global", published=f"{_RELEASE}: one L1 ranking"
        ),
        "rewind_head": Parameter(bool, default=False, published=f"{_RELEASE}: only keys of the encoder are rewound"),
        "prune_pooler": PRUNING["prune_pooler"],
    },
    identity=("model", "task", "sparsity", "rounding", "seed"),
    task_data=TRAIN_DATA,
    work="training",
    relations=(LEARNS, WINDOW),
)


def iterative(*, rewind_weights: bool, distillation: bool = True) -> Callable[[Chain], StageSpec]:
    """The dense model of the cell's seed, then a stage for every round; cells share the rounds that they have alike.

    rewind_weights: every round begins with the pre-trained weights, the trained ones say what goes; else it goes on
    with the trained ones.
    """

    def stages(chain: Chain) -> StageSpec:
        amount, of = chain.value(KIND, "amount"), chain.value(KIND, "amount_of")
        teacher = chain.teacher() if distillation else None
        start, trained = chain.pretrained_model(), chain.dense()
        shares = round_sparsities(chain.cell.sparsity, amount=amount, of=of)
        for number, share in enumerate(shares, start=1):
            is_exact = of == ORIGINAL or number == len(shares)
            trained = chain.fine_tuning(
                KIND,
                start=start if rewind_weights else trained,
                mask_from=trained if rewind_weights else None,
                teacher=teacher,
                sparsity=share,
                rounding="down" if is_exact else "nearest",
            )
        return trained

    return stages


METHOD = Method(
    name="lottery-ticket",
    title="Lottery ticket",
    stages=iterative(rewind_weights=True),
    kinds=(KIND,),
    sparse=True,
    transfer_kd="yes",
    source="arXiv 2007.12223",
    note=(
        "Rounds of fine-tuning, pruning and rewinding: after each the smallest weights go, a tenth of the original "
        "number, and what remains is set back to the pre-trained weights and trained anew. A stage a round; a cell of "
        "90 % shares eight of its nine with one of 85 %."
    ),
)
WITHOUT_KD = replace(
    METHOD,
    name="lottery-ticket-no-kd",
    stages=iterative(rewind_weights=True, distillation=False),
    transfer_kd="no",
    note="Lottery ticket with the hard-label loss alone, as it was published.",
)
LR_REWINDING = replace(
    METHOD,
    name="imp-lr-rewinding",
    title="Iterative magnitude, LR rewinding",
    stages=iterative(rewind_weights=False),
    source="arXiv 2003.02389",
    note="The rounds of the lottery ticket, each with a whole learning-rate schedule, but the trained weights go on.",
)
