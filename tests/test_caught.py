"""Honest mistakes, and what is no number of the model: caches, memory of others, pages that the system gives anew."""

from __future__ import annotations

from typing import Any

import pytest

from fixtures.devices.cpu import Cpu
from fixtures.inputs.batches import Call
from fixtures.measure.unseen import answers_from_cache
from tests.conftest import OWN, Run, Saved, info_of

CACHING = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, caches):
        super().__init__()
        self.caches, self.kept = caches, {}
    def forward(self, x):
        key = float(x.sum())
        if self.caches and key in self.kept:
            return self.kept[key]
        work = torch.ones(700, 700) @ torch.ones(700, 700)
        self.kept[key] = x + work[0, 0]
        return self.kept[key]
def rows(batch, imgsz, generator):
    return torch.rand(batch, 4, generator=generator)
def caches():
    return Net(True), rows
def computes():
    return Net(False), rows
"""


def test_a_cache_that_answers_inputs_it_has_seen_is_flagged(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    """8 distinct inputs, round and round: 0.009 ms for what takes 20."""
    (project.path / "cache.py").write_text(CACHING)
    models = ("--model=cache.py:caches", "--model=cache.py:computes")
    run("-k", "custom", *models, "--batch=1", "--warmup=9", "--iters=9", "--benchmark-json=out.json")
    flags = {case["extra_info"]["model"]: case["extra_info"]["flags"] for case in saved().values()}
    assert "answers_from_cache" in flags["caches"]
    assert "answers_from_cache" not in flags["computes"]


class Slow:
    """Batches and a call whose clock moves as it is told."""

    def __init__(self, *seconds: float) -> None:
        self.now_s, self._seconds = 0.0, iter(seconds)

    def unseen(self, index: int) -> Call:
        return Call((), {})

    def __call__(self) -> None:
        self.now_s += next(self._seconds)


@pytest.mark.parametrize(
    ("seconds", "slowest_s", "cached"),
    [
        ((0.02, 0.02, 0.02), 0.001, True),
        ((0.02, 0.02, 0.002), 0.001, False),  # one that was as quick shows that the others waited
        ((0.02, 0.02, 0.02), 0.03, False),  # a round of the same work took as long: the machine is busy
    ],
)
def test_what_a_busy_machine_does_is_no_cache(
    monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], slowest_s: float, cached: bool
) -> None:
    slow: Any = Slow(*seconds)
    monkeypatch.setattr("fixtures.measure.unseen.clock.perf_counter", lambda: slow.now_s)
    assert answers_from_cache(slow, [slow], Cpu(), 0.001, slowest_s) is cached


@pytest.mark.slow
def test_memory_has_a_place_only_in_a_process_of_its_own(run: Run, saved: Saved) -> None:
    """Which of two models came first decided which was the larger."""
    run(*OWN, "--benchmark-json=out.json").assert_outcomes(passed=1)
    info = info_of(saved)
    assert info["process_of_its_own"] is True
    assert info["host_increment_bytes"] == max(0, info["peak_host_bytes"] - info["host_before_bytes"])
    result = run(*OWN, "--model=tiny.py:five", "--gate=peak_host_bytes<=1", "--benchmark-json=out.json")
    assert {case["extra_info"]["process_of_its_own"] for case in saved().values()} == {False}
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*peak_host_bytes: its process held other models too*--isolate*"])
    assert run(*OWN, "--gate=peak_host_bytes<=1").ret == 1


FAULTING = """
import ctypes
import mmap
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, pages):
        super().__init__()
        self.pages = pages
    def forward(self, x):
        if self.pages:
            with mmap.mmap(-1, self.pages * mmap.PAGESIZE) as memory:
                for page in range(self.pages):
                    memory[page * mmap.PAGESIZE] = 1
        return x + 1
def rows(batch, imgsz, generator):
    return torch.rand(batch, 4, generator=generator)
def faults():
    return Net(3000), rows
def calm():
    return Net(0), rows
"""


def test_a_case_that_still_faults_after_the_warm_up_says_so(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    """A fresh process took 5,700 page faults a call, and three times the time, until one block had been freed."""
    (project.path / "faulting.py").write_text(FAULTING)
    models = ("--model=faulting.py:faults", "--model=faulting.py:calm")
    run("-k", "custom", *models, "--batch=1", "--warmup=2", "--iters=5", "--benchmark-json=out.json")
    cases = {case["extra_info"]["model"]: case["extra_info"] for case in saved().values()}
    assert 3000 <= cases["faults"]["page_faults_per_call"] < 4000
    assert cases["calm"]["page_faults_per_call"] < 200
    told = {name: any("after the warm-up" in note for note in info["notes"]) for name, info in cases.items()}
    assert told == {"faults": True, "calm": False}
