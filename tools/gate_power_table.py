"""What the runs of `make gate-power` come to: every verdict judged from raw numbers, and the README's table."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.stats import binomtest

from fixtures.judge.gating import AlternatedCase, Judgement, judge_alternating, judge_saved
from fixtures.judge.rules import DEFAULT_METRIC, Rule
from fixtures.record.decoding import record_from
from fixtures.record.record import Record
from fixtures.record.saved import SavedRun
from tools.gate_power import MODELS, SIZES, Run, Side, Trials

# What pytest-benchmark's own gate would say of the same rounds: --benchmark-compare-fail=median:5%.
THRESHOLD = 0.05


@dataclass(frozen=True)
class Trial:
    """One trial: what was planted, and which models each gate named.

    Attributes:
        verdicts: status by model.
        by_threshold: models that a threshold on the pooled median named.
    """

    mode: str
    planted: dict[str, float]
    verdicts: dict[str, str]
    by_threshold: frozenset[str]

    @property
    def named(self) -> frozenset[str]:
        """Models that the gate called a regression."""
        return frozenset(model for model, status in self.verdicts.items() if status == "regression")


def _record(template: Record, side: Side) -> Record:
    """A case of a run: of its rounds only the median is kept, so that it stands for whatever else they would say."""
    median_ms = side.median_ms
    same = ("min", "mean", "p50", "max")
    return replace(
        template,
        **{f"latency_{name}_ms": median_ms for name in same},  # type: ignore[arg-type]
        **dict.fromkeys(("latency_std_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms")),  # type: ignore[arg-type]
        latency_per_sample_ms=median_ms / template.batch,
        flags=tuple(side.flags),
        process_values={name: tuple(values) for name, values in side.processes.items()},
    )


def _records(trials: Trials, sides: dict[str, Side]) -> dict[str, Record]:
    return {model: _record(record_from(trials.templates[model]), side) for model, side in sides.items()}


def _trial(run: Run, base: dict[str, Side], judgement: Judgement) -> Trial:
    slower = {m for m in MODELS if run.head[m].median_ms > base[m].median_ms * (1 + THRESHOLD)}
    verdicts = {verdict.nodeid: verdict.status for verdict in judgement.verdicts}
    return Trial(run.mode, run.planted, dict(verdicts), frozenset(slower))


def judged(trials: Trials, margin: float | None = None) -> Iterator[Trial]:
    """Every trial that has all its runs, judged now by the gate's own code, at its default margin unless given."""
    rules = [Rule(DEFAULT_METRIC, share=margin)]
    baselines = {run.trial: run for run in trials.runs if run.mode == "saved" and run.kind == "same"}
    for run in trials.runs:
        head = _records(trials, run.head)
        if run.mode == "alternating":
            base = _records(trials, run.base)
            cases = {m: AlternatedCase(base[m], head[m], tuple(run.ratios[m]), "", "") for m in MODELS}
            yield _trial(run, run.base, judge_alternating(cases, rules))
            continue
        before = baselines.get(run.trial if run.kind == "slower" else run.trial - 1)
        if before is not None:
            saved = SavedRun(Path("gate-power.json"), _records(trials, before.head), {})
            yield _trial(run, before.head, judge_saved([saved], head, {}, rules))


def interval(hits: int, of: int) -> str:
    """As in `19 of 20 (75 to 100 %)`: the exact binomial 95 % interval of Clopper and Pearson."""
    if not of:
        return "none yet"
    found = binomtest(hits, of).proportion_ci(0.95, method="exact")
    return f"{hits} of {of} ({found.low * 100:.0f} to {found.high * 100:.0f} %)"


def _rows(mode: str, trials: list[Trial]) -> Iterator[tuple[str, str, str, str]]:
    same = [trial for trial in trials if trial.mode == mode and not trial.planted]
    slower = [trial for trial in trials if trial.mode == mode and trial.planted]
    statuses = [status for trial in same for status in trial.verdicts.values()]
    yield (
        mode,
        "same code: runs with a false alarm",
        interval(sum(bool(trial.named) for trial in same), len(same)),
        interval(sum(bool(trial.by_threshold) for trial in same), len(same)),
    )
    yield mode, "same code: verdicts that are a plain pass", interval(statuses.count("pass"), len(statuses)), "–"
    yield (
        mode,
        "runs that name a model nothing was planted in",
        interval(sum(bool(trial.named - trial.planted.keys()) for trial in slower), len(slower)),
        interval(sum(bool(trial.by_threshold - trial.planted.keys()) for trial in slower), len(slower)),
    )
    for size in SIZES:
        where = [(trial, next(m for m, planted in trial.planted.items() if planted == size)) for trial in slower]
        yield (
            mode,
            f"+{size * 100:g} % found",
            interval(sum(model in trial.named for trial, model in where), len(where)),
            interval(sum(model in trial.by_threshold for trial, model in where), len(where)),
        )


def markdown(trials: Trials) -> str:
    """Counts with their exact binomial 95 % intervals, both modes, beside a threshold on the same rounds."""
    found = list(judged(trials))
    lines = ["| mode | what | this gate | `median:5%` on the same rounds |", "| --- | --- | ---: | ---: |"]
    for mode in ("alternating", "saved"):
        lines += [f"| {' | '.join(row)} |" for row in _rows(mode, found)]
    for mode in ("alternating", "saved"):
        seconds = [run.seconds for run in trials.runs if run.mode == mode]
        if seconds:
            lines.append(
                f"| {mode} | seconds a run of six models, median (most) | "
                f"{statistics.median(seconds):.0f} ({max(seconds):.0f}) | |"
            )
    return "\n".join(lines)
