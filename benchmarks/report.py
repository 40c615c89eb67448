"""The result of a benchmark as data and as text: what was measured, with what, on which machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from tabulate import tabulate

from benchmarks.fixed_cost import GOAL_SECONDS, FixedCost
from benchmarks.ratios import Ratio
from benchmarks.throughput import MODEL, ORDINARY, PADDED_NAME, PRESET, STORED_KD, TASK, WITHOUT_KD, Throughput
from harness.inputs.machine_facts import machine_facts
from harness.worker.provenance import provenance

GOAL_SHARE = 0.85
GOAL_RATIO = 3.0
GOAL_STORED_KD = 1.05


@dataclass(frozen=True, kw_only=True)
class Report:
    """data: as of `harness grid --data`, in words, without a path of this machine. rounds: of which the best counts."""

    data: str
    rounds: int
    throughputs: Sequence[Throughput]
    fixed_costs: Sequence[FixedCost]
    ratios: Sequence[Ratio] = ()

    @property
    def padding_ratio(self) -> float | None:
        """Seconds per example of the authors' recipe over ours; None where one of them was not measured."""
        return self._ratio_of(PADDED_NAME, ORDINARY)

    @property
    def stored_kd_ratio(self) -> float | None:
        """Seconds per example of distilling from stored logits over those without distillation; None as above."""
        return self._ratio_of(STORED_KD, WITHOUT_KD)

    def _ratio_of(self, one: str, other: str) -> float | None:
        by_name = {each.name: each for each in self.throughputs}
        if not {one, other} <= set(by_name):
            return None
        return by_name[one].seconds_per_example / by_name[other].seconds_per_example

    def as_json(self) -> dict[str, Any]:
        """Plain values. Seconds of throughput are processor time, those of fixed costs are of the clock on the wall."""
        return {
            "data": self.data,
            "rounds": self.rounds,
            "model": MODEL,
            "preset": PRESET,
            "task": TASK,
            "goals": {
                "share_of_bound": GOAL_SHARE,
                "padding_ratio": GOAL_RATIO,
                "stored_kd_ratio": GOAL_STORED_KD,
                "fixed_seconds": GOAL_SECONDS,
            },
            "throughput": [
                {
                    **asdict(each),
                    "tokens_per_second": each.tokens_per_second,
                    "bound_tokens_per_second": each.bound_tokens_per_second,
                    "share_of_bound": each.share_of_bound,
                    "seconds_per_example": each.seconds_per_example,
                }
                for each in self.throughputs
            ],
            "padding_ratio": self.padding_ratio,
            "stored_kd_ratio": self.stored_kd_ratio,
            "fixed_cost": [{**asdict(each), "fixed": each.fixed} for each in self.fixed_costs],
            "ratios": [{**asdict(each), "value": each.value, "verdict": each.verdict} for each in self.ratios],
            "machine": machine_facts(),
            "code": provenance(),
        }

    def as_text(self) -> str:
        """Tables, each with its goal and whether it was met."""
        parts = (self._throughput(), self._padding_and_kd(), self._fixed(), self._ratios(), _machine())
        return "\n".join(part for part in parts if part)

    def _throughput(self) -> str:
        header = ("training", "tokens/s", "bound", "share", "GFLOP/s", "padding", "ms/example")
        rows = [
            (
                each.name,
                f"{each.tokens_per_second:,.0f}",
                f"{each.bound_tokens_per_second:,.0f}",
                f"{each.share_of_bound:.1%}",
                f"{each.flops / each.seconds / 1e9:.1f}",
                f"{each.padding:.1%}",
                f"{each.seconds_per_example * 1e3:.2f}",
            )
            for each in self.throughputs
        ]
        if not rows:
            return ""
        met = sum(each.share_of_bound >= GOAL_SHARE for each in self.throughputs)
        goal = f"goal: {GOAL_SHARE:.0%} of the bound; met by {met} of {len(rows)}"
        return _section(f"{MODEL}, preset {PRESET}, {TASK} of {self.data}; best of {self.rounds}", header, rows, goal)

    def _padding_and_kd(self) -> str:
        """A line for each ratio that was measured."""
        lines = []
        if (ratio := self.padding_ratio) is not None:
            verdict = "met" if ratio >= GOAL_RATIO else "not met"
            lines.append(f"{PADDED_NAME}: {ratio:.2f} times the seconds per example; goal {GOAL_RATIO:g}, {verdict}\n")
        if (ratio := self.stored_kd_ratio) is not None:
            verdict = "met" if ratio <= GOAL_STORED_KD else "not met"
            lines.append(
                f"{STORED_KD}: {ratio:.3f} times the seconds per example of {WITHOUT_KD}; goal at most "
                f"{GOAL_STORED_KD:g}, {verdict}\n"
            )
        return "\n".join(lines)

    def _fixed(self) -> str:
        header = ("stage", "fixed s", "of it processor", "training s", "scoring s")
        rows = [
            (each.kind, *(f"{found:.3f}" for found in (each.fixed, each.processor, each.training, each.scoring)))
            for each in self.fixed_costs
        ]
        judged = [each for each in self.fixed_costs if each.has_steps]
        met = sum(each.fixed <= GOAL_SECONDS for each in judged)
        goal = f"goal: {GOAL_SECONDS:g} s beside steps and scoring; met by {met} of {len(judged)} kinds that have them"
        return _section("fixed cost of a stage on a tiny encoder, preset quick", header, rows, goal) if rows else ""

    def _ratios(self) -> str:
        header = ("what", "form", "beside", "ms", "beside ms", "ratio", "goal")
        rows = [
            (
                each.what,
                each.form,
                each.other,
                *(f"{median(seconds) * 1e3:.1f}" for seconds in (each.form_seconds, each.other_seconds)),
                f"{each.value:.3f}" if each.bound == "most" else f"{each.value:.1f} times as fast",
                each.verdict,
            )
            for each in self.ratios
        ]
        met, judged = (sum(each.verdict.endswith(end) for each in self.ratios) for end in (": met", "met"))
        goal = f"processor time, medians of {len(rows and self.ratios[0].form_seconds)} rounds; met: {met} of {judged}"
        return _section("what recurs, beside the form to beat", header, rows, goal) if rows else ""


def _section(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], goal: str) -> str:
    align = ("left", *["right"] * (len(header) - 1))
    return f"{title}\n\n{tabulate(rows, header, disable_numparse=True, colalign=align)}\n\n{goal}\n"


def _machine() -> str:
    facts: Mapping[str, Any] = machine_facts()
    code: Mapping[str, Any] = provenance()
    torch = facts["torch"] or {}
    return (
        f"{facts['processor']}, {facts['cores']} cores, {torch.get('cpu_capability')}, {torch.get('blas')}, "
        f"{torch.get('threads')} thread; torch {code['versions']['torch']}, "
        f"transformers {code['versions']['transformers']}, commit {str(code['commit'])[:12]}"
        f"{' with changes' if code.get('uncommitted') else ''}"
    )
