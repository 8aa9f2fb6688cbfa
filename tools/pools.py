"""`make pools-check`: speed-ups of runtimes with threads of their own, beside each side alone in a process of its own.

The suite's own ratios first, then three starts of bare processes, one a runtime: a model, a loop, a clock. They take
turns of a second while the others are stopped, since from one minute to the next a shared machine is half as fast.
Nothing else should run meanwhile. Writes results/pools.json.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fixtures.cases.case import Case
from fixtures.cases.family import family
from fixtures.cases.own import OwnModel
from fixtures.cases.runtimes import EAGER
from fixtures.cases.variants import Variant
from fixtures.config.settings import settings_from
from fixtures.devices.cpu import Cpu
from fixtures.devices.host import allowed_cores, describe_host
from fixtures.files.writing import write_all
from fixtures.measure.loading import Shelf
from fixtures.record.saved import read_saved

_ROOT = Path(__file__).parents[1]
_SAVED = _ROOT / "results" / "pools.json"
_STARTS, _WARM_S = 3, 2.0
# Of a start: how often every process has its turn, and how long that is, after untimed calls.
_TURNS, _TURN_S, _REWARM_S = 8, 1.0, 0.3
_MOST_APART = 0.10
RUNTIMES = (EAGER, "onnxruntime", "openvino")
_OWN = "import torchvision\n\ndef resnet18():\n    return torchvision.models.resnet18(weights=None)\n"


@dataclass(frozen=True)
class Subject:
    """A model at one size, and how the suite selects it."""

    family: str
    model: str
    method: str
    imgsz: int
    select: str

    def __str__(self) -> str:
        return f"{self.model} {self.imgsz} px"


SUBJECTS = (
    Subject("yolo", "yolov8n", "forward", 160, "yolov8n and forward"),
    Subject("yolo", "yolov8n", "forward", 640, "yolov8n and forward"),
    Subject("custom", "resnet18", "forward", 224, "custom and forward"),
    Subject("clip", "clip-vit-b32", "encode_image", 224, "clip and image_encoder"),
)


@dataclass(frozen=True)
class Ratio:
    """How many times faster than eager a runtime is, as the suite says and alone.

    Attributes:
        suite: None where the suite showed none, with the reason in `why`.
        alone: of each start, the p50 of a bare eager process over that of a bare process of the runtime (of turns).
        disturbed: how far each side's p50 in the suite's pair is from its p50 alone there, baseline first.
    """

    subject: str
    runtime: str
    suite: float | None
    low: float | None
    high: float | None
    why: str
    alone: tuple[float, ...]
    disturbed: tuple[float, ...]

    @property
    def apart(self) -> float:
        """Of the suite's ratio from the median of those alone, as a share."""
        return float("inf") if self.suite is None else abs(self.suite / float(np.median(self.alone)) - 1)


def _own_model(folder: Path) -> Path:
    path = folder / "pools_own.py"
    path.write_text(_OWN, encoding="utf-8")
    return path


def _bare(subject: Subject, runtime: str, folder: Path) -> None:
    """Time calls in this process, in which nothing but this runtime computes, as often as a line asks for it.

    Answers every line with the median seconds of a call.
    """
    import torch

    settings = settings_from({"device": "cpu", "num_images": "1", "seed": "42", "steps": "1"}.get, folder, lambda: 0)
    chosen = family(subject.family)
    if subject.family == "custom":
        from fixtures.models.custom import spec_from_own

        spec = spec_from_own(OwnModel(subject.model, _own_model(folder)))
    else:
        spec = next(each for each in chosen.specs if each.name == subject.model)
    torch.set_num_threads(allowed_cores())
    with torch.inference_mode():
        loaded = Shelf(Cpu(), settings).get(Case(chosen, spec, Variant("fp32", runtime), 1, subject.imgsz))
        call = getattr(loaded.model, subject.method)
        pixels = torch.rand(1, 3, subject.imgsz, subject.imgsz)
        _called_s(lambda: call(pixels), _WARM_S)
        print("ready", flush=True)
        for _ in sys.stdin:
            _called_s(lambda: call(pixels), _REWARM_S)
            print(float(np.median(_called_s(lambda: call(pixels), _TURN_S))), flush=True)


def _called_s(call: Callable[[], object], seconds: float) -> list[float]:
    """What each call took, for so long, five at least."""
    taken_s: list[float] = []
    while sum(taken_s) < seconds or len(taken_s) < 5:
        start_s = time.perf_counter()
        call()
        taken_s.append(time.perf_counter() - start_s)
    return taken_s


def _start(index: int, runtime: str) -> subprocess.Popen[str]:
    """A bare process of a runtime, ready and stopped."""
    command = [sys.executable, "-m", "tools.pools", f"--bare={index}", f"--runtime={runtime}"]
    started = subprocess.Popen(  # noqa: S603 - our own
        command, cwd=_ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout is not None
    while (line := started.stdout.readline()) != "ready\n":
        if not line:
            raise SystemExit(f"pools-check: {' '.join(command)} ended with {started.wait()}")
    started.send_signal(signal.SIGSTOP)
    return started


def _turn(process: subprocess.Popen[str]) -> float:
    """Median seconds of a call while only this process runs."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.send_signal(signal.SIGCONT)
    process.stdin.write("\n")
    process.stdin.flush()
    found = float(process.stdout.readline())
    process.send_signal(signal.SIGSTOP)
    return found


def _alone(index: int) -> dict[str, float]:
    """Of one start: by runtime, how many times faster than eager its process is (median over the turns)."""
    processes = {runtime: _start(index, runtime) for runtime in RUNTIMES}
    try:
        found: dict[str, list[float]] = {runtime: [] for runtime in RUNTIMES}
        for number in range(_TURNS):
            for runtime in RUNTIMES if number % 2 else reversed(RUNTIMES):
                found[runtime].append(_turn(processes[runtime]))
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    eager = np.array(found[EAGER])
    return {runtime: float(np.median(eager / np.array(found[runtime]))) for runtime in RUNTIMES[1:]}


def _of_suite(subject: Subject, folder: Path) -> dict[str, Any]:
    """Records of one run of the suite, by runtime."""
    file = folder / "out.json"
    options = [f"--runtime={','.join(RUNTIMES)}", "--batch=1", f"--imgsz={subject.imgsz}", f"--benchmark-json={file}"]
    if subject.family == "custom":
        options.append(f"--model={_own_model(folder)}:{subject.model}")
    command = [sys.executable, "-m", "pytest", "benchmarks", "-q", "-k", subject.select, *options]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise SystemExit(f"pools-check: {' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return {record.runtime: record for record in read_saved(file).records.values()}


def _disturbed(record: Any) -> tuple[float, ...]:
    pairs = (
        (record.speedup_baseline_samples_ms, record.speedup_baseline_alone_samples_ms),
        (record.speedup_samples_ms, record.speedup_alone_samples_ms),
    )
    return tuple(float(np.median(pair) / np.median(alone) - 1) for pair, alone in pairs if pair and alone)


def _ratios(index: int, folder: Path) -> list[Ratio]:
    """Of one subject: the suite's run, then the bare starts."""
    subject = SUBJECTS[index]
    records = _of_suite(subject, folder)
    starts = [_alone(index) for _ in range(_STARTS)]
    found = []
    for runtime in RUNTIMES[1:]:
        record = records[runtime]
        why = next((note for note in record.notes if note.startswith("speedup")), "")
        alone = tuple(start[runtime] for start in starts)
        ratio = (record.speedup, record.speedup_low, record.speedup_high)
        found.append(Ratio(str(subject), runtime, *ratio, why, alone, _disturbed(record)))
    return found


def table(ratios: Sequence[Ratio]) -> Table:
    """A line a model and runtime."""
    shown = Table("model", "runtime", "speed-up (95 % CI)", "alone (3 starts)", "apart", "each side, pair to alone")
    for each in ratios:
        alone = f"{np.median(each.alone):.2f} ({min(each.alone):.2f} to {max(each.alone):.2f})"
        suite = each.why if each.suite is None else f"{each.suite:.2f} ({each.low:.2f} … {each.high:.2f})"
        sides = ", ".join(f"{share * 100:+.1f} %" for share in each.disturbed)
        shown.add_row(each.subject, each.runtime, suite, alone, f"{each.apart * 100:.1f} %", sides)
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and save; 0 when every ratio is within a tenth of that of each side alone."""
    parser = argparse.ArgumentParser(prog="python -m tools.pools", description=__doc__)
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--runtime", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="pools-check-") as folder:
        if given.bare is not None:
            _bare(SUBJECTS[given.bare], given.runtime, Path(folder))
            return 0
        ratios: list[Ratio] = []
        for index, subject in enumerate(SUBJECTS):
            ratios += _ratios(index, Path(folder))
            print(f"{subject} done", flush=True)
    Console(width=140).print(table(ratios))
    saved = {"machine": describe_host(), "ratios": [asdict(each) for each in ratios]}
    write_all(_SAVED.parent, {_SAVED.name: (json.dumps(saved, indent=1) + "\n").encode()})
    return int(any(each.apart > _MOST_APART for each in ratios))


if __name__ == "__main__":
    sys.exit(main())
