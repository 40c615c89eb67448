"""Deviations: in what a study is not what the paper did: its corpus and data, its settings, and what was mended since.

Told from the study and its records. The corrections of the authors' release are known from its public history.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.inputs.data_sources import WIKIPEDIA, HubData
from harness.planning.graph import Plan
from harness.wording import counted
from paper_tables.numbers.comparable import note_on_comparison
from paper_tables.numbers.rows import Row
from paper_tables.numbers.study_numbers import StudyNumbers

PAPER_DUMP = "20200501"
PAPER_LENGTH = 512  # tokens of a pre-training example
FAR_OFF = 1.0  # points between the zeros that a name tells and those that are counted; rounding makes less
KINDS_OF_EVIDENCE = ("set", "assumed", "searched", "partner", "published")  # the further from the paper the sooner


@dataclass(frozen=True)
class Deviation:
    """topic: what it is about. paper, here: how either stands to it. counts: whether numbers here can differ by it."""

    topic: str
    paper: str
    here: str
    counts: bool


@dataclass(frozen=True)
class Evidence:
    """One setting of the recipe. kind: of its evidence. source: where it is from, or why it was assumed."""

    key: str
    value: Any
    kind: str
    source: str


def settings(numbers: StudyNumbers) -> list[Evidence]:
    """Every setting of the recipe: given on the command line first, then assumed, searched, partners', published."""
    found = [
        Evidence(key, value, kind, source) for key, (value, kind, source) in numbers.study.recipe["settings"].items()
    ]
    rank = {kind: number for number, kind in enumerate(KINDS_OF_EVIDENCE)}
    return sorted(found, key=lambda setting: (rank.get(setting.kind, len(rank)), setting.key))


def data_deviations(numbers: StudyNumbers) -> list[Deviation]:
    """The corpus, the tasks' data, and what sets cells apart that the paper prints a number for."""
    plan = numbers.study.plan
    told = [_corpus(plan), _task_data(plan)]
    told += [Deviation("Comparable cells", "", note, True) for note in note_on_comparison(numbers.differing)]
    return told


def _corpus(plan: Plan) -> Deviation:
    paper = f"English Wikipedia of {PAPER_DUMP}, which its publisher keeps no more"
    found = {spec.inputs.get("train") for spec in plan.stages.values() if spec.kind == "corpus"}
    if not found:
        return Deviation("Pre-training corpus", paper, "no stage of this study reads a corpus", False)
    hub = HubData().content_ids((), corpus=True)["corpus/train"]
    repository, configuration, revision = WIKIPEDIA
    named = [
        f"Wikipedia {configuration} ({repository} at {revision[:12]})"
        if content == hub
        else f"other text, of content {str(content)[:12]}"
        for content in sorted(found, key=str)
    ]
    return Deviation("Pre-training corpus", paper, ", ".join(named), True)


def _task_data(plan: Plan) -> Deviation:
    known = {cell.task: plan.task_of(cell) for cell in plan.paths}
    tasks = set(known)
    hub = HubData().content_ids((known[name] for name in sorted(tasks)), corpus=False)
    read = {
        (str(spec.parameters.get("task")), split): content
        for spec in plan.stages.values()
        for split, content in spec.inputs.items()
        if f"{spec.parameters.get('task')}/{split}" in hub
    }
    others = sorted({task for (task, split), content in read.items() if hub[f"{task}/{split}"] != content})
    others = sorted({*others, *(name for name, task in known.items() if not task.is_on_hub)})
    same = sorted(tasks - set(others))
    told = [f"the pinned data sets of the hub ({', '.join(same)})"] if same else []
    told += [f"other data, or a part of them ({', '.join(others)})"] if others else []
    return Deviation("Data of the tasks", "GLUE and SQuAD, whole", "; ".join(told), bool(others))


def corrections(numbers: StudyNumbers) -> list[Deviation]:
    """The four corrections that the authors' release had after the paper, and how this study stands to each.

    Which of them touched the paper's own runs is not known.
    """
    plan = numbers.study.plan
    return [_named_sparsity(numbers.rows), _pair_length(plan), _learning_rate(plan), _token_types(plan)]


def _named_sparsity(rows: Sequence[Row]) -> Deviation:
    off = [100 * abs(share - row.sparsity) for row in rows if row.sparsity for share in row.measured_sparsity or ()]
    here = "every model's zeros are counted and stand beside its name"
    here += f"; the furthest from it is {max(off):.2f} points off" if off else "; no sparse model has a record yet"
    paper = "until 2021-12-12 the release's configuration named 90 % asked for 85 % (pull request 2)"
    return Deviation("Sparsity that was asked for", paper, here, max(off, default=0.0) > FAR_OFF)


def _pair_length(plan: Plan) -> Deviation:
    lengths = {spec.parameters.get("max_length") for spec in plan.stages.values() if spec.kind == "pairs"}
    paper = (
        "until March 2022 the release cut pairs to 509 tokens, for it took the special ones off first (pull request 8)"
    )
    if not lengths:
        return Deviation("Length of pre-training pairs", paper, "no stage of this study makes pairs", False)
    told = " and ".join(f"{length}" for length in sorted(lengths, key=str))
    here = f"corrected: pairs fill {told} tokens with their special ones; the paper's recipe names {PAPER_LENGTH}"
    return Deviation("Length of pre-training pairs", paper, here, lengths != {PAPER_LENGTH})


def _learning_rate(plan: Plan) -> Deviation:
    paper = (
        "until 2022-05-20 the rate between warm-up and the start of the ramp was too high, in question answering 2.4 "
        "times its peak (pull request 10); pruning in pre-training begins at step 0 and is not touched by it"
    )
    late = [spec for spec in plan.stages.values() if spec.parameters.get("ramp_begin", 0) > 0]
    rewound = [spec for spec in late if spec.parameters.get("lr_rewind")]
    here = "corrected: one linear decay outside the ramp"
    if rewound:
        here += f"; {counted(len(rewound), 'stage')} ({_kinds(rewound)}) would be touched by the old formula"
    else:
        here += "; no stage of this study would be touched by the old formula"
    return Deviation("Learning rate before the ramp", paper, here, bool(rewound))


def _kinds(specs: Sequence[Any]) -> str:
    return ", ".join(sorted({spec.kind for spec in specs}))


def _token_types(plan: Plan) -> Deviation:
    paper = (
        "until August 2022 a DistilBERT student, which reads no token types, kept them from its BERT teacher too, to "
        "whom both texts of a pair then looked like one (pull request 13)"
    )
    crossed = sum(1 for _ in _crossed(plan))
    here = "corrected: a teacher is given its own inputs, whatever its student reads; "
    here += (
        f"of another base model than its student is the teacher of {counted(crossed, 'stage')} here"
        if crossed
        else "no student here has a teacher of another base model"
    )
    return Deviation("Token types of the teacher", paper, here, bool(crossed))


def _crossed(plan: Plan) -> Iterator[str]:
    """Stages whose teacher is of another base model."""
    for stage_id, spec in plan.stages.items():
        teacher = plan.stages.get(spec.parents.get("teacher", ""))
        if teacher is not None and plan.base_model(teacher) != plan.base_model(spec):
            yield stage_id
