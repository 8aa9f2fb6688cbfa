"""Calls that come every so many milliseconds: when each begins, what it costs with the idle time, what is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.devices.cpu import Cpu
from fixtures.devices.meters import CounterMeter
from fixtures.inputs.batches import Call
from fixtures.judge.equal_work import terms
from fixtures.measure.energy import measure_energy
from fixtures.measure.pace import Pace
from fixtures.measure.window import Repeated
from fixtures.progress import Progress
from fixtures.record.record import Record
from fixtures.show.table import table_text
from fixtures.show.variant_rows import rows_of
from tests.conftest import Run, Saved, no_traceback
from tests.world import CALL_S, CALL_W, IDLE_W, World


def began(world: World, every_ms: float | None, calls_s: list[float]) -> tuple[list[float], int]:
    """Seconds at which calls of so long began, and how many were late."""
    pace, at = Pace(every_ms), []
    for seconds in calls_s:
        pace.wait()
        at.append(world.now_us / 1e6)
        world.spend(seconds, CALL_W)
    return at, pace.late


def test_calls_begin_when_they_are_due(world: World) -> None:
    assert began(world, 1000, [0.25, 0.5, 0.1]) == ([0, 1, 2], 0)


def test_one_after_another_waits_for_nothing(world: World) -> None:
    assert began(world, None, [0.25, 0.5, 0.1]) == ([0, 0.25, 0.75], 0)


def test_what_is_late_begins_at_once_and_is_not_made_up_for(world: World) -> None:
    """The third is 0.5 s late; the fourth comes a second after it, and not earlier."""
    assert began(world, 1000, [0.25, 1.5, 0.1, 0.1]) == ([0, 1, 2.5, 3.5], 1)


def test_energy_has_the_idle_time_in_it(world: World) -> None:
    """A quarter of a second at 100 W and three at 20 W: 40 J a call, 40 W."""
    repeated = Repeated(lambda _: world.spend(CALL_S, CALL_W), [Call((), {})], Cpu(), Progress(None), 1000)
    found = measure_energy(CounterMeter("nvml_counter", lambda: world.uj / 1e3), repeated, batch=4)
    assert found.energy_per_batch_mj == pytest.approx(1e3 * (CALL_S * CALL_W + (1 - CALL_S) * IDLE_W))
    assert found.power_mean_w == pytest.approx(40)
    assert found.energy_window_s == 7  # whole calls with their pauses


def test_an_axis_of_its_own(run: Run, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cases: one after another, and every 20 ms, before which the process sleeps."""
    slept: list[float] = []
    monkeypatch.setattr("fixtures.measure.pace.clock.sleep", slept.append)
    exact = ("--batch=1", "--imgsz=32", "--warmup=2", "--iters=4", "--benchmark-json=out.json")
    result = run("-k", "custom", "--model=tiny.py:net", "--every=0,20", *exact)
    result.assert_outcomes(passed=2)
    found = {name.partition("[")[2]: each["extra_info"] for name, each in saved().items()}
    assert {name: info["every_ms"] for name, info in found.items()} == {
        "net-fp32-b1-32]": None,
        "net-fp32-b1-32-every20]": 20.0,
    }
    paced = [seconds for seconds in slept if seconds <= 0.02]
    assert len(paced) >= 5  # of six calls; the first waits for nothing
    result.stdout.fnmatch_lines(["*every=0,20ms*", "*every ms*"])


def test_calls_that_take_longer_are_told(run: Run, saved: Saved) -> None:
    exact = ("--batch=1", "--imgsz=32", "--warmup=1", "--iters=4", "--benchmark-json=out.json")
    run("-k", "custom", "--model=tiny.py:net", "--every=0.001", *exact).assert_outcomes(passed=1)
    (found,) = saved().values()
    notes = [note for note in found["extra_info"]["notes"] if note.startswith("every_ms: 4 of 4 calls were due before")]
    assert len(notes) == 1
    assert "began at once; one takes " in notes[0]


def test_variants_are_not_compared_at_a_pace(run: Run, saved: Saved) -> None:
    exact = ("--batch=1", "--imgsz=32", "--warmup=1", "--iters=3", "--benchmark-json=out.json")
    run("-k", "custom", "--model=tiny.py:net", "--every=1", "--precision=fp32,bf16", *exact).assert_outcomes(passed=2)
    for each in saved().values():
        info = each["extra_info"]
        assert info["speedup"] is None
        assert any("a call comes every 1 ms; call by call in alternation without --every" in n for n in info["notes"])


def test_what_a_pace_costs_is_of_the_pace(run: Run, saved: Saved) -> None:
    """Ten calls a second are served, however quick each is; what it draws between them nobody stated."""
    exact = ("--batch=2", "--imgsz=32", "--warmup=1", "--iters=3", "--soak=1", "--benchmark-json=out.json")
    money = ("--price-per-hour=3.6", "--watts=65")
    run("-k", "custom", "--model=tiny.py:net", "--every=100", *money, *exact).assert_outcomes(passed=1)
    (found,) = saved().values()
    info = found["extra_info"]
    assert info["cost_per_1000"] == pytest.approx(3.6 / 3600 * 1000 / 20)
    assert (info["energy_source"], info["power_mean_w"], info["soak_calls"]) == (None, None, None)
    notes = "\n".join(info["notes"])
    assert "nobody stated what it draws between calls" in notes
    assert "a soak is of calls one after another" in notes
    assert "throughput_*: of calls one after another that take as long as at this pace" in notes


def test_at_a_pace_a_variant_has_its_baseline_too(run: Run, saved: Saved) -> None:
    """Else what it loses in quality would be set against fp32."""
    exact = ("--batch=1", "--imgsz=32", "--warmup=1", "--iters=3", "--benchmark-json=out.json")
    forms = ("--precision=fp32,bf16", "--baseline=bf16-eager")
    run("-k", "custom", "--model=tiny.py:net", "--every=1", *forms, *exact).assert_outcomes(passed=2)
    found = {each["extra_info"]["precision"]: each["extra_info"]["baseline"] for each in saved().values()}
    assert found == {"fp32": "bf16-eager", "bf16": None}


@pytest.mark.parametrize("text", ["-1", "fast", "5,,6", "1e9", "700000", ""])
def test_what_is_no_pace_is_told(run: Run, text: str) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", f"--every={text}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--every: expected milliseconds separated by commas*got '{text}'*--every=0,200*"])
    no_traceback(result)


def test_two_versions_have_a_rhythm_of_their_own(run: Run) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", "--every=5", "--against=HEAD")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--every: two versions alternate call by call*leave out --against*"])


def test_how_many_calls_there_can_be_knows_no_pace(run: Run) -> None:
    asked = ("--throughput", "--model=tiny.py:net", "--every=0,200", "--batch=1")
    result = run("-k", "test_throughput and net", *asked, "--collect-only", "-q")
    assert [line.rpartition("::")[2] for line in result.outlines if "::" in line] == [
        "test_window[net-fp32-b1-224]",
        "test_best_batch[net-fp32-224]",
    ]


def test_other_paces_are_other_work(record: Record) -> None:
    paced = replace(record, every_ms=200.0)
    assert terms(record) != terms(paced)
    rows = rows_of([record, replace(record, precision="bf16", baseline="fp32-eager", speedup=2.0), paced], [])
    assert {row.variant for row in rows} == {"fp32-eager", "bf16-eager"}


def test_the_column_is_there_where_somebody_asked(record: Record) -> None:
    assert "every ms" not in table_text([record], 200)
    shown = table_text([record, replace(record, every_ms=200.0)], 200)
    assert "every ms" in shown
    assert " 200 " in shown
