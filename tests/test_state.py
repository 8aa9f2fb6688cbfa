"""Nothing that a model does to its process reaches the next case."""

from __future__ import annotations

import json

import pytest

from tests.conftest import no_traceback

LINEAR = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(192, 4)
    def forward(self, x):
        self.spoil()
        return self.linear(x.flatten(1))
    def spoil(self):
        pass
"""

CLOCK = """
import time, sys, builtins, random, atexit
time.perf_counter = time.monotonic = lambda: -1e6
builtins.ascii = lambda *_: 7
sys.setrecursionlimit(5000)
import torch
@atexit.register
def at_the_end():
    pass
class Clock(Net):
    def forward(self, x):
        y = self.linear(x.flatten(1))
        return y if torch.rand(()) < 0.5 else y + self.linear(x.flatten(1))
"""

TORCH = """
import torch
import torch.nn.functional as F
def torches():
    net = Net()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    linear = F.linear
    F.linear = lambda *args: linear(*args)
    nn.Module.register_buffer = nn.Module.register_parameter
    torch.matmul = torch.mm
    nn.Linear.__call__ = lambda self, x: self.forward(x)
    nn.modules.module.register_module_forward_hook(lambda *_: None)
    return net
"""

PROCESS = """
import gc, locale, logging, os, signal, sys, threading, time, warnings
class Process(Net):
    def spoil(self):
        if hasattr(self, "thread"):
            return
        self.thread = threading.Thread(target=time.sleep, args=(600,), name="forever")
        self.thread.start()
        sys.stdout.close()
        sys.__stderr__.close()
        sys.stdout = sys.stderr = open(os.devnull, "w")
        del sys.modules["json"]
        os.chdir("/")
        os.environ["SPOILT"] = "1"
        os.umask(0)
        os.close(1)
        sys.path.insert(0, "/spoilt")
        warnings.simplefilter("error")
        logging.disable(logging.CRITICAL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.setprofile(lambda *_: None)
        gc.disable()
        gc.freeze()
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
"""

AFTER = """
import builtins, gc, json, logging, os, signal, sys, threading, time, warnings
import torch
import torch.nn.functional as F
class After(Net):
    def __init__(self):
        super().__init__()
        module = nn.modules.module
        seen = dict(
            clock=time.perf_counter() > 0 and time.monotonic() > 0,
            builtins=builtins.ascii(1) == '1',
            recursion=sys.getrecursionlimit() != 5000,
            functions=F.linear.__module__ != __name__ and torch.matmul is not torch.mm,
            classes="__call__" not in vars(nn.Linear) and nn.Module.register_buffer is not nn.Module.register_parameter,
            hooks=not module._global_forward_hooks,
            dtype=torch.get_default_dtype() == torch.float32,
            deterministic=not torch.are_deterministic_algorithms_enabled(),
            threads=torch.get_num_threads() == 2,
            streams="null" not in str(getattr(sys.stdout, "name", "")),
            folder=os.getcwd() != "/",
            environment="SPOILT" not in os.environ,
            umask=os.umask(0o22) != 0,
            path="/spoilt" not in sys.path,
            filters=not any(each[0] == "error" and each[2] is Warning for each in warnings.filters),
            logging=logging.root.manager.disable == 0,
            signals=signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN,
            profile=sys.getprofile() is None,
            modules="json" in sys.modules,
            affinity=len(os.sched_getaffinity(0)) == ALLOWED,
        )
        os.fstat(1)
        wrong = [name for name, right in seen.items() if not right]
        if wrong:
            raise RuntimeError(f"spoilt: {wrong}")
"""


@pytest.mark.slow
def test_what_a_model_changes_is_told_and_put_back(project: pytest.Pytester) -> None:
    """One process for all; it ends, although a thread goes on."""
    import os

    for name, text in (("clock", CLOCK), ("torches", TORCH), ("process", PROCESS), ("after", AFTER)):
        text = text.replace("ALLOWED", str(len(os.sched_getaffinity(0))))
        (project.path / f"bad_{name}.py").write_text(LINEAR + text)
    models = [f"--model=bad_{name}.py:{of}" for name, of in (("clock", "Clock"), ("torches", "torches"))]
    models += ["--model=bad_process.py:Process", "--model=bad_after.py:After"]
    exact = ("--imgsz=8", "--batch=1,2", "--warmup=1", "--iters=3", "--threads=2", "--benchmark-json=out.json")
    result = project.runpytest_subprocess("benchmarks", "-k", "test_forward and custom", *models, *exact, timeout=120)
    no_traceback(result)
    result.assert_outcomes(passed=8)
    cases = {
        each["name"]: each["extra_info"] for each in json.loads((project.path / "out.json").read_text())["benchmarks"]
    }
    notes = {name: " ".join(info["notes"]) for name, info in cases.items()}
    assert all(0 < info["first_call_ms"] < 6e4 and 0 < info["load_s"] < 60 for info in cases.values())
    for batch in (1, 2):  # it is told of each of a model's cases, which all run as the model left the process
        assert cases[f"test_forward[torches-fp32-b{batch}-8]"]["threads"] == 1
        assert "threads: the model set 1, 2 were asked for" in notes[f"test_forward[torches-fp32-b{batch}-8]"]
        for told in ("torch.matmul", "torch.nn.functional.linear", "torch.nn.Linear.__call__", "default dtype"):
            assert told in notes[f"test_forward[torches-fp32-b{batch}-8]"]
        assert "varies: gmacs, gflops, " in notes[f"test_forward[Clock-fp32-b{batch}-8]"]
        assert "a handler at exit: at_the_end" in notes[f"test_forward[Clock-fp32-b{batch}-8]"]
        assert "time.perf_counter" in notes[f"test_forward[Clock-fp32-b{batch}-8]"]
        for told in (
            "sys.stdout",
            "the working directory",
            "os.environ (SPOILT)",
            "file descriptor 1",
            "SIGTERM",
            "gc.freeze",
            "sys.modules (json)",
        ):
            assert told in notes[f"test_forward[Process-fp32-b{batch}-8]"]
        assert "forever); run with --isolate" in notes[f"test_forward[Process-fp32-b{batch}-8]"]
        assert "process:" not in notes[f"test_forward[After-fp32-b{batch}-8]"]
        assert cases[f"test_forward[After-fp32-b{batch}-8]"]["threads"] == 2
    result.stdout.fnmatch_lines(["Clock changed, put back after its cases: *time.perf_counter*"])
    result.stdout.no_fnmatch_line("After changed*")
