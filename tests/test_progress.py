"""The live line: behind pytest's own text, rarely drawn, never longer than what is left, nothing in a pipe."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from fixtures.progress import Pace, Progress, duration
from tests.conftest import Run


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_tells_case_phase_round_and_time_left(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, clock=clock)
    progress.start("clip-vit-b32-fp32-b1-224")
    progress.show("timing")
    clock.now_s = 2.0
    progress.advance(20, 80)
    assert "clip-vit-b32-fp32-b1-224: timing 20/80, 6 s left" in stream.getvalue()


def test_it_tells_where_the_whole_run_is(clock: Clock) -> None:
    pace = Pace()
    pace.pytest_collection_finish(type("Session", (), {"items": [None] * 5}))  # type: ignore[arg-type]
    stream = io.StringIO()
    progress = Progress(stream, clock=clock, overall=pace.text)
    progress.start("a")
    progress.show("timing")
    assert " 1/5; a: timing" in stream.getvalue()
    pace.pytest_runtest_logreport(phase("setup", 0.0))
    pace.pytest_runtest_logfinish()  # skipped: says nothing of how long a case takes
    progress.show("timing")
    assert " 2/5; a: timing" in stream.getvalue()
    for when, seconds in (("setup", 10.0), ("call", 20.0), ("teardown", 0.0)):
        pace.pytest_runtest_logreport(phase(when, seconds))
    pace.pytest_runtest_logfinish()
    progress.show("timing")
    assert " 3/5, about 1 min 30 s left; a: timing" in stream.getvalue()


def phase(when: str, seconds: float) -> pytest.TestReport:
    outcome: Any = {"when": when, "duration": seconds, "outcome": "passed", "longrepr": None, "keywords": {}}
    return pytest.TestReport("a", ("a", 0, "a"), **outcome)


def test_a_single_case_is_the_whole_run() -> None:
    pace = Pace()
    pace.pytest_collection_finish(type("Session", (), {"items": [None]}))  # type: ignore[arg-type]
    assert pace.text() == ""


def test_it_is_drawn_at_most_five_times_a_second(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(stream, clock=clock)
    progress.show("timing")
    drawn = stream.getvalue()
    clock.now_s = 0.19
    progress.advance(19, 100)
    assert stream.getvalue() == drawn
    clock.now_s = 0.21
    progress.advance(21, 100)
    assert stream.getvalue() != drawn


def test_it_is_cut_to_what_is_left_of_the_line_and_restores_the_cursor() -> None:
    stream = io.StringIO()
    progress = Progress(stream, width=lambda: 25)
    progress.start("a-model-with-a-name-that-is-long")
    progress.show("counting")
    shown = stream.getvalue()
    assert shown.startswith("\x1b7\x1b[K")
    assert shown.endswith("\x1b8")
    assert len(shown.removeprefix("\x1b7\x1b[K\x1b[2m").removesuffix("\x1b[0m\x1b8")) == 25


def test_it_is_silent_without_a_terminal() -> None:
    progress = Progress(None)
    progress.start("case")
    progress.show("timing")
    progress.advance(1, 2)
    progress.clear()


def test_clearing_erases_only_what_was_drawn() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    progress.clear()
    assert stream.getvalue() == ""
    progress.show("memory")
    progress.clear()
    assert stream.getvalue().endswith("\x1b[K")


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 1 s"), (3600, "60 min 0 s")])
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_first_number_is_there_when_the_first_case_is(run: Run) -> None:
    lines = [line.strip() for line in run("-k", "custom", "--model=tiny.py:net", "--batch=1,2", "--iters=3").outlines]
    numbers = [
        index for index, line in enumerate(lines) if re.match(r"forward net fp32 b[12] \S+: p50 [\d.]+ ms, ", line)
    ]
    table = next(index for index, line in enumerate(lines) if line.startswith("latency of one call"))
    assert len(numbers) == 2
    assert numbers[-1] < table
    assert "benchmarks/test_custom.py ." in lines[numbers[0] : numbers[1]]


@pytest.mark.slow
def test_of_several_processes_the_first_says_its_number(run: Run) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", "--batch=1,2", "--iters=3", "--processes=2")
    result.stdout.fnmatch_lines(
        [
            "process 1 of 2: forward net fp32 b1 *: p50 * ms, *",
            "process 1 of 2: forward net fp32 b2 *: p50 * ms, *",
            "process 1 of 2 done, *",
        ]
    )
    result.stdout.no_fnmatch_line("process 2 of 2: *")


def test_a_quiet_run_says_its_table_alone(run: Run) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", "--batch=1,2", "--iters=3", "-q")
    result.stdout.no_fnmatch_line("*: p50 *")
