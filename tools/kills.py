"""`make kill-check`: runs killed at random moments, each then resumed as its user would.

Nothing finished may be lost or measured twice, and no process, worktree or temporary file may be left. Writes
results/kill-check.json after every trial.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from fixtures.devices.host import describe_host
from fixtures.files.writing import write_atomically
from tools.kill_trial import MODES, Place, Trial, killed, undisturbed_s

RESULTS = Path(__file__).parent.parent / "results" / "kill-check.json"
_COUNT, _SEED, _AT_ONCE = 60, 14, 2
_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_EARLIEST_S = 0.3


def _trial(index: int, seed: int, usual_s: dict[str, float]) -> Trial:
    rng = random.Random(f"{seed} {index}")
    mode, victim = list(MODES)[index % 4], ("parent", "child")[index // 4 % 2]
    number = _SIGNALS[(index // 8 + index) % 4]
    latest_s = usual_s[mode]
    while True:
        trial = Trial(mode, victim, number.name, round(rng.uniform(_EARLIEST_S, latest_s), 2))
        with tempfile.TemporaryDirectory(prefix="kill-check-") as name:
            if killed(Place(Path(name), trial), rng, number):
                return trial
        latest_s = trial.moment_s


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """Trials with a fault, by mode, victim and signal, with exact 95 % intervals of their share."""
    found: dict[str, Any] = {}
    for kind in ("mode", "victim", "signal"):
        for value in sorted({getattr(trial, kind) for trial in trials}):
            those = [trial for trial in trials if getattr(trial, kind) == value]
            faulty = sum(bool(trial.faults) for trial in those)
            bounds = binomtest(faulty, len(those)).proportion_ci(0.95, method="exact")
            found[f"{kind} {value}"] = {
                "kills": len(those),
                "with_a_fault": faulty,
                "low": round(bounds.low, 3),
                "high": round(bounds.high, 3),
            }
    return found


def main() -> int:
    """Kill, print, save; 0 when nothing was found, else 1."""
    count, seed = (int(text) for text in (sys.argv[1:] + [str(_COUNT), str(_SEED)][len(sys.argv) - 1 :])[:2])
    # What a shell or nohup has this process ignore, its children would: they are started as from a terminal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    trials: list[Trial] = []
    lock = threading.Lock()

    def note(index: int) -> None:
        trial = _trial(index, seed, usual_s)
        with lock:
            trials.append(trial)
            print(f"{len(trials)}: {trial}", flush=True)
            saved = {"machine": describe_host(), "seed": seed, "asked": count, "summary": summary(trials)}
            content = json.dumps({**saved, "trials": [asdict(each) for each in trials]}, indent=1) + "\n"
            write_atomically(RESULTS, content.encode())

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        usual_s = dict(zip(MODES, pool.map(undisturbed_s, MODES), strict=True))
        list(pool.map(note, range(count)))
    for name, row in summary(trials).items():
        share = f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %"
        print(f"{name}: {row['with_a_fault']} of {row['kills']} with a fault ({share})")
    return int(any(trial.faults for trial in trials))


if __name__ == "__main__":
    sys.exit(main())
