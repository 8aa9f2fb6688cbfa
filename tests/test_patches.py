"""Ten things that people add, each a patch: what each touches, and that nothing else is needed for it to work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PATCHES = Path(__file__).parent / "patches"
# Files that each may touch, and what is to be true then, in a process of its own.
ADDED = {
    "model_family": (
        {"fixtures/models/tinynet.py", "benchmarks/test_tinynet.py"},
        "import pytest; sys.exit(pytest.main(['benchmarks', '-k', 'tinynet', '--iters=3', '--num-images=2', '-q']))",
    ),
    "option": (
        {"fixtures/options.py"},
        "from fixtures.options import OPTIONS; from fixtures.config.option import child_arguments; "
        "from pathlib import Path; from tools import docs; "
        "assert '| --cooldown | S | Seconds of rest before each case. |' in docs.options(); "
        "assert child_arguments(OPTIONS, {'cooldown': '3'}.get, Path()) == ['--cooldown=3']",
    ),
    "field": (
        {"fixtures/record/groups.py"},
        "from fixtures.judge.rules import parse_rule; from fixtures.show.table import parse_columns; "
        "from fixtures.judge.budgets import BudgetError; from tools import docs; "
        "assert str(parse_rule('latency_p999_ms:5%')) == 'latency_p999_ms:5%'; "
        "assert [each.name for each in parse_columns('latency_p999_ms')] == ['latency_p999_ms']; "
        "assert '| latency_p999_ms | float or None | ms | time | less |' in docs.record_fields(); "
        "from fixtures.record.record import MEASURED_NUMBERS; assert 'latency_p999_ms' in MEASURED_NUMBERS",
    ),
    "runtime": (
        {"fixtures/cases/runtimes.py", "fixtures/runtimes/jit_runtime.py"},
        "import torch; from torch import nn; from fixtures.cases.model import Model; "
        "from fixtures.cases.variants import Variant, parse_runtimes; from fixtures.devices.cpu import Cpu; "
        "from fixtures.runtimes.graph import Graph; assert parse_runtimes('--runtime', 'jit') == ('jit',); "
        "net = nn.Linear(3, 2).eval().requires_grad_(False); x = torch.rand(4, 3); "
        "graph = Graph(Model(net, 'random:0'), net.forward, Variant('fp32', 'jit'), Cpu(), 1); "
        "assert torch.allclose(graph(x), net(x))",
    ),
    "exit_code": (
        {"fixtures/exits.py"},
        "from fixtures.exits import Exit, ranked; assert ranked(0, [Exit.NOTHING, Exit.THROTTLED, Exit.INVALID]) == 7",
    ),
    "percentile_rule": (
        {"fixtures/stats/percentiles.py"},
        "from fixtures.stats.percentiles import latency_of; latency = latency_of([1.0] * 60); "
        "assert latency.latency_p90_ms == 1.0; assert latency.latency_p95_ms is None",
    ),
    "format": (
        {"fixtures/report/exports/influx.py"},
        "from fixtures.__main__ import main; assert main(['report', 'run.json', '--export=influx']) == 0; "
        "assert 'latency,model=clip-vit-b32 p50_ms=' in open('results/influx.txt').read()",
    ),
    "budget": (
        {"fixtures/judge/budgets.toml"},
        "from fixtures.judge.budgets import built_in; assert built_in()['kiosk'].limits[0].number == 250.0",
    ),
    "device": (
        {"fixtures/devices/xpu.py", "fixtures/devices/choose.py"},
        "from fixtures.devices.choose import parse_device; found = parse_device('xpu', 0); assert found.name == 'xpu'; "
        "from fixtures.cases.variants import Variant; "
        "assert Variant('fp32', 'cudagraph').missing_on(found) == '--runtime: CUDA graphs need an NVIDIA GPU'",
    ),
    "chart": (
        {"fixtures/report/charts/draw.py"},
        "from pathlib import Path; from fixtures.record.saved import read_saved; "
        "from fixtures.report.charts.draw import pictures; from fixtures.report.contents import contents; "
        "names = [name for name, _ in pictures(contents([read_saved(Path('run.json'))]))]; assert 'flops.svg' in names",
    ),
}


def test_every_patch_is_tried() -> None:
    assert {path.stem for path in PATCHES.glob("*.patch")} == ADDED.keys()


@pytest.mark.parametrize("name", ADDED)
def test_it_touches_only_what_it_has_to(name: str) -> None:
    touched = re.findall(r"^\+\+\+ b/(.+)$", (PATCHES / f"{name}.patch").read_text(), re.MULTILINE)
    assert set(touched) == ADDED[name][0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ADDED)
def test_with_that_it_works(name: str, tmp_path: Path) -> None:
    for part in ("fixtures", "benchmarks", "tools"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pytest.ini", tmp_path)
    shutil.copy(ROOT / "results" / "0001_cpu-amd-epyc_torch2.14.1_20261128.json", tmp_path / "run.json")
    subprocess.run(["git", "apply", str(PATCHES / f"{name}.patch")], cwd=tmp_path, check=True)
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, '.'); {ADDED[name][1]}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
