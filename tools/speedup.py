"""`make speedup-check`: what the speed-up table says of no difference, the eager model against itself, in ten runs."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fixtures.record.saved import read_saved

_ROOT = Path(__file__).parents[1]
_SAVED = _ROOT / "results" / "speedup-aa.json"
CASES = "again and b1 and (yolov8n or clip and encoder)"
MOST_MISS, MOST_WIDTH, LEAST_COVERED = 0.01, 0.03, 0.9


def _run(folder: Path, extra: Sequence[str]) -> list[dict[str, Any]]:
    """One fresh process: the interval of each case."""
    file = folder / "out.json"
    options = ["--runtime=again", "--batch=1", f"--benchmark-json={file}", *extra]
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-k", CASES, *options]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise SystemExit(f"speedup-check: {' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return [
        {
            "case": f"{record.model} {record.workload}",
            "speedup": record.speedup,
            "low": record.speedup_low,
            "high": record.speedup_high,
            "rounds": len(record.speedup_samples_ms),
            "baseline_ms": list(record.speedup_baseline_samples_ms),
            "ms": list(record.speedup_samples_ms),
        }
        for record in read_saved(file).records.values()
    ]


def summary(intervals: Sequence[dict[str, Any]]) -> tuple[float, float, float]:
    """Share of intervals that hold 1, by how much the worst of the others misses it, and the median width."""
    misses = [max(each["low"] - 1, 1 - each["high"], 0.0) for each in intervals]
    widths = [each["high"] - each["low"] for each in intervals]
    return sum(miss == 0 for miss in misses) / len(misses), max(misses), float(np.median(widths))


def table(intervals: Sequence[dict[str, Any]]) -> str:
    """A line a case and one for all, as Markdown."""
    lines = [
        "| case | runs | intervals that hold 1 | largest miss | median width | speed-ups |",
        "|---|---:|---:|---:|---:|---|",
    ]
    names = list(dict.fromkeys(each["case"] for each in intervals))
    for name in [*names, "all"]:
        some = [each for each in intervals if name in ("all", each["case"])]
        covered, miss, width = summary(some)
        found = [each["speedup"] for each in some]
        spread = f"{min(found):.3f} to {max(found):.3f}"
        held = round(covered * len(some))
        lines.append(f"| {name} | {len(some)} | {held} | {miss * 100:.2f} % | {width * 100:.1f} % | {spread} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when the goals are met."""
    parser = argparse.ArgumentParser(prog="python -m tools.speedup", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="fresh processes. Default: 10.")
    parser.add_argument("--markdown", action="store_true", help="print the table of the saved runs again")
    given, extra = parser.parse_known_args(arguments)
    if not given.markdown:
        found: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as folder:
            for run in range(given.runs):
                found += _run(Path(folder), extra)
                shown = ", ".join(f"{each['speedup']:.3f}" for each in found[-3:])
                print(f"run {run + 1} of {given.runs}: {shown}", flush=True)
        partial = _SAVED.with_suffix(".tmp")
        partial.write_text(json.dumps(found) + "\n", encoding="utf-8")
        partial.replace(_SAVED)
    intervals = json.loads(_SAVED.read_text(encoding="utf-8"))
    print(table(intervals))
    covered, miss, width = summary(intervals)
    return int(covered < LEAST_COVERED or miss > MOST_MISS or width > MOST_WIDTH)


if __name__ == "__main__":
    sys.exit(main())
