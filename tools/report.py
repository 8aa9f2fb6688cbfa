"""`make report-check`: how long a report of 1,000 cases takes, how large its page is, how fast the history answers.

Records like those that are committed, each with lognormal rounds. Nothing else should run meanwhile. Writes
results/report-check.json.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np

from fixtures.history.series import read_history, series_of
from fixtures.history.shifts import shifts_of
from fixtures.record.saved import read_saved
from fixtures.stats.percentiles import latency_of
from tools.browser import NONE_FOUND, chromium, found, open_page
from tools.finding import Finding, conclude, findings_markdown

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "report-check.json"
_TEMPLATE = ROOT / "results" / "0001_cpu-amd-epyc_torch2.14.1_20261128.json"
_CASES, _ROUNDS = 1000, 300
_RUNS, _CASES_A_RUN, _REPEATS = 200, 100, 5
_BATCHES = (1, 2, 4, 8)

_REPORT = """
import resource, sys, time
from fixtures.report.__main__ import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def _save(path: Path, cases: int, rounds: int, day: int) -> None:
    """A run of that many cases."""
    template = read_saved(_TEMPLATE)
    record = next(iter(template.records.values()))
    rng = np.random.default_rng(day)
    benchmarks = []
    for index in range(cases):
        batch = _BATCHES[index % len(_BATCHES)]
        p50_ms = (5 + index / 10) * batch**0.9
        samples_ms = (p50_ms * rng.lognormal(0, 0.03, rounds)).tolist()
        found = asdict(latency_of(samples_ms, batch))
        per_s = 1e3 * batch / found["latency_p50_ms"]
        model = f"net{index // len(_BATCHES):03}"
        case = replace(
            record,
            model=model,
            batch=batch,
            params=1_000_000 + 10_000 * index,
            iters=rounds,
            latency_per_sample_ms=found["latency_p50_ms"] / batch,
            throughput_p50_per_s=per_s,
            throughput_mean_per_s=per_s,
            **found,
        )
        name = f"benchmarks/test_custom.py::test_forward[{model}-fp32-b{batch}-224]"
        stats = {"data": [ms / 1e3 for ms in samples_ms]}
        benchmarks.append({"fullname": name, "extra_info": case.extra_info(), "stats": stats})
    content = {
        "machine_info": template.machine_info,
        "commit_info": {"id": f"{day:040x}", "dirty": False},
        "datetime": (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)).isoformat(),
        "benchmarks": benchmarks,
    }
    path.write_bytes(msgspec.json.encode(content))


def _report(folder: Path) -> Iterator[Finding]:
    """Time, memory, and the page."""
    _save(folder / "0001_large.json", _CASES, _ROUNDS, 0)
    command = [sys.executable, "-c", _REPORT, str(folder / "0001_large.json"), "--out", str(folder / "report")]
    started_s = time.monotonic()
    result = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603  ourselves
    took_s = time.monotonic() - started_s
    what = f"{_CASES} cases × {_ROUNDS} rounds"
    yield Finding(f"a report of {what}", took_s, 20, "s", "the whole command, charts included")
    peak = int(result.stdout.splitlines()[-1]) / 1e6
    yield Finding("its memory", peak, 1, "GB", "peak of the process")
    page = folder / "report" / "report.html"
    yield Finding("its page", page.stat().st_size / 1e6, 5, "MB", "one file, raw rounds included")
    yield from _page(page, folder)


def _page(page: Path, folder: Path) -> Iterator[Finding]:
    """From the start of loading to table and charts."""
    took_s = []
    for index in range(_REPEATS):
        with chromium(folder / f"profile{index}", folder) as browser:
            took_s.append(open_page(browser, page) / 1e3)
    detail = f"headless Chromium, {_REPEATS} fresh profiles, {min(took_s):.2f} to {max(took_s):.2f} s"
    yield Finding("its page is interactive after", float(np.median(took_s)), 2, "s", detail)


def _history(folder: Path) -> Iterator[Finding]:
    """All series of the p50 and their shifts."""
    runs = folder / "runs"
    runs.mkdir()
    for day in range(_RUNS):
        _save(runs / f"{day + 1:04}_run.json", _CASES_A_RUN, 20, day)
    took_s = []
    for _ in range(_REPEATS):
        started_s = time.monotonic()
        saved, _remarks = read_history([runs], ["latency_p50_ms"])
        for each in series_of(saved, ["latency_p50_ms"]):
            shifts_of(each)
        took_s.append(time.monotonic() - started_s)
    detail = f"{_REPEATS} times, {min(took_s):.2f} to {max(took_s):.2f} s"
    yield Finding(f"the shifts of {_RUNS} runs × {_CASES_A_RUN} cases", float(np.median(took_s)), 3, "s", detail)


def main() -> int:
    """Measure, print, save; 0 when every limit holds, else 1; 2 without a browser. --markdown prints what was saved."""
    if sys.argv[1:] == ["--markdown"]:
        print(findings_markdown(RESULTS))
        return 0
    if found() is None:
        print(NONE_FOUND, file=sys.stderr)
        return 2
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as name:
        for measure in (_report, _history):
            findings += measure(Path(name))
    return conclude(findings, "reports and history", RESULTS)


if __name__ == "__main__":
    sys.exit(main())
