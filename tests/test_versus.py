"""Two sides in alternation: the order, what is timed, what has to be equal, and the interval of their ratio."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fixtures.cases.case import Case
from fixtures.cases.family import Family, Spec
from fixtures.cases.loaded import LoadedModel
from fixtures.cases.model import Model
from fixtures.cases.variants import Variant
from fixtures.devices.cpu import Cpu
from fixtures.devices.process_flags import ProcessFlags
from fixtures.inputs.batches import Call, PromptBatches
from fixtures.measure.alternation import Side, Terms, alternate
from fixtures.measure.loading import Shelf
from fixtures.measure.turns import Times, Turn, checked_turns
from fixtures.measure.versus import process_sd
from fixtures.stats.estimates import speedup_of, speedup_of_processes
from tests.test_settings import parsed

TERMS = Terms(inputs="a" * 64, samples=200, batch=8, rows_a_call=8, imgsz=224, seed=42, threads=2)


class Clock(Cpu):
    """A device whose clock moves only when a side is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.__dict__["now"] = 0.0
        monkeypatch.setattr("fixtures.measure.alternation.clock.perf_counter", lambda: self.now)

    now: float

    def new_clock(self) -> Callable[[], float]:
        return lambda: self.now

    def side(self, name: str, seconds: float, log: list[str]) -> Side:
        def call() -> None:
            self.__dict__["now"] += seconds
            log.append(name)

        loaded = LoadedModel(Model(nn.Identity(), "random:0"), torch.float32, 0.0, 0, None, None)
        return Side(loaded, call, [Call((), {})], TERMS)


def test_sides_alternate_and_every_turn_begins_with_untimed_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    clock = Clock(monkeypatch)
    base, head = clock.side("a", 0.030, log), clock.side("b", 0.008, log)
    times = alternate(base, head, clock, lambda pair_s: 4, lambda *_: None)
    assert times.base_s == pytest.approx([0.030] * 4)
    assert times.head_s == pytest.approx([0.008] * 4)
    assert times.base_alone_s == pytest.approx([0.030] * 2)
    assert times.head_alone_s == pytest.approx([0.008] * 2)
    # Twice each, to see how long they take; each alone; A BB AA BB A; each alone; each turn after 20 ms untimed.
    turn = {"a": "a", "b": "bbb"}
    order = ["a", "b", "a", "bb", "aa", "bb", "a", "b", "a"]
    assert "".join(log) == "aabb" + "".join(turn[timed[0]] + timed for timed in order)


def test_long_calls_are_not_repeated_untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    clock = Clock(monkeypatch)
    alternate(clock.side("a", 3.0, log), clock.side("b", 1.5, log), clock, lambda pair_s: 4, lambda *_: None)
    assert "".join(log) == "aabb" + "abbaabba"


def test_rounds_are_even_and_no_fewer_than_four(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    for planned, expected in ((1, 4), (7, 8)):
        sides = clock.side("a", 0.1, []), clock.side("b", 0.1, [])
        times = alternate(*sides, clock, lambda pair_s, planned=planned: planned, lambda *_: None)
        assert (len(times.base_s), len(times.head_s)) == (expected, expected)


def test_every_a_b_b_a_is_whole_whatever_runs_alone_in_between() -> None:
    for rounds in range(4, 60, 2):
        schedule = list(checked_turns("a", "b", rounds, checks=True))
        paired = [turn for turn in schedule if not turn.alone]
        assert [sum(t.rounds for t in paired if t.side == side) for side in "ab"] == [rounds, rounds]
        played = "".join(turn.side * turn.rounds for turn in paired)
        assert {played[i : i + 4] for i in range(0, len(played), 4)} == {"abba"}
        alone = [sum(t.rounds for t in schedule if t.side == side and t.alone) for side in "ab"]
        assert alone[0] == alone[1] >= rounds // 3
        assert schedule[0].alone
        assert schedule[-1].alone


def test_times_of_a_schedule_are_told_apart() -> None:
    schedule = [Turn("a", 1, alone=True), Turn("b", 2, alone=True), Turn("a", 1), Turn("b", 2), Turn("a", 1)]
    times = Times.of("a", "b", schedule, {"a": [9.0, 1.0, 2.0], "b": [8.0, 7.0, 3.0, 4.0]})
    assert times == Times((1.0, 2.0), (3.0, 4.0), (9.0,), (8.0, 7.0))


@pytest.mark.parametrize(
    ("base_alone", "head_alone", "said"),
    [
        (0.0101, 0.0050, None),
        (0.0094, 0.0050, "eager takes 10.0 ms beside the other side and 9.40 ms alone; more than 5 % apart"),
        (0.0106, 0.0050, "eager takes 10.0 ms beside the other side and 10.6 ms alone; more than 5 % apart"),
        (0.0100, 0.0028, "openvino takes 5.00 ms beside the other side and 2.80 ms alone; more than 5 % apart"),
    ],
)
def test_a_side_that_is_not_itself_beside_the_other_is_named(
    base_alone: float, head_alone: float, said: str | None
) -> None:
    """OpenVINO beside eager in one process: 2.8 ms became 5, and the speed-up half of what it is."""
    times = Times((0.01,) * 9, (0.005,) * 9, (base_alone,) * 5, (head_alone,) * 5)
    assert times.disturbed("eager", "openvino") == said


def test_what_few_unsteady_rounds_cannot_tell_is_no_disturbance() -> None:
    times = Times((0.010, 0.011, 0.014, 0.020), (0.005,) * 4, (0.0105, 0.0102), (0.005,) * 2)
    assert np.median(times.base_s) > 1.1 * np.median(times.base_alone_s)
    assert times.disturbed("eager", "openvino") is None


def test_one_wild_round_neither_disturbs_a_side_nor_hides_that_it_is() -> None:
    """What is compared is the p50."""
    steady = (0.010, 0.0101) * 10
    assert Times((0.100, *steady), steady, steady, (*steady, 0.100)).disturbed("a", "b") is None
    slower = (0.012, 0.0121) * 10
    assert Times((0.100, *slower), steady, (0.100, *steady), steady).disturbed("a", "b") is not None


def test_weights_change_their_place_on_the_way_and_keep_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    net = nn.Linear(64, 64)
    before, places = net.weight.detach().clone(), set()
    sides = [
        replace(clock.side(name, 0.1, []), loaded=LoadedModel(Model(net, "r"), torch.float32, 0.0, 0, None, None))
        for name in "ab"
    ]
    alternate(sides[0], sides[1], clock, lambda pair_s: 32, lambda *_: places.add(net.weight.data_ptr()))
    assert len(places) > 1
    assert torch.equal(net.weight, before)
    assert not net.weight.is_inference()


def test_every_turn_gets_the_switches_of_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    clock = Clock(monkeypatch)

    def side(name: str) -> Side:
        made = clock.side(name, 3.0, log)
        monkeypatch.setattr(type(made.loaded), "enter", lambda loaded: log.append(loaded.model.weights))
        return replace(made, loaded=replace(made.loaded, model=Model(nn.Identity(), name.upper())))

    alternate(side("a"), side("b"), clock, lambda pair_s: 4, lambda *_: None)
    called = [name for name in log if name.islower()]
    entered = [name.lower() for name in log if name.isupper()]
    assert set(called) == {"a", "b"}
    current = ""
    for name in log:
        if name.isupper():
            current = name.lower()
        else:
            assert name == current
    assert len(entered) >= 5


def test_a_model_loaded_beside_is_made_outside_inference_mode() -> None:
    """Parameters made in inference mode are dispatched faster: the comparison would be of that."""
    family = Family("toy", "nothing", (1,), "forward", (), lambda spec, build: Model(nn.Linear(2, 2), "random:0"))
    case = Case(family, Spec("toy", 8, 1), Variant("fp32"), 1, 8)
    with torch.inference_mode(), Shelf(Cpu(), parsed()).beside(case) as loaded:
        assert not loaded.model.module.weight.is_inference()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": "b" * 64}, "inputs aaaaaaaaaaaa -> bbbbbbbbbbbb"),
        ({"samples": 8}, "samples 200 -> 8"),
        ({"batch": 1}, "batch 8 -> 1"),
        ({"rows_a_call": 1}, "rows a call 8 -> 1"),
        ({"imgsz": 256}, "imgsz 224 -> 256"),
        ({"seed": 0}, "seed 42 -> 0"),
        ({"threads": 1}, "threads 2 -> 1"),
    ],
)
def test_whatever_differs_is_named(change: dict[str, Any], said: str) -> None:
    assert replace(TERMS, **change).unlike(TERMS) == [said]
    assert TERMS.unlike(TERMS) == []


def test_other_weights_are_named() -> None:
    assert Model(nn.Identity(), "random:1").unlike(Model(nn.Identity(), "random:0")) == ["weights random:0 -> random:1"]


def test_each_side_gets_back_the_switches_it_was_loaded_with() -> None:
    before = ProcessFlags.now()
    try:
        fp32 = {**before.fp32, "mkldnn.matmul": "bf16", "cuda.matmul": "tf32"}
        changed = replace(before, threads=before.threads + 1, cudnn_benchmark=not before.cudnn_benchmark, fp32=fp32)
        changed.apply()
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"  # a CPU's too
        assert torch.get_num_threads() == before.threads + 1
        assert torch.backends.cudnn.benchmark is not before.cudnn_benchmark
    finally:
        before.apply()
    assert ProcessFlags.now() == before
    assert torch.backends.mkldnn.matmul.fp32_precision != "bf16"


def test_a_constant_ratio_is_found_exactly() -> None:
    found = speedup_of([2.0] * 40, [1.0] * 40)
    assert found.ratio == pytest.approx(2.0)
    assert found.low < 2.0 < found.high
    assert found.high - found.low < 0.05


def test_a_drift_cancels() -> None:
    """A machine that slows down steadily slows both sides: in A B B A the ratio stays."""
    order = [side for block in range(20) for side in ("a", "b", "b", "a")]
    seconds: dict[str, list[float]] = {"a": [], "b": []}
    for step, side in enumerate(order):
        seconds[side].append((1.5 if side == "a" else 1.0) * 1.05**step)
    found = speedup_of(seconds["a"], seconds["b"])
    assert found.ratio == pytest.approx(1.5, rel=1e-9)
    assert found.high - found.low < 0.03  # nothing is left of it in the interval either


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        base, head = np.exp(rng.normal(0, 0.03, (2, 60)))
        found = speedup_of(1.3 * base, head)
        held += found.low <= 1.3 <= found.high
    assert held >= 0.93 * 400


def test_two_processes_on_a_busy_machine_are_known_as_well_as_flagged_ones() -> None:
    """One of the two may wait for a processor for as long as it lives; in one process both sides do."""
    known = [process_sd(apart=False, busy=True), process_sd(apart=True, busy=False), process_sd(apart=True, busy=True)]
    found = [speedup_of([2.0] * 400, [1.0] * 400, sd) for sd in known]
    widths = [math.log(each.high / each.low) / 2 / 1.96 for each in found]
    assert widths[0] < 0.003
    assert widths[1] == pytest.approx(0.012, rel=0.1)
    assert widths[2] == pytest.approx(math.hypot(0.06, 0.06), rel=0.1)


def test_few_rounds_have_a_wide_interval() -> None:
    few, many = speedup_of([2.0] * 4, [1.0] * 4), speedup_of([2.0] * 100, [1.0] * 100)
    assert few.high - few.low > 3 * (many.high - many.low)


def test_processes_are_pooled_by_process() -> None:
    found = speedup_of_processes([1.2, 1.3, 1.25])
    assert found.ratio == pytest.approx((1.2 * 1.3 * 1.25) ** (1 / 3))
    assert found.low < 1.2 < 1.3 < found.high


def test_prompts_are_the_same_on_every_platform() -> None:
    batches = PromptBatches.of(("a", "b", "c", "d", "e"), 2, 42)
    assert [batches.take(i).args[0] for i in range(3)] == [["e", "c"], ["d", "b"], ["a", "e"]]
    assert batches.take(0).args[1] == 42
    assert batches.digest == PromptBatches.of(("a", "b", "c", "d", "e"), 3, 42).digest
    assert batches.digest != PromptBatches.of(("a", "b", "c", "d", "e"), 2, 43).digest
