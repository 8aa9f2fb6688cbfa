"""How often the gate cries wolf over a p95, a mean, a maximum: on simulated processes, whose truth is known.

    python -m tools.field_spread --set=judged

How far such a field of one process is off was settled on the trials `chosen`: calls that are disturbed in bursts, in
some processes more than in others. The trials `judged` were made afterwards and are of another kind: two modes, between
which a process changes slowly, heavy tails, and noise that differs from process to process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from fixtures.judge.pairs import Pair
from fixtures.judge.questions import SAVED
from fixtures.judge.rules import Rule
from fixtures.judge.verdicts import judge
from fixtures.record.record import Record
from fixtures.stats.percentiles import latency_of
from fixtures.stats.spread import spread_flags
from fixtures.workers.pool import pooled
from tools.gate_power_table import interval

FIELDS = tuple(f"latency_{name}_ms" for name in ("p50", "mean", "std", "min", "max", "p90", "p95"))
CASES = 6
_TYPICAL_MS = 10.0


def _states(random: np.random.Generator, rounds: int, share: float, length: float) -> np.ndarray:
    """Whether each round is disturbed: such a share of them, for so many rounds at a time."""
    enter = min(0.9, share / (1 - share) / length)
    draws, found, state = random.random(rounds), np.empty(rounds, bool), bool(random.random() < share)
    for index, draw in enumerate(draws):
        state = draw >= 1 / length if state else draw < enter
        found[index] = state
    return found


def _bursts(random: np.random.Generator) -> Callable[[], np.ndarray]:
    """A case whose rounds are disturbed in bursts; returns what makes one of its processes, milliseconds."""
    rounds, share = int(random.integers(60, 300)), float(random.choice([0.01, 0.03, 0.1, 0.2]))
    length, noise, level = float(random.choice([1, 3, 10])), random.uniform(0.01, 0.05), random.uniform(0.01, 0.035)
    size, apart = random.uniform(0.1, 0.6), random.uniform(0.2, 0.8)

    def process() -> np.ndarray:
        own = min(0.5, share * np.exp(random.normal(0, apart)))
        disturbed = _states(random, rounds, own, length) * random.exponential(size, rounds)
        found: np.ndarray = np.exp(random.normal(0, level) + random.normal(0, noise, rounds) + disturbed)
        return _TYPICAL_MS * found

    return process


def _modes(random: np.random.Generator) -> Callable[[], np.ndarray]:
    """A case with two modes and a heavy tail; returns what makes one of its processes, milliseconds."""
    rounds, slower, noise = int(random.integers(60, 300)), random.uniform(1.05, 1.5), random.uniform(0.01, 0.06)

    def process() -> np.ndarray:
        slow = _states(random, rounds, float(np.clip(random.beta(2, 8), 0.01, 0.8)), 20)
        tail = np.where(random.random(rounds) < 0.02, random.pareto(3, rounds), 0)
        sigma = noise * np.exp(random.normal(0, 0.3))
        level = 0.02 * random.standard_t(5)
        found: np.ndarray = np.exp(level + random.normal(0, sigma, rounds)) * np.where(slow, slower, 1) * (1 + tail)
        return _TYPICAL_MS * found

    return process


SETS: Mapping[str, tuple[int, Callable[[np.random.Generator], Callable[[], np.ndarray]]]] = {
    "chosen": (1, _bursts),
    "judged": (2, _modes),
}


def _record(template: Record, processes_ms: Sequence[np.ndarray]) -> Record:
    """What the suite records of these processes."""
    records = [
        replace(
            template, **asdict(latency_of(rounds.tolist(), template.batch)), flags=tuple(spread_flags(rounds.tolist()))
        )
        for rounds in processes_ms
    ]
    return records[0] if len(records) == 1 else pooled(records, [(rounds / 1e3).tolist() for rounds in processes_ms])


def _trial(template: Record, process: Callable[[], np.ndarray], processes: int, slower: float) -> Pair:
    base, head = [process() for _ in range(processes)], [slower * process() for _ in range(processes)]
    rounds = tuple(each.tolist() for each in (*base, *head))
    return Pair("", Rule(FIELDS[0]), _record(template, base), _record(template, head), processes_ms=rounds)


@dataclass(frozen=True)
class Count:
    """Of one field: runs in which equal code was named, and in which the one case that became slower was."""

    field: str
    alarms: int
    found: int
    runs: int


def counts(template: Record, name: str, processes: int, slower: float, runs: int) -> Iterator[Count]:
    """Simulated runs of CASES cases, each field gated alone at the default limit; a case becomes slower in each second.

    Args:
        template: everything that the simulation does not say.
        name: of SETS.
        processes: a side.
        slower: how many times as long a call takes.
    """
    seed, case_of = SETS[name]
    random = np.random.default_rng((seed, processes, round(100 * slower)))
    alarms, found = dict.fromkeys(FIELDS, 0), dict.fromkeys(FIELDS, 0)
    for _ in range(runs):
        cases = [case_of(random) for _ in range(CASES)]
        same = [replace(_trial(template, case, processes, 1.0), nodeid=str(i)) for i, case in enumerate(cases)]
        slow = replace(_trial(template, cases[0], processes, slower), nodeid="0")
        for field in FIELDS:
            alarms[field] += bool(_named(same, field))
            found[field] += "0" in _named([slow, *same[1:]], field)
    return (Count(field, alarms[field], found[field], runs) for field in FIELDS)


def _named(pairs: Sequence[Pair], field: str) -> set[str]:
    verdicts = judge([replace(pair, rule=Rule(field)) for pair in pairs], SAVED)
    return {verdict.nodeid for verdict in verdicts if verdict.status == "regression"}


def markdown(template: Record, name: str, runs: int) -> str:
    """Counts with their exact binomial 95 % intervals."""
    lines = [
        "| processes a side | field | same code: runs with a false alarm | +50 % found | +100 % found |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for processes in (1, 5):
        half, twice = (list(counts(template, name, processes, slower, runs)) for slower in (1.5, 2.0))
        for one, two in zip(half, twice, strict=True):
            alarms = interval(one.alarms + two.alarms, one.runs + two.runs)
            found = f"{interval(one.found, one.runs)} | {interval(two.found, two.runs)}"
            lines.append(f"| {processes} | `{one.field}` | {alarms} | {found} |")
    return "\n".join(lines)


def main() -> None:
    """Simulate and print."""
    from fixtures.record.decoding import record_from
    from tools.gate_power import read

    parser = argparse.ArgumentParser(prog="python -m tools.field_spread", description=__doc__)
    parser.add_argument("--set", choices=SETS, default="judged", help="which trials. Default: judged")
    parser.add_argument("--runs", type=int, default=100, help="of each kind. Default: 100")
    given = parser.parse_args()
    template = record_from(next(iter(read().templates.values())))
    print(markdown(replace(template, canary_matmul_ms=None, canary_copy_ms=None), given.set, given.runs))


if __name__ == "__main__":
    main()
