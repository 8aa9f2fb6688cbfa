"""Shared by the suite's own tests: a project of its own for each, tiny models, records to replay."""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import pkgutil
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import Chrome

import fixtures
from fixtures.cases.variants import Variant
from fixtures.devices.cpu import Cpu
from fixtures.inputs import synthetic
from fixtures.measure.canary import Canary, CanaryTimes
from fixtures.record.record import Record
from tests.record import RECORD
from tests.tiny import TINY
from tests.world import World
from tools.browser import NONE_FOUND, chromium, found

# A shell's background ignores Ctrl-C, and so would every run that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The process that hands tests to others (-n 2) runs none, and needs nothing of this.
if "PYTEST_XDIST_WORKER" in os.environ or not re.search(r" -n ?([1-9]|auto|logical)", " ".join(sys.argv)):
    import torch
    import torchvision  # noqa: F401  imported once for all runs, as below
    from transformers import CLIPModel  # noqa: F401

    from fixtures.measure.peaks import Peaks, known_peaks
    from fixtures.models.yolo import import_ultralytics

    # pytester forgets what a run in this process imported first; what is imported here is the same for all of them.
    for _found in pkgutil.walk_packages(fixtures.__path__, "fixtures."):
        importlib.import_module(_found.name)
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # torchao registers what torch knows already
    import_ultralytics()
    torch.compile(torch.nn.Identity(), backend="eager")

pytest_plugins = ("pytester",)
_WITH_PLUGINS = [each for each in metadata.distributions() if any(e.group == "pytest11" for e in each.entry_points)]
ROOT = Path(__file__).parent.parent

INI = f"""
[pytest]
pythonpath = {ROOT}
addopts =
    -p benchmark -p xdist -p fixtures.plugins.options -p no:cacheprovider
    -ra --device=cpu --num-images=4 --max-seconds=0.05 --threads=1 --assert=plain
markers =
    family(name): which models
    opt_in(option): left out unless asked for
    trained: needs trained weights
    data(option): needs data
filterwarnings =
    ignore:Benchmark fixture was not used at all
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="Tests that take minutes, too: make test-all.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = [] if config.getoption("slow") else [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


Run = Callable[..., pytest.RunResult]
Saved = Callable[[], dict[str, dict[str, Any]]]
OWN = ("-k", "custom", "--model=tiny.py:net", "--batch=1")


def info_of(saved: Saved) -> dict[str, Any]:
    """Of the one case that a run saved."""
    (benchmark,) = saved().values()
    info: dict[str, Any] = benchmark["extra_info"]
    return info


def no_traceback(result: pytest.RunResult) -> None:
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*During handling*")
    result.stderr.no_fnmatch_line("*Traceback*")


@pytest.fixture(scope="module", autouse=True)
def imported_is_no_garbage() -> None:
    """Every case collects garbage; to look through what was imported takes up to half a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def pipelines() -> None:
    """What makes pipelines is imported, each part: a second time it aborts, or is another class."""
    diffusers = importlib.import_module("diffusers")
    for name in ("AutoencoderKL", "DDIMScheduler", "PNDMScheduler", "StableDiffusionPipeline", "UNet2DConditionModel"):
        getattr(diffusers, name)


@pytest.fixture(scope="session")
def runtimes(pipelines: None) -> None:
    """Every runtime has been used once: some abort when what they import on the way is imported a second time."""
    from torch import nn

    from fixtures.cases.model import Model
    from fixtures.cases.variants import Variant
    from fixtures.runtimes.graph import Graph

    for module in ("torch_pruning", "torchao.quantization", "torch._inductor.compile_fx"):
        importlib.import_module(module)
    for runtime in ("onnxruntime", "openvino"):
        for precision in ("fp32", "int8"):
            net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
            model = Model(net, "random:0")
            Graph(model, net.forward, Variant(precision, runtime), Cpu(), 1)(torch.rand(1, 3, 8, 8))


@pytest.fixture
def in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants and candidates are compared in this process whatever their threads: the time has no meaning there."""
    monkeypatch.setattr(Variant, "shares_threads_with", lambda variant, other: True)


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic images that runs see, rendered once."""
    folder = tmp_path_factory.mktemp("synthetic") / f"v{synthetic.VERSION}-42"
    for index in range(4):
        synthetic.write(folder / f"{index:04}.ppm", index, 42)
    return folder


@pytest.fixture
def project(pytester: pytest.Pytester, rendered: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A root of its own that uses this suite: its benchmarks, an empty results/ and tiny.py."""
    monkeypatch.setattr(
        "fixtures.measure.turns.MOST_APART", float("inf")
    )  # a few rounds beside other tests tell nothing
    monkeypatch.setattr("fixtures.measure.peaks._TRIES", 1)  # each takes a second
    # Beside other tests it tells nothing of the machine, and would be taken for it.
    monkeypatch.setattr(Canary, "time", lambda self: CanaryTimes((1.0,), (2.0,)))
    for name in [name for name in os.environ if name.startswith("PYTEST_XDIST")]:
        monkeypatch.delenv(name)  # runs inside a test are not a worker's, also where the tests themselves run under -n
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # which plugins there are takes a sixth of a second
    monkeypatch.setattr(metadata, "distributions", lambda: iter(_WITH_PLUGINS))  # so does where the two named ones are
    pytester.makeini(INI)
    shutil.copytree(rendered, pytester.path / "results" / "inputs" / "synthetic" / rendered.name)
    benchmarks = pytester.mkdir("benchmarks")
    for file in (ROOT / "benchmarks").glob("*.py"):
        (benchmarks / file.name).write_text(file.read_text())
    pytester.makepyfile(tiny=TINY)
    # What the machine can do matters to no test that runs a whole case; children find it here too.
    with monkeypatch.context() as patched:
        patched.setattr("fixtures.measure.peaks.measure_peaks", lambda *_: Peaks(100.0, 10.0))
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("int8", torch.float32)):
            known_peaks(Cpu(), precision, dtype, 1, pytester.path / "results" / "peaks")
    return pytester


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten small JPEG files."""
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.RandomState(0)
    for index in range(10):
        Image.fromarray(rng.randint(0, 256, (20, 30, 3), dtype=np.uint8)).save(folder / f"{index}.jpg")
    return folder


@pytest.fixture
def run(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Callable[..., pytest.RunResult]:
    """Runs `pytest benchmarks ARGS` in the project, in this process."""
    monkeypatch.setenv("COLUMNS", "200")
    # It counts, and what is imported here are millions; and that stays frozen for the next test.
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 1)
    monkeypatch.setattr(gc, "unfreeze", lambda: None)
    threads = torch.get_num_threads()

    def run_benchmarks(*args: str) -> pytest.RunResult:
        try:
            return project.runpytest_inprocess("benchmarks", *args)
        finally:
            torch.set_num_threads(threads)

    return run_benchmarks


@pytest.fixture
def saved(project: pytest.Pytester) -> Callable[[], dict[str, dict[str, Any]]]:
    """Benchmarks of `--benchmark-json=out.json`, by name."""

    def read() -> dict[str, dict[str, Any]]:
        benchmarks = json.loads((project.path / "out.json").read_text())["benchmarks"]
        return {benchmark["name"]: benchmark for benchmark in benchmarks}

    return read


@pytest.fixture
def remote(project: pytest.Pytester) -> Callable[..., None]:
    """Writes remote.toml, an endpoint at a URL."""

    def write(url: str, **fields: Any) -> None:
        lines = [f"{name} = {json.dumps(value)}" for name, value in {"url": url, "requests": 20, **fields}.items()]
        (project.path / "remote.toml").write_text("\n".join(lines) + "\n[price]\nper_call = 0.002\n")

    return write


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr("fixtures.clock.perf_counter", lambda: made.now_us / 1e6)
    monkeypatch.setattr("fixtures.clock.sleep", made.sleep)
    return made


@pytest.fixture
def record() -> Record:
    """A plausible record to vary with `dataclasses.replace`."""
    return RECORD


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the browser saves what it is told to."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Chrome]:
    """One for the tests of a file, since others look for processes left; skipped without one, but never in CI."""
    if found() is None:
        if os.environ.get("CI"):
            pytest.fail(NONE_FOUND)
        pytest.skip(NONE_FOUND)
    with chromium(tmp_path_factory.mktemp("profile"), downloads) as driver:
        yield driver
