"""`make damage-check`: 2,000 damaged saved files through every command that reads such files.

None may end in a traceback, take more than memory allows or time, let a name reach the terminal as a command, or change
a verdict. Writes results/damage-check.json.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fixtures import gate
from fixtures.history import __main__ as history
from fixtures.judge.baseline import read_baseline
from fixtures.judge.gating import judge_saved
from fixtures.judge.rules import DEFAULT_METRIC, Rule
from fixtures.record.saved import SavedError, SavedRun, read_saved
from fixtures.report import __main__ as report
from fixtures.report.formats import FORMAT_NAMES
from fixtures.show import __main__ as show
from tools.finding import Finding, conclude
from tools.mutations import Mutation, mutations

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "damage-check.json"
_TEMPLATE = ROOT / "results" / "0001_cpu-amd-epyc_torch2.14.1_20261128.json"
_COUNT, _SEED = 2000, 14
_CASES, _ROUNDS = 3, 30
_CHARTS = 0.1  # of the reports that have charts too, which take over a second
_MOST_S, _MOST_GB = 30.0, 2.0
_EXIT_CODES = {0, 1, 2, 6}
# What a damaged file may make of a verdict; a pass or a regression that was none is wrong.
_NO_ANSWER = {"inconclusive", "invalid", "missing", "new"}


@dataclass
class Seen:
    """What was found, each with how the file came about."""

    calls: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    slowest_s: float = 0.0
    faults: dict[str, list[str]] = field(default_factory=dict)

    def fault(self, kind: str, mutation: Mutation, detail: str) -> None:
        """Note one, and say so at once."""
        print(f"{kind}: {mutation.how}: {detail}", file=sys.__stderr__, flush=True)
        self.faults.setdefault(kind, []).append(f"{mutation.how}: {detail}")


def whole_file() -> dict[str, Any]:
    """A small saved file: a few cases of the committed baseline, with statistics and raw rounds."""
    content: dict[str, Any] = json.loads(_TEMPLATE.read_text(encoding="utf-8"))
    content["benchmarks"] = content["benchmarks"][:_CASES]
    for benchmark in content["benchmarks"]:
        benchmark["stats"]["data"] = benchmark["stats"]["data"][:_ROUNDS]
    return content


def _statuses(base: SavedRun, head: SavedRun) -> dict[str, str]:
    judged = judge_saved([base], head.records, head.environment, [Rule(DEFAULT_METRIC)], failed=head.failed)
    return {verdict.nodeid: verdict.status for verdict in judged.verdicts}


def _report(damaged: str, out: Path, charts: bool) -> int:
    if charts:
        return report.main([damaged, f"--out={out / 'report'}"])
    with patch("fixtures.report.build._charts", return_value=()):
        return report.main([damaged, f"--out={out / 'report'}"])


def _commands(folder: Path, charts: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    """Everything that reads, on the damaged file and a whole one beside it."""
    whole, damaged, out = str(folder / "whole.json"), str(folder / "damaged.json"), folder / "out"
    exports = [f"--export={form}={out / form}" for form in FORMAT_NAMES]
    yield "show", lambda: show.main([damaged, whole])
    yield "show --markdown --speedup", lambda: show.main([damaged, "--markdown", "--speedup"])
    yield "show --csv", lambda: show.main([damaged, f"--csv={out}.csv"])
    yield "show --svg", lambda: show.main([damaged, f"--svg={out}.svg"])
    yield "gate, as head", lambda: gate.main([whole, damaged, "--gate=latency_p50_ms:5%", "--gate=params"])
    yield "gate, as base", lambda: gate.main([whole, damaged, whole, f"--gate-summary={out}.md"])
    yield "exports", lambda: report.main([str(folder), *exports])
    yield "history", lambda: history.main([str(folder), "--case=clip"])
    yield "--benchmark-compare", lambda: _compare(Path(damaged))
    yield "report with charts" if charts else "report", lambda: _report(damaged, out, charts)


def _compare(path: Path) -> int:
    """What is asked of a baseline before anything runs."""
    try:
        read_baseline(path)
    except SavedError as error:
        print(error)
        return 6
    return 0


def _printable(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def _call(name: str, command: Callable[[], object], mutation: Mutation, seen: Seen) -> None:
    said = io.StringIO()
    started_s = time.process_time()
    code: object = None
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = command()
        except SystemExit as error:
            code = error.code
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            seen.fault(
                "traceback", mutation, f"{name}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"
            )
    took_s = time.process_time() - started_s
    seen.calls[name] += 1
    seen.codes[f"{name}: {code}"] += 1
    seen.slowest_s = max(seen.slowest_s, took_s)
    if code is not None and code not in _EXIT_CODES:
        seen.fault("exit code", mutation, f"{name}: {code}")
    if not _printable(said.getvalue()):
        seen.fault("escape sequence", mutation, f"{name}: {said.getvalue()!r:.300}")
    if took_s > _MOST_S:
        seen.fault("time", mutation, f"{name}: {took_s:.0f} s")


def _judged(folder: Path, expected: Mapping[str, str], mutation: Mutation, seen: Seen) -> bool:
    """Whether the file was read; a verdict on it is that on the whole one, or none."""
    try:
        damaged, whole = read_saved(folder / "damaged.json"), read_saved(folder / "whole.json")
    except SavedError as error:
        seen.refused += 1
        if "\n" in str(error) or "damaged.json" not in str(error):
            seen.fault("not a line with its name", mutation, str(error))
        return False
    for found in (_statuses(damaged, whole), _statuses(whole, damaged)):
        for nodeid, status in found.items():
            if status not in _NO_ANSWER and status != expected.get(nodeid):
                seen.fault("verdict", mutation, f"{nodeid} is {status}, was {expected.get(nodeid)}")
    return True


def examined(count: int, seed: int, folder: Path) -> Seen:
    """Every command on so many damaged files.

    Args:
        folder: empty, and filled.
    """
    content, seen = whole_file(), Seen()
    (folder / "whole.json").write_text(json.dumps(content), encoding="utf-8")
    whole = read_saved(folder / "whole.json")
    expected = _statuses(whole, whole)
    rng = random.Random(seed)
    for mutation in mutations(content, count, seed):
        (folder / "damaged.json").write_bytes(mutation.content)
        is_read = _judged(folder, expected, mutation, seen)
        for name, command in _commands(folder, charts=is_read and rng.random() < _CHARTS):
            _call(name, command, mutation, seen)
    return seen


def main() -> int:
    """Damage, read, print, save; 0 when nothing was found, else 1."""
    count, seed = (int(text) for text in (sys.argv[1:] + [str(_COUNT), str(_SEED)][len(sys.argv) - 1 :])[:2])
    resource.setrlimit(resource.RLIMIT_AS, (16 * 2**30, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("MPLCONFIGDIR", name)
        seen = examined(count, seed, Path(name))
    calls = sum(seen.calls.values())
    what = f"{count} files, {calls} calls, seed {seed}"
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    kinds = ("traceback", "exit code", "escape sequence", "not a line with its name", "verdict")
    findings = [Finding(kind, len(seen.faults.get(kind, ())), 0, "", what) for kind in kinds]
    findings += [
        Finding("slowest call", seen.slowest_s, _MOST_S, "s", "processor time, report with charts"),
        Finding("memory", peak_gb, _MOST_GB, "GB", f"peak of the process; {seen.refused} of the files were refused"),
    ]
    return conclude(findings, "damaged saved files", RESULTS)


if __name__ == "__main__":
    sys.exit(main())
