"""`python -m tools.coverage`: how often a fresh process's p50 lies within its 95 % interval.

Of the trials of `make gate-power` one half chooses what is assumed of processes, the other is judged by it: some
processes of a case are known, one that they have not seen is held out. Writes results/process-coverage.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product

import numpy as np
from scipy.stats import binomtest

from fixtures.files.writing import write_atomically
from fixtures.stats.fresh_process import ASSUMED, CONFIDENCE, Assumed, prediction
from tools.gate_power import ROOT, Trials, read

RESULT = ROOT / "results" / "process-coverage.json"
KNOWN = (1, 2, 3, 4, 5)
_SDS = (0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.07, 0.08, 0.09, 0.10)
# What is assumed counts for no more processes than the trials' runs have.
_RUN_SDS, _PROCESSES = (0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05), (3, 4, 5, 6, 8)
# For the choice, of each case in each run.
_DRAWS = 20
SAME_RUN, LATER_RUN = "another process of the run", "a process of the next run, minutes later"


@dataclass(frozen=True)
class Seen:
    """One case in one run of the trials, of one side.

    Attributes:
        p50s_ms: of its processes, what was planted taken out.
    """

    trial: int
    finished: float
    flags: tuple[str, ...]
    p50s_ms: tuple[float, ...]


@dataclass(frozen=True)
class Held:
    """Processes that are known, and one that is not."""

    flags: tuple[str, ...]
    known_ms: tuple[float, ...]
    held_ms: float


def cases(trials: Trials, half: int) -> Iterator[list[Seen]]:
    """Every case of each mode and side over the runs of one half of the trials, in the order of time."""
    found: dict[tuple[str, str, str], list[Seen]] = defaultdict(list)
    for run in trials.runs:
        for name, sides in (("head", run.head), ("base", run.base)):
            for model, side in sides.items() if run.trial % 2 == half else ():
                planted = 1 + (run.planted.get(model, 0.0) if name == "head" else 0.0)
                p50s_ms = tuple(value / planted for value in side.processes["latency_p50_ms"])
                found[run.mode, name, model].append(Seen(run.trial, run.finished, tuple(side.flags), p50s_ms))
    for series in found.values():
        yield sorted(series, key=lambda seen: seen.finished)


def held_out(trials: Trials, half: int, known: int, draws: int = 1) -> dict[str, list[Held]]:
    """Of each case in each run some processes as known, and one of the same and of the next run held out.

    Args:
        known: how many processes are known.
        draws: how often processes of one case in one run are drawn; more than once they say little that is new.
    """
    rng = np.random.default_rng(0)
    found: dict[str, list[Held]] = {SAME_RUN: [], LATER_RUN: []}
    for series in cases(trials, half):
        for seen, later in zip(series, [*series[1:], None], strict=True):
            for _ in range(draws):
                order = rng.permutation(seen.p50s_ms)
                first = tuple(map(float, order[:known]))
                if len(order) > known:
                    found[SAME_RUN].append(Held(seen.flags, first, float(order[-1])))
                if len(order) >= known and later is not None:
                    found[LATER_RUN].append(Held(seen.flags, first, float(rng.choice(later.p50s_ms))))
    return found


def hits(held: Sequence[Held], assumed: Assumed) -> int:
    """How many of the held-out processes lie within the interval of what is known."""
    intervals = [prediction(each.known_ms, each.flags, assumed) for each in held]
    return sum(low <= each.held_ms <= high for each, (low, high) in zip(held, intervals, strict=True))


class _Choice:
    """The half that chooses, by the flag that counts, as arrays: a grid asks for thousands of coverages."""

    def __init__(self, trials: Trials) -> None:
        self._rare_sd = round(differ_by(trials, RARE), 2)
        self._held: dict[str, list[tuple[int, np.ndarray, np.ndarray, np.ndarray]]] = defaultdict(list)
        for known in KNOWN:
            for some in held_out(trials, 0, known, _DRAWS).values():
                by_flag: dict[str, list[Held]] = defaultdict(list)
                for each in some:
                    by_flag[widest_flag(each.flags)].append(each)
                for flag, few in by_flag.items():
                    logs = np.log([each.known_ms for each in few])
                    squares = ((logs - logs.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
                    held = np.log([each.held_ms for each in few])
                    self._held[flag].append((known, logs.mean(axis=1), squares, held))

    def error(self, flag: str, sd: float, run_sd: float, processes: int) -> float:
        """Mean square of what the coverage is off."""
        from scipy.special import stdtrit

        errors = []
        for known, centres, squares, held in self._held[flag]:
            dof = processes + known - 1
            width = np.sqrt((processes * sd**2 + squares) / dof * (1 + 1 / known) + run_sd**2)
            within = np.abs(held - centres) <= stdtrit(dof, (1 + CONFIDENCE) / 2) * width
            errors.append(float(within.mean()) - CONFIDENCE)
        return float(np.mean(np.square(errors)))

    def best(self) -> Assumed:
        """The assumptions under which coverage is off least, a flag at a time."""
        found = []
        for run_sd, processes in product(_RUN_SDS, _PROCESSES):
            least = {"": min((self.error("", sd, run_sd, processes), sd) for sd in _SDS)}
            wider = [sd for sd in _SDS if sd > least[""][1]] or _SDS[-1:]  # a flag is no reason to be surer
            least |= {flag: min((self.error(flag, sd, run_sd, processes), sd) for sd in wider) for flag in FLAGS}
            flagged_sd = {**{flag: least[flag][1] for flag in FLAGS}, RARE: self._rare_sd}
            assumed = Assumed(least[""][1], flagged_sd, run_sd, processes)
            found.append((sum(error for error, _ in least.values()), assumed))
        return min(found, key=lambda each: each[0])[1]


# Of the trials' cases every fourth had the first alone and every third the last. RARE had eleven in all, too few to
# choose by: what its processes differ by is taken as it is. Other flags had none, and count as what widens most.
FLAGS, RARE = ("drift", "unstable"), "host_busy"


def widest_flag(flags: Sequence[str]) -> str:
    """The one of a case's flags that counts; empty of none."""
    return next((flag for flag in ("unstable", RARE, "drift") if flag in flags), "unstable" if flags else "")


def differ_by(trials: Trials, flag: str) -> float:
    """Root of the mean variance of logarithms of the p50s of one case in one run, where this flag counts."""
    series = (some for half in (0, 1) for some in cases(trials, half))
    found = [
        np.var(np.log(seen.p50s_ms), ddof=1) for some in series for seen in some if widest_flag(seen.flags) == flag
    ]
    return float(np.sqrt(np.mean(found)))


@dataclass(frozen=True)
class Coverage:
    """Of so many known processes, how often the interval held the one that was not.

    Attributes:
        hits: of `of`, one of each case in each run; `low` and `high` bound its share exactly (Clopper and Pearson).
        share: over many draws of each.
    """

    held_out: str
    flags: str
    known: int
    hits: int
    of: int
    low: float
    high: float
    share: float


def _coverage(held: str, flags: str, known: int, once: Sequence[Held], often: Sequence[Held]) -> Coverage:
    found = hits(once, ASSUMED)
    bounds = binomtest(found, len(once)).proportion_ci(0.95, method="exact")
    return Coverage(held, flags, known, found, len(once), bounds.low, bounds.high, hits(often, ASSUMED) / len(often))


def judged(trials: Trials) -> Iterator[Coverage]:
    """Coverage on the half that chose nothing: of all cases, then of those with and without a flag."""
    once = {known: held_out(trials, 1, known) for known in KNOWN}
    often = {known: held_out(trials, 1, known, _DRAWS) for known in KNOWN}
    for held in (SAME_RUN, LATER_RUN):
        for known in KNOWN:
            yield _coverage(held, "any", known, once[known][held], often[known][held])
        for flags in ("none", "one or more"):
            some = [
                [each for known in (1,) for each in found[known][held] if bool(each.flags) == (flags != "none")]
                for found in (once, often)
            ]
            yield _coverage(held, flags, 1, some[0], some[1])


def markdown() -> str:
    """What was saved last as the README's table."""
    saved = json.loads(RESULT.read_text(encoding="utf-8"))
    lines = [
        "| held out | flags | processes known | within the interval | of 20 draws each |",
        "|---|---|---:|---:|---:|",
    ]
    for each in (Coverage(**found) for found in saved["coverage"]):
        shown = f"{each.hits} of {each.of} ({each.low * 100:.0f} to {each.high * 100:.0f} %)"
        lines.append(f"| {each.held_out} | {each.flags} | {each.known} | {shown} | {each.share * 100:.1f} % |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose, judge, save and print; 1 where another choice would be made than the one in use."""
    parser = argparse.ArgumentParser(prog="python -m tools.coverage", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="only print the README's table from the saved file")
    if not parser.parse_args(arguments).markdown:
        trials = read()
        chosen = _Choice(trials).best()
        if chosen != ASSUMED:
            print(f"coverage: the trials choose {chosen}, and {ASSUMED} is in use", file=sys.stderr)
            return 1
        saved = {"assumed": asdict(ASSUMED), "coverage": [asdict(each) for each in judged(trials)]}
        write_atomically(RESULT, (json.dumps(saved, indent=1) + "\n").encode())
    print(markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
