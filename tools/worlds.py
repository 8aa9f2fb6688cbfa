"""What the gate's saved mode makes of runs whose truth is known: how often equal code alarms, and what it finds.

    python -m tools.worlds --runs=1000

Each world says how far processes are apart, how alike those of one run are, and what a run has of its own. Six cases a
run, of which in `slower` runs one is; five processes a side.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fixtures.judge.pairs import Pair, Verdict
from fixtures.judge.questions import SAVED
from fixtures.judge.rules import DEFAULT_METRIC, Rule
from fixtures.judge.verdicts import judge
from fixtures.record.record import Record
from tools.gate_power_table import interval

CASES, PROCESSES = 6, 5
SLOWER = (1.1, 1.25, 1.5)
_TYPICAL_MS = 10.0


@dataclass(frozen=True)
class World:
    """Standard deviations of logarithms.

    Attributes:
        process: of the processes of a run.
        alike: correlation of one with the next.
        run: of what a run has of its own.
        canary: of a canary that follows nothing; None where it was not timed.
    """

    process: float
    alike: float = 0.0
    run: float = 0.0
    canary: float | None = None

    def run_of(self, random: np.random.Generator, processes: int) -> np.ndarray:
        """Logarithms of what the processes of one run take."""
        found = np.empty(processes)
        found[0] = random.normal(0, self.process)
        for index in range(1, processes):
            new = random.normal(0, self.process * np.sqrt(1 - self.alike**2))
            found[index] = self.alike * found[index - 1] + new
        return random.normal(0, self.run) + found


WORLDS: Mapping[str, World] = {
    "independent processes, sd 2 %": World(0.02),
    "processes alike, lag-1 0.6, sd 4 %": World(0.04, alike=0.6),
    "runs differ, sd 3 %": World(0.02, run=0.03),
    "a canary with 5 % of its own": World(0.02, canary=0.05),
    "runs differ, sd 3 %, canary 1 %": World(0.02, run=0.03, canary=0.01),
}
# Worse than what is built in: there only history tells.
BEYOND = {"runs differ, sd 7 %": World(0.02, run=0.07)}


def _side(template: Record, logs: np.ndarray, canary: np.ndarray | None) -> Record:
    values: dict[str, Sequence[float]] = {DEFAULT_METRIC: _TYPICAL_MS * np.exp(logs)}
    if canary is not None:
        values |= dict.fromkeys(("canary_matmul_ms", "canary_copy_ms"), np.exp(canary))
    middles = {name: float(np.median(each)) for name, each in values.items()}
    times = dict.fromkeys(("latency_min_ms", "latency_mean_ms", "latency_max_ms"), middles[DEFAULT_METRIC])
    own = {name: tuple(map(float, each)) for name, each in values.items()}
    return replace(template, **middles, **times, process_values=own, flags=())  # type: ignore[arg-type]


def run(template: Record, world: World, random: np.random.Generator, slower: float, cases: int) -> list[Verdict]:
    """Verdicts of a run against the saved one before it; the first case takes so many times as long."""
    pairs = []
    for case in range(cases):
        factor = np.log(slower) if case == 0 else 0.0
        logs = world.run_of(random, PROCESSES), world.run_of(random, PROCESSES) + factor
        base, head = (
            _side(template, each, None if world.canary is None else random.normal(0, world.canary, PROCESSES))
            for each in logs
        )
        pairs.append(Pair(str(case), Rule(DEFAULT_METRIC), base, head))
    return judge(pairs, SAVED)


def alarms(template: Record, world: World, runs: int, cases: int = CASES, seed: int = 0) -> int:
    """Of so many runs of equal code those in which a regression was named."""
    return _count(template, world, runs, 1.0, cases, seed, lambda found: "regression" in {v.status for v in found})


def finds(template: Record, world: World, runs: int, slower: float, cases: int = CASES, seed: int = 0) -> int:
    """Of so many runs those in which the case that became slower was named."""
    return _count(template, world, runs, slower, cases, seed, lambda found: found[0].status == "regression")


def _count(
    template: Record,
    world: World,
    runs: int,
    slower: float,
    cases: int,
    seed: int,
    named: Callable[[list[Verdict]], bool],
) -> int:
    random = np.random.default_rng((seed, round(100 * slower), cases))
    return sum(named(run(template, world, random, slower, cases)) for _ in range(runs))


def template_of() -> Record:
    """Everything that the simulation does not say."""
    from fixtures.record.decoding import record_from
    from tools.gate_power import read

    record = record_from(next(iter(read().templates.values())))
    return replace(record, canary_matmul_ms=None, canary_copy_ms=None)


def _rows(template: Record, runs: int) -> Iterator[str]:
    yield "| world | cases | same code: runs with a false alarm | +10 % found | +25 % found | +50 % found |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for cases in (CASES, 100):
        for name, world in {**WORLDS, **BEYOND}.items():
            count = max(20, runs * CASES // cases)
            found = [finds(template, world, count, slower, cases, seed=1) for slower in SLOWER]
            counts = (alarms(template, world, count, cases, seed=1), *found)
            yield f"| {name} | {cases} | {' | '.join(interval(each, count) for each in counts)} |"


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.worlds", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="of each kind of six cases. Default: 200")
    for row in _rows(template_of(), parser.parse_args().runs):
        print(row, flush=True)


if __name__ == "__main__":
    main()
