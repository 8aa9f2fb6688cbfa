"""Variants whose thread pools differ are timed in two processes: which, and how they alternate."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fixtures.cases.case import Case
from fixtures.cases.family import Family, Spec
from fixtures.cases.variants import Variant
from fixtures.measure.turns import PairError, Turn, checked_turns
from fixtures.plugins import pairs as pairs_module
from fixtures.plugins.pairs import Pairs, _Pairing
from fixtures.progress import Progress
from fixtures.record.decoding import record_from
from fixtures.run import run_of
from fixtures.workers.journal import CaseRun
from fixtures.workers.link import Finished, Ready, Rounds
from fixtures.workers.places import BASE, HEAD
from fixtures.workers.process import Command
from tests.conftest import Run, Saved
from tests.record import RECORD
from tests.test_settings import parsed

FAMILY = Family("custom", "your own", (1,), "forward", (), lambda spec, build: None)  # type: ignore[arg-type, return-value]
EAGER, ORT = Variant("fp32"), Variant("fp32", "onnxruntime")
HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("fp32-eager", "fp32-compile", True),
        ("bf16-eager", "int8-again", True),
        ("fp32-eager", "fp32-onnxruntime", False),
        ("fp32-eager", "int8-openvino", False),
        ("fp32-onnxruntime", "int8-openvino", False),
        ("fp32-openvino", "int8-openvino", True),
    ],
)
def test_only_variants_of_the_same_threads_share_a_process(one: str, other: str, shared: bool) -> None:
    variants = [Variant(*name.split("-")) for name in (one, other)]
    assert variants[0].shares_threads_with(variants[1]) is shared
    assert variants[1].shares_threads_with(variants[0]) is shared


def test_what_a_candidate_computes_by_is_not_known() -> None:
    assert not Variant("own").shares_threads_with(Variant("own"))


def case_of(variant: Variant, batch: int, baseline: Variant | None = None) -> Case:
    spec = Spec("net", 64, 1)
    base = None if baseline is None else Case(FAMILY, spec, baseline, batch, 64)
    return Case(FAMILY, spec, variant, batch, 64, baseline=base)


class Item:
    """As much of a test as is looked at."""

    def __init__(self, session: Any, case: Case, *names: str) -> None:
        self.session, self.path = session, HERE / "benchmarks" / "test_custom.py"
        self.nodeid = f"benchmarks/test_custom.py::test_forward[{case.id()}]"
        self.fixturenames = ("measure", *names)
        form = case.variant
        self.callspec = SimpleNamespace(
            params={
                "model_name": "net",
                "precision": form.precision,
                "runtime": form.runtime,
                "prune": form.prune,
                "batch": case.batch,
                "imgsz": case.imgsz,
            }
        )

    def iter_markers(self, name: str) -> list[Any]:
        return []


class ScriptedPair:
    """Stands in for two processes: both finish every case, with rounds that say whose they are and of which kind."""

    seen: list[tuple[dict[str, dict[str, str]], list[Turn]]]
    says: dict[str, Any]
    breaks: set[str]

    def __init__(self, commands: Any, names: Any, process: int, plan: Any, show: Any, agree: Any) -> None:
        self.names, self.left, self.never_started = names, list(names), set[str]()
        ready = {BASE: Ready(0.010, 1, 50), HEAD: Ready(0.004, 1, 50)}
        self.agreed = agree(ready, [])
        self.schedules = {}
        ScriptedPair.seen.append((dict(names), list(self.agreed.schedule)))

    def runs(self) -> Any:
        while self.left:
            nodeid = self.left.pop(0)
            self.schedules[nodeid] = self.agreed.schedule
            for side, call_s in ((BASE, 0.010), (HEAD, 0.004)):
                if side in self.breaks:
                    yield CaseRun(side, 0, nodeid, "crashed", "its process was ended by SIGSEGV\n    …")
                    continue
                turns = [turn for turn in self.agreed.schedule if turn.side == side]
                samples = [call_s * (2 if turn.alone else 1) for turn in turns for _ in range(turn.rounds)]
                info = {**RECORD.extra_info(), **self.says.get(side, {})}
                yield CaseRun(side, 0, nodeid, "finished", finished=Finished(nodeid, "passed", "", 1.0, info, samples))


@pytest.fixture
def items(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    ScriptedPair.seen, ScriptedPair.says, ScriptedPair.breaks = [], {}, set()
    monkeypatch.setattr(pairs_module, "Pair", ScriptedPair)
    monkeypatch.setattr(pairs_module, "command_of", lambda *_: Command("python", (), HERE, {}))
    monkeypatch.setattr(pairs_module, "suite_options", lambda *_: [])
    monkeypatch.setattr(pairs_module, "model_key", lambda item: item.callspec.params["runtime"])
    session = SimpleNamespace(items=[])
    for variant in (EAGER, ORT, Variant("fp32", "openvino")):
        session.items += [Item(session, case_of(variant, batch)) for batch in (1, 8)]
    return session.items


@pytest.fixture
def timed() -> Pairs:
    config: Any = SimpleNamespace(
        stash=pytest.Stash(), rootpath=HERE, getoption=lambda name: {"case_timeout": "600"}[name]
    )
    run_of(config).settings = parsed(threads="1")
    return Pairs(config)


def test_all_cases_of_a_variant_share_one_pair_of_processes(items: list[Any], timed: Pairs) -> None:
    line = Progress(None)
    first, _ = timed.times(items[2], case_of(ORT, 1, EAGER), line)
    second, unequal = timed.times(items[3], case_of(ORT, 8, EAGER), line)
    ((names, schedule),) = ScriptedPair.seen
    head = "benchmarks/test_custom.py::test_forward[net-fp32-b{}-64-onnxruntime]"
    base = "benchmarks/test_custom.py::test_forward[net-fp32-b{}-64]"
    assert names == {head.format(b): {HEAD: head.format(b), BASE: base.format(b)} for b in (1, 8)}
    assert first == second
    assert unequal == []
    assert set(first.base_s) == {0.010}
    assert set(first.head_s) == {0.004}
    assert set(first.base_alone_s) == {0.020}
    assert set(first.head_alone_s) == {0.008}
    assert len(first.base_s) == sum(turn.rounds for turn in schedule if turn.side == BASE and not turn.alone)
    timed.again(items[2], case_of(ORT, 1, EAGER), line)
    assert list(ScriptedPair.seen[1][0]) == [head.format(1)]


@pytest.mark.parametrize(
    ("side", "says", "expected"),
    [
        (HEAD, {"threads": 1}, "threads 2 -> 1"),
        (BASE, {"inputs_digest": "c" * 64}, f"inputs_digest {'c' * 64} -> {'a' * 64}"),
        (HEAD, {"notes": ["strayed: 10 model calls when it was looked at, 1 later"]}, "10 model calls when it was"),
        (BASE, {"notes": ["strayed: 10 model calls when it was looked at, 1 later"]}, "baseline: 10 model calls"),
    ],
)
def test_unequal_work_in_the_two_processes_is_named(
    items: list[Any], timed: Pairs, side: str, says: dict[str, Any], expected: str
) -> None:
    ScriptedPair.says = {side: says}
    _, unequal = timed.times(items[2], case_of(ORT, 1, EAGER), Progress(None))
    assert len(unequal) == 1
    assert unequal[0].startswith(expected)


@pytest.mark.parametrize("side", [BASE, HEAD])
def test_others_on_the_machine_during_either_sides_rounds_are_known(items: list[Any], timed: Pairs, side: str) -> None:
    quiet, _ = timed.times(items[2], case_of(ORT, 1, EAGER), Progress(None))
    ScriptedPair.says = {side: {"flags": ["host_busy", "unstable"]}}
    busy, _ = timed.again(items[2], case_of(ORT, 1, EAGER), Progress(None))
    assert (quiet.busy, busy.busy, (quiet + busy).busy) == (False, True, True)


def test_a_side_that_breaks_is_named_in_one_line(items: list[Any], timed: Pairs) -> None:
    ScriptedPair.breaks = {BASE}
    with pytest.raises(PairError, match=r"^its base process: its process was ended by SIGSEGV$"):
        timed.times(items[2], case_of(ORT, 1, EAGER), Progress(None))


def test_both_sides_run_equally_often_and_begin_their_turns_untimed() -> None:
    ready = {BASE: Ready(0.010, 3, 50), HEAD: Ready(0.004, 2, 99)}
    agreed = _Pairing(lambda pair_s: 40)(ready, [1])
    assert agreed.schedule == list(checked_turns(BASE, HEAD, 40, checks=True))
    iters = {side: sum(turn.rounds for turn in agreed.schedule if turn.side == side) for side in (BASE, HEAD)}
    assert agreed.rounds == {BASE: Rounds(2, iters[BASE], 2, [1]), HEAD: Rounds(2, iters[HEAD], 5, [1])}


def test_of_a_speedup_from_before_the_check_only_one_pool_is_believed() -> None:
    """YOLOv8n by OpenVINO: 2.8 beside eager in one process, 4.5 to 5.1 of each alone."""
    taken = {"speedup": 2.8, "speedup_low": 2.7, "speedup_high": 2.9, "baseline": "fp32-eager"}
    for runtime, kept in (("openvino", None), ("onnxruntime", None), ("compile", 2.8)):
        record = record_from({**RECORD.extra_info(), **taken, "runtime": runtime})
        assert record.speedup == kept
        assert any("disturb each other" in note for note in record.notes) is (kept is None)
    checked = {**RECORD.extra_info(), **taken, "runtime": "openvino", "speedup_alone_samples_ms": [1.0, 1.0]}
    assert record_from(checked).speedup == 2.8


@pytest.mark.slow
def test_two_real_processes_alternate(runtimes: None, project: pytest.Pytester, run: Run, saved: Saved) -> None:
    options = ("--runtime=onnxruntime", "--model=tiny.py:net", "--batch=1,2", "--imgsz=32", "--iters=4", "--warmup=1")
    run("-k", "custom", *options, "--benchmark-json=out.json").assert_outcomes(passed=4)
    for batch in (1, 2):
        info = saved()[f"test_forward[net-fp32-b{batch}-32-onnxruntime]"]["extra_info"]
        base_ms, head_ms = info["speedup_baseline_samples_ms"], info["speedup_samples_ms"]
        assert (len(base_ms), len(head_ms)) == (4, 4)
        assert len(info["speedup_baseline_alone_samples_ms"]) == len(info["speedup_alone_samples_ms"]) == 2
        blocks = np.log(np.divide(base_ms, head_ms)).reshape(-1, 2).mean(axis=1)
        assert info["speedup"] == pytest.approx(np.exp(blocks.mean()))
        assert info["speedup_unequal"] == []
        assert info["agreement_cosine_min"] == pytest.approx(1)


@pytest.mark.slow
def test_inputs_of_other_threads_are_made_while_torch_s_sleep(
    runtimes: None, in_one_process: None, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Awake, they would spin into the timed call of a runtime that brings its own."""
    asked: list[bool] = []
    waited: list[None] = []

    def asleep(foreign: bool) -> Any:
        asked.append(foreign)
        return nullcontext()

    monkeypatch.setattr("fixtures.measure.case.torch_threads_asleep", asleep)
    monkeypatch.setattr("fixtures.measure.case.wait_until_idle", lambda: waited.append(None))
    options = ("--runtime=eager,onnxruntime", "--model=tiny.py:net", "--batch=1", "--imgsz=32", "--iters=4")
    run("-k", "custom", *options, "--warmup=1").assert_outcomes(passed=2)
    assert asked == [False] * 5 + [True] * 5
    assert len(waited) == 2 * 3  # before the canary, before the timed rounds, and before the canary again
