"""`make overhead`: what measuring costs, beside the plainest thing that does the same, in one run.

A call through `measure` against a bare loop, alternating call by call; a whole process against a minimal
pytest-benchmark test that records nothing but time, alternating run by run; collection; `pytest benchmarks -k clip`.
Nothing else should run meanwhile. Writes results/overhead.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from tools.finding import Finding, conclude, findings_markdown

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "overhead.json"
_PROCESS_PAIRS = 5
_COLLECTIONS = 5

_MODELS = """
import torch, torchvision
from torch import nn

def with_one_tensor(module):
    return module, lambda batch, imgsz, generator: torch.rand(batch, 3, imgsz, imgsz, generator=generator)

class Empty(nn.Module):
    def forward(self, x):
        return x

def empty():
    return with_one_tensor(Empty())

def resnet50():
    return with_one_tensor(torchvision.models.resnet50(weights=None))

def vit():
    return torchvision.models.vit_b_16(weights=None)
"""

# Between two measured calls, where nothing is timed, the same call once more in a bare loop: they alternate.
_INTERLEAVED = """
import json, pathlib, time
import pytest

pytestmark = pytest.mark.family("custom")

class Alternating:
    def __init__(self, batches, call):
        self.batches, self.call, self.bare_s = batches, call, []
        self.batch, self.digest, self.count = batches.batch, batches.digest, batches.count

    def drop_caches(self):
        self.batches.drop_caches()

    def unseen(self, index):
        return self.batches.unseen(index)

    def take(self, index):
        taken = self.batches.take(index)
        start = time.perf_counter()
        self.call(*taken.args, **taken.kwargs)
        self.bare_s.append(time.perf_counter() - start)
        return taken

def test_alternating(model, main_batches, measure, benchmark, model_name):
    batches = Alternating(main_batches, model.forward)
    measure(model.forward, batches)
    measured_s = benchmark.stats.stats.data
    pathlib.Path(f"{model_name}.json").write_text(json.dumps([batches.bare_s[-len(measured_s):], measured_s]))
"""

_MINIMAL = """
import torch, torchvision

def test_minimal(benchmark):
    model = torchvision.models.vit_b_16(weights=None).eval()
    pixels = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        benchmark.pedantic(model, args=(pixels,), rounds=30, warmup_rounds=10, iterations=1)
"""


def _pytest(folder: Path, *args: str) -> float:
    """Seconds that `pytest ARGS` takes as a process.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    start_s = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "pytest", *args], cwd=folder, capture_output=True, text=True)  # noqa: S603
    taken_s = time.perf_counter() - start_s
    if done.returncode:
        raise RuntimeError(f"pytest {' '.join(args)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return taken_s


def _alternated(folder: Path, model: str, iters: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of bare and of measured calls of a model, alternated."""
    test = folder / "test_interleaved.py"
    test.write_text(_INTERLEAVED)
    config = ("-c", str(ROOT / "pytest.ini"), "--rootdir", str(ROOT), "--confcutdir", str(ROOT))
    _pytest(folder, *config, str(test), f"--model={folder}/own.py:{model}", "--batch=1", "--device=cpu", "--warmup=20",
            f"--iters={iters}")  # fmt: skip
    bare, measured = json.loads((folder / f"{model}.json").read_text())
    return np.array(bare), np.array(measured)


def _call_overhead(folder: Path) -> list[Finding]:
    bare_s, measured_s = _alternated(folder, "empty", 3000)
    more_us = float(np.median(measured_s) - np.median(bare_s)) * 1e6
    empty = f"bare {np.median(bare_s) * 1e6:.2f} µs, measured {np.median(measured_s) * 1e6:.2f} µs, 3000 pairs"
    bare_s, measured_s = _alternated(folder, "resnet50", 200)
    ratio = float(np.median(measured_s) / np.median(bare_s))
    q1, q3 = np.quantile(measured_s / bare_s, (0.25, 0.75))
    real = f"bare {np.median(bare_s) * 1e3:.2f} ms, 200 pairs, quartiles of the pairs' ratio {q1:.3f} to {q3:.3f}"
    return [
        Finding("an empty call, more than bare", more_us, 5.0, "µs", empty),
        Finding("ResNet-50, median off the bare loop's", abs(ratio - 1) * 100, 1.0, "%", f"ratio {ratio:.4f}; {real}"),
    ]


def _process_overhead(folder: Path) -> Finding:
    (folder / "minimal").mkdir()
    (folder / "minimal/test_minimal.py").write_text(_MINIMAL)
    minimal = ("-p", "no:cacheprovider", "test_minimal.py")
    ours = ("benchmarks", "-k", "custom", f"--model={folder}/own.py:vit", "--batch=1", "--warmup=10", "--iters=30",
            "--device=cpu", f"--benchmark-json={folder}/out.json")  # fmt: skip
    _pytest(folder / "minimal", *minimal)  # once unseen, so that files are cached for both
    _pytest(ROOT, *ours)
    pairs = [(_pytest(folder / "minimal", *minimal), _pytest(ROOT, *ours)) for _ in range(_PROCESS_PAIRS)]
    ratios = [ours_s / minimal_s for minimal_s, ours_s in pairs]
    medians = [float(np.median(column)) for column in zip(*pairs, strict=True)]
    detail = (
        f"minimal {medians[0]:.1f} s, everything recorded {medians[1]:.1f} s, {_PROCESS_PAIRS} pairs, "
        f"{min(ratios):.3f} to {max(ratios):.3f}"
    )
    return Finding("ViT-B/16, whole process over minimal", float(np.median(ratios)), 1.15, "×", detail)


def _collection(folder: Path) -> Finding:
    (folder / "empty").mkdir()
    (folder / "empty/test_empty.py").write_text("def test_empty(benchmark): ...\n")
    collect = ("--collect-only", "-q")
    pairs = [(_pytest(folder / "empty", *collect), _pytest(ROOT, "benchmarks", *collect)) for _ in range(_COLLECTIONS)]
    empty_s, ours_s = (float(np.median(column)) for column in zip(*pairs, strict=True))
    return Finding("collection of benchmarks", ours_s, 1.0, "s", f"one empty pytest-benchmark test {empty_s:.2f} s")


def _clip() -> Finding:
    return Finding("pytest benchmarks -k clip", _pytest(ROOT, "benchmarks", "-k", "clip"), 60.0, "s", "once")


def main() -> int:
    """Measure, print, save; 0 when every limit holds, else 1. With --markdown print what was saved last."""
    if sys.argv[1:] == ["--markdown"]:
        print(findings_markdown(RESULTS))
        return 0
    console = Console()
    steps: list[tuple[str, Callable[[Path], list[Finding]]]] = [
        ("a call, half a minute", _call_overhead),
        ("a process, three minutes", lambda folder: [_process_overhead(folder)]),
        ("collection", lambda folder: [_collection(folder)]),
        ("CLIP, a minute", lambda _: [_clip()]),
    ]
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "own.py").write_text(_MODELS)
        for what, measure in steps:
            console.print(f"[dim]measuring {what} …[/]")
            findings += measure(folder)
    return conclude(findings, "overhead of measuring", RESULTS)


if __name__ == "__main__":
    sys.exit(main())
