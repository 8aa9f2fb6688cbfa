"""Threads that spin are waited out before a timed pass, and torch's stay asleep where others compute."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from fixtures.measure.rest import torch_threads_asleep, wait_until_idle


class Spinning:
    """A process whose threads spin for so many glances."""

    def __init__(self, glances: int) -> None:
        self.glances, self.now_s, self.used_s = glances, 0.0, 0.0

    def perf_counter(self) -> float:
        return self.now_s

    def process_time(self) -> float:
        return self.used_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        if self.glances:
            self.used_s += seconds
            self.glances -= 1


@pytest.mark.parametrize(("glances", "waited_s"), [(0, 0.005), (7, 0.040), (1000, 0.5)])
def test_spinning_threads_are_waited_out_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, glances: int, waited_s: float
) -> None:
    process = Spinning(glances)
    monkeypatch.setattr("fixtures.measure.rest.clock", process)
    wait_until_idle()
    assert process.now_s == pytest.approx(waited_s, abs=0.006)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("asked", "within"), [(True, 1), (False, 2)])
def test_torch_computes_by_one_thread_only_where_it_is_asked_to(two_threads: None, asked: bool, within: int) -> None:
    with torch_threads_asleep(asked):
        assert torch.get_num_threads() == within
    assert torch.get_num_threads() == 2
