"""Two sides in alternation: the order, what is timed, what has to be equal, what agreement is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fixtures.batches import Call, PromptBatches
from fixtures.case import Case
from fixtures.device import Cpu
from fixtures.loading import LoadedModel, Shelf
from fixtures.measure.agreement import Agreement, same_boxes
from fixtures.measure.alternation import Side, Terms, alternate
from fixtures.models.family import Family, Spec
from fixtures.models.model import Model
from fixtures.models.yolo import Yolo
from fixtures.process_flags import ProcessFlags
from fixtures.readout.estimates import speedup_of, speedup_of_processes
from fixtures.runtimes.graph import Graph, Runner, Traceable, in_batches_of
from fixtures.variants import UnavailableError, Variant
from tests.test_settings import parsed

TERMS = Terms(inputs="a" * 64, samples=200, batch=8, rows_a_call=8, imgsz=224, seed=42, threads=2)


class Clock(Cpu):
    """A device whose clock moves only when a side is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.__dict__["now"] = 0.0
        monkeypatch.setattr("fixtures.measure.alternation.time.perf_counter", lambda: self.now)

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
    base_s, head_s = alternate(base, head, clock, lambda pair_s: 4, lambda *_: None)
    assert base_s == pytest.approx([0.030] * 4)
    assert head_s == pytest.approx([0.008] * 4)
    # Twice each to see how long they take; then A BB AA B, each turn after 20 ms of its own untimed calls.
    assert "".join(log) == "aabb" + "a" + "a" + "bbb" + "bb" + "a" + "aa" + "bbb" + "bb" + "a" + "a"


def test_long_calls_are_not_repeated_untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    clock = Clock(monkeypatch)
    alternate(clock.side("a", 3.0, log), clock.side("b", 1.5, log), clock, lambda pair_s: 4, lambda *_: None)
    assert "".join(log) == "aabb" + "abbaabba"


def test_rounds_are_even_and_no_fewer_than_four(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    for planned, expected in ((1, 4), (7, 8)):
        sides = clock.side("a", 0.1, []), clock.side("b", 0.1, [])
        base_s, head_s = alternate(*sides, clock, lambda pair_s, planned=planned: planned, lambda *_: None)
        assert (len(base_s), len(head_s)) == (expected, expected)


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


def test_known_inputs_are_cut_anew_for_a_graph_of_another_batch() -> None:
    known = [((torch.arange(4.0).reshape(4, 1) + 4 * i,), {"mask": torch.ones(4, 1) * i}) for i in range(2)]
    like = ((torch.zeros(3, 1),), {"mask": torch.zeros(3, 1)})
    found = in_batches_of(like, known)
    assert [arguments[0][0].flatten().tolist() for arguments in found] == [[0, 1, 2], [3, 4, 5]]
    assert found[1][1]["mask"].flatten().tolist() == [0, 1, 1]
    assert in_batches_of(like, []) == [like]
    larger = ((torch.zeros(9, 1),), {"mask": torch.zeros(9, 1)})
    assert in_batches_of(larger, known) == [larger]


def test_int8_takes_its_ranges_from_the_inputs_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Same(Runner):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            return x

    seen: list[float] = []

    def convert(given: Traceable) -> Runner:
        seen.extend(float(arguments[0][0]) for arguments in given.calibration)
        return Same()

    monkeypatch.setattr("fixtures.runtimes.onnx_runtime.convert", convert)
    graph = Graph(Model(nn.Identity(), "r"), nn.Identity().forward, Variant("int8", "onnxruntime"), Cpu(), 1)
    graph.calibrate = lambda: [((torch.tensor([[2.0]]),), {}), ((torch.tensor([[3.0]]),), {})]
    graph(torch.tensor([[1.0]]))
    assert seen == [2.0, 3.0]


def test_a_precision_that_openvino_would_replace_is_refused(runtimes: None) -> None:
    import openvino

    if "FP16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes in fp16")
    net = nn.Linear(4, 4).eval()
    graph = Graph(Model(net, "r"), net.forward, Variant("fp16", "openvino"), Cpu(), 1)
    with pytest.raises(UnavailableError, match=r"fp16-openvino: this CPU would run \w+ instead"):
        graph(torch.rand(1, 4))


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
        changed = {"cudnn_benchmark": not before.cudnn_benchmark, "matmul_precision": "medium"}
        replace(before, threads=before.threads + 1, **changed).apply()  # type: ignore[arg-type]
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"  # a CPU's too
        assert torch.get_num_threads() == before.threads + 1
        assert torch.backends.cudnn.benchmark is not before.cudnn_benchmark
    finally:
        before.apply()
    assert ProcessFlags.now() == before
    assert torch.backends.mkldnn.matmul.fp32_precision != "bf16"


def agreement_of(outputs: Any, references: Any, batch: int = 2) -> dict[str, Any]:
    found = Agreement(Model(nn.Identity(), "random:0"), "forward")
    found.add(outputs, references, batch)
    return found.fields()


def test_agreement_by_hand() -> None:
    reference = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    found = agreement_of(torch.tensor([[3.0, 4.0], [1.0, 1.0]]), reference)
    assert found["agreement_count"] == 2
    assert found["agreement_cosine_min"] == pytest.approx(1 / math.sqrt(2))
    assert found["agreement_cosine_mean"] == pytest.approx((1 + 1 / math.sqrt(2)) / 2)
    assert found["agreement_max_abs"] == 1.0
    assert found["agreement_max_rel"] == 0.25


def test_the_worst_tensor_of_a_sample_counts() -> None:
    good, bad = torch.ones(2, 3), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    found = agreement_of((good, bad), (good, -bad))
    assert found["agreement_cosine_min"] == -1.0


def test_outputs_of_zeros_agree_with_zeros_only() -> None:
    zeros = torch.zeros(2, 3)
    assert agreement_of(zeros, zeros)["agreement_cosine_min"] == 1.0
    assert agreement_of(zeros, torch.ones(2, 3))["agreement_cosine_min"] == 0.0


def test_whole_numbers_scalars_and_nothing_can_be_compared() -> None:
    tokens = torch.tensor([[1, 2], [3, 4]])
    assert agreement_of(tokens, tokens)["agreement_cosine_min"] == 1.0
    rows = torch.ones(2, 3)
    assert agreement_of({"a": rows, "b": torch.tensor(2.0)}, {"a": rows, "b": torch.tensor(2.0)})["agreement_finite"]
    assert agreement_of(torch.ones(0, 6), torch.ones(0, 6))["agreement_count"] == 2


def test_nan_is_told_and_no_number_is_made_of_it() -> None:
    found = agreement_of(torch.tensor([[float("nan"), 1.0], [1.0, 1.0]]), torch.ones(2, 2))
    assert found == {"agreement_count": 2, "agreement_finite": False}


def test_other_shapes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match=r"outputs have other shapes: \(2, 3\) against \(2, 4\)"):
        agreement_of(torch.ones(2, 3), torch.ones(2, 4))


def test_the_same_boxes() -> None:
    mine = torch.tensor([[0, 0, 10, 10, 0.9, 1], [20, 20, 30, 30, 0.8, 2]])
    assert same_boxes(mine, mine) == 1.0
    assert same_boxes(mine, mine[:1]) == pytest.approx(2 / 3)
    assert same_boxes(mine, torch.cat([mine[:, :5], torch.tensor([[7], [7]])], 1)) == 0.0  # other classes
    assert same_boxes(mine[:0], mine[:0]) == 1.0
    assert same_boxes(mine, mine[:0]) == 0.0
    shifted = mine + torch.tensor([6, 0, 6, 0, 0, 0])  # overlap 40 of 160
    assert same_boxes(mine, shifted) == 0.0


def test_one_box_matches_once() -> None:
    one = torch.tensor([[0, 0, 10, 10, 0.9, 1]])
    assert same_boxes(torch.cat([one, one]), one) == pytest.approx(2 / 3)


def test_the_decoding_of_a_detector_is_undone() -> None:
    """Anchors make boxes in pixels agree whatever the head says; its own numbers come back exactly."""
    from ultralytics.utils.tal import dist2bbox, make_anchors

    head = nn.Module()
    head.reg_max, head.stride = 16, torch.tensor([8.0, 16.0, 32.0])
    maps = [torch.zeros(1, 1, side, side) for side in (8, 4, 2)]
    head.anchors, head.strides = (each.transpose(0, 1) for each in make_anchors(maps, head.stride, 0.5))
    module = nn.Module()
    module.model, module.task, module.names = nn.ModuleList([head]), "detect", {}
    sides, logits = torch.rand(2, 4, 84) * 15, torch.randn(2, 80, 84)
    boxes = dist2bbox(sides, head.anchors.unsqueeze(0), xywh=True, dim=1) * head.strides
    output = torch.cat([boxes, logits.sigmoid()], 1)
    found_sides, found_logits = Yolo(module, "random:0", torch.float32).compared("forward", output)
    torch.testing.assert_close(found_sides, sides - 7.5, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found_logits, logits, atol=1e-3, rtol=1e-3)


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
