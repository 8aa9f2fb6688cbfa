"""`make gate-power`: how often the gate cries wolf, and what it finds. Writes results/gate-power.json.

A trial is a whole run of the suite on six networks, as a user starts it. In `same` trials both sides are the same
code, and any regression is a false alarm; in `slower` trials five of the six waste 1, 2, 3, 5 and 10 % of each call,
each size in another network from trial to trial. Raw numbers of every process are kept, and judged when they are read.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fixtures.progress import duration

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "results" / "gate-power.json"
MODELS = ("mobilenet_v3_small", "squeezenet1_1", "mnasnet1_0", "efficientnet_b0", "resnet18", "resnet50")
SIZES = (0.01, 0.02, 0.03, 0.05, 0.10)
TRIALS = 20
# One thread: with as many threads as cores, every parallel loop waits for the core that somebody else is using.
_COMMON = ("-k", "custom", "--device=cpu", "--threads=1", "--batch=1", "-q", "-p", "no:cacheprovider")
_ALTERNATING = ("--processes=8", "--max-seconds=0.3")
_SAVED = ("--processes=5", "--max-seconds=0.5")
# What of a process's numbers the verdicts use.
_KEPT = ("latency_p50_ms", "canary_matmul_ms", "canary_copy_ms")
_GUESSED_S = {"alternating": 105.0, "saved": 55.0}


class Side(msgspec.Struct):
    """One case on one side: pooled median of all rounds, and each process's numbers."""

    median_ms: float
    processes: dict[str, list[float]]
    flags: list[str] = []


class Run(msgspec.Struct):
    """One run of the suite.

    Attributes:
        mode: `alternating` or `saved`.
        kind: `same` or `slower`; in `saved` mode a `same` run is the baseline of the next two runs.
        planted: what share slower which model of this run is.
        ratios: alternating only: of each pair of processes.
        finished: Unix time, seconds.
    """

    mode: str
    kind: str
    trial: int
    planted: dict[str, float]
    seconds: float
    finished: float
    head: dict[str, Side]
    base: dict[str, Side] = {}
    ratios: dict[str, list[float]] = {}


class Trials(msgspec.Struct):
    """The result file: machine and code, one whole record a case as a template, and every run."""

    machine: dict[str, Any]
    commands: dict[str, str]
    templates: dict[str, dict[str, Any]]
    runs: list[Run]


@dataclass(frozen=True)
class Planned:
    """A run that is still to do."""

    mode: str
    kind: str
    trial: int

    @property
    def planted(self) -> dict[str, float]:
        """Every size in another model from trial to trial, one model left as it is."""
        if self.kind == "same":
            return {}
        return {MODELS[(index + self.trial) % len(MODELS)]: size for index, size in enumerate(SIZES)}


def plan(trials: int) -> list[Planned]:
    """All runs, both modes and kinds side by side, so that a part of them is worth reading too.

    In saved mode run `same` 0 is the first baseline; trial i compares with the `same` run before it.
    """
    runs = [Planned("saved", "same", 0)]
    for trial in range(trials):
        runs += [Planned("alternating", "same", trial), Planned("alternating", "slower", trial)]
        runs += [Planned("saved", "slower", trial), Planned("saved", "same", trial + 1)]
    return runs


def write_models(folder: Path, planted: dict[str, float]) -> None:
    """A copy of the model file in which these models are slower."""
    text = (ROOT / "tools" / "power_models.py").read_text(encoding="utf-8")
    line = "SLOWER: dict[str, float] = {}"
    if text.count(line) != 1:
        raise RuntimeError(f"power_models.py has no line {line!r}")
    folder.mkdir()
    (folder / "models.py").write_text(text.replace(line, f"SLOWER: dict[str, float] = {planted!r}"), encoding="utf-8")


def _arguments(mode: str) -> list[str]:
    models = [f"--model=models.py:{name}" for name in MODELS]
    return [*_COMMON, *(_ALTERNATING if mode == "alternating" else _SAVED), *models]


def _side(info: dict[str, Any], data_s: Sequence[float]) -> Side:
    values = info["process_values"]
    return Side(statistics.median(data_s) * 1e3, {name: list(values[name]) for name in _KEPT}, list(info["flags"]))


def _run_to_its_end(command: Sequence[str], folder: Path) -> str:
    """What a command printed; when this process is interrupted, the command may clean up before it ends."""
    process = subprocess.Popen(  # noqa: S603 - this interpreter
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        return process.communicate()[0]
    except KeyboardInterrupt:
        process.terminate()
        process.communicate()
        raise


def run(planned: Planned) -> tuple[Run, dict[str, Any]]:
    """One run of the suite, as a user starts it; the run, and the saved file.

    Raises:
        RuntimeError: it came to no result; the message ends with what it printed.
    """
    with tempfile.TemporaryDirectory(prefix="gate-power-") as name:
        folder = Path(name)
        write_models(folder / "head", planned.planted)
        arguments = [*_arguments(planned.mode), f"--benchmark-json={folder / 'out.json'}"]
        if planned.mode == "alternating":
            write_models(folder / "base", {})
            arguments.append("--against=../base")
        start_s = time.perf_counter()
        command = [sys.executable, "-m", "pytest", str(ROOT / "benchmarks"), f"--rootdir={ROOT}", *arguments]
        printed = _run_to_its_end(command, folder / "head")
        seconds = time.perf_counter() - start_s
        try:
            saved = json.loads((folder / "out.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise RuntimeError(f"{planned} came to no result:\n{printed[-3000:]}") from None
    head = {b["extra_info"]["model"]: _side(b["extra_info"], b["stats"]["data"]) for b in saved["benchmarks"]}
    others = saved.get("against", {}).get("cases", {}).values()
    base = {case["extra_info"]["model"]: _side(case["extra_info"], case["data"]) for case in others}
    ratios = {case["extra_info"]["model"]: list(case["process_ratios"]) for case in others}
    if len(head) != len(MODELS) or (planned.mode == "alternating" and len(base) != len(MODELS)):
        raise RuntimeError(f"{planned} lacks cases:\n{printed[-3000:]}")
    found = Run(planned.mode, planned.kind, planned.trial, planned.planted, seconds, time.time(), head, base, ratios)
    return found, saved


def _template(extra_info: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extra_info.items() if name not in ("process_values", "process_rounds")}


def _write(trials: Trials) -> None:
    """Each run a line of its own, so that what was added can be seen."""
    encode = msgspec.json.encode
    head = b",\n".join(
        encode(name) + b": " + encode(getattr(trials, name)) for name in ("machine", "commands", "templates")
    )
    runs = b",\n".join(map(encode, trials.runs))
    partial = RESULT.with_name(RESULT.name + ".tmp")
    partial.write_bytes(b"{" + head + b',\n"runs": [\n' + runs + b"\n]}\n")
    partial.replace(RESULT)


def _machine(saved: dict[str, Any]) -> dict[str, Any]:
    info = saved["machine_info"]
    kept = {name: info[name] for name in ("cpu_name", "cores_allowed", "ram_bytes", "os", "versions", "python_version")}
    return {**kept, "commit": saved["commit_info"]["id"], "date": saved["datetime"][:10]}


def read() -> Trials:
    """The result file.

    Raises:
        OSError: there is none.
        ValueError: it is damaged.
    """
    return msgspec.json.decode(RESULT.read_bytes(), type=Trials)


def _begun() -> Trials:
    if RESULT.exists():
        return read()
    commands = {mode: " ".join(["pytest benchmarks", *_arguments(mode)]) for mode in ("alternating", "saved")}
    return Trials({}, commands, {}, [])


def missing(trials: Trials, planned: Sequence[Planned]) -> Iterator[Planned]:
    """What of the plan has no run yet."""
    done = {(run.mode, run.kind, run.trial) for run in trials.runs}
    return (one for one in planned if (one.mode, one.kind, one.trial) not in done)


def measure(count: int) -> None:
    """Run what is missing; the file is written after every run, so that it can be interrupted at any time."""
    trials = _begun()
    todo = list(missing(trials, plan(count)))
    seen = {mode: [run.seconds for run in trials.runs if run.mode == mode] or [_GUESSED_S[mode]] for mode in _GUESSED_S}
    expected_s = sum(statistics.median(seen[one.mode]) for one in todo)
    print(f"{len(todo)} runs to do, about {duration(expected_s)}; interrupt at will, the next start goes on from here.")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, speed_estimate_period=3600) as progress:
        task = progress.add_task("", total=len(todo))
        for one in todo:
            progress.update(task, description=f"{one.mode}, {one.kind}, trial {one.trial + 1}")
            found, saved = run(one)
            trials.runs.append(found)
            if not trials.templates:
                trials.machine = _machine(saved)
                trials.templates = {b["extra_info"]["model"]: _template(b["extra_info"]) for b in saved["benchmarks"]}
            _write(trials)
            progress.advance(task)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.gate_power", description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS, help=f"of each kind and mode. Default: {TRIALS}")
    parser.add_argument("--markdown", action="store_true", help="only print the README's table from the saved file")
    given = parser.parse_args(arguments)
    if not given.markdown:
        # As Ctrl-C, which a shell's background jobs do not get.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            measure(given.trials)
        except KeyboardInterrupt:
            print("interrupted; start again to go on")
            return 130
    from tools.gate_power_table import markdown

    print(markdown(read()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
