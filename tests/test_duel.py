"""Two scripted children under the real conductor: who runs when, who stands still, and what a death costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from multiprocessing import Pipe
from pathlib import Path

import pytest

from fixtures.measure.rounds import Rounds as PlannedRounds
from fixtures.workers import duel as duel_module
from fixtures.workers.child import AlternatingTurns
from fixtures.workers.duel import duel
from fixtures.workers.journal import CaseRun
from fixtures.workers.link import (
    Finished,
    FromChild,
    FromParent,
    Go,
    Ready,
    Rounds,
    Run,
    TurnOver,
    receive_from_child,
    send,
)
from fixtures.workers.places import BASE, HEAD
from fixtures.workers.process import ChildGoneError, Command
from fixtures.workers.sweep import Plan

COMMANDS = {side: Command(side, (), Path(), {}) for side in (BASE, HEAD)}


@dataclass
class Stage:
    """What the scripted children do, and what they saw.

    Attributes:
        knows: cases of each side.
        dies: (side, case, word it should have said next), each once.
        fails: (side, case): it is over in the first timed turn, and the process goes on.
        refuses: sides that do not come up.
    """

    knows: dict[str, list[str]]
    dies: set[tuple[str, str, str]] = field(default_factory=set)
    fails: set[tuple[str, str]] = field(default_factory=set)
    refuses: set[str] = field(default_factory=set)
    alive: dict[str, ScriptedChild] = field(default_factory=dict)
    turns: list[tuple[str, str, int]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)


class ScriptedChild:
    """Stands in for `Child`; breaks the test when both sides run in a turn."""

    def __init__(self, stage: Stage, command: Command) -> None:
        self.stage, self.side = stage, command.python
        self.frozen, self.pid = False, 1000 + len(stage.started)
        self.todo: list[str] = []
        self.left = self.asked = 0
        self.said_ready = False
        stage.alive[self.side] = self
        stage.started.append(self.side)

    def __enter__(self) -> ScriptedChild:
        return self

    def __exit__(self, *error: object) -> None:
        self.stage.alive.pop(self.side, None)

    def freeze(self) -> None:
        self.frozen = True

    def thaw(self) -> None:
        self.frozen = False

    def hello(self) -> list[str]:
        if self.side in self.stage.refuses:
            self.stage.alive.pop(self.side)
            raise ChildGoneError("crashed", "exit code 4", None)
        return self.stage.knows[self.side]

    def send(self, message: FromParent) -> None:
        match message:
            case Run(nodeids):
                self.todo = list(nodeids)
            case Rounds(warmup, iters):
                assert self.said_ready, "rounds for a case that is over"
                self.left = warmup + iters
            case Go(rounds):
                assert self.said_ready, "a turn in a case that is over"
                others = [child for side, child in self.stage.alive.items() if side != self.side]
                assert all(child.frozen for child in others), "the other side runs in this one's turn"
                self.asked = rounds
                self.stage.turns.append((self.todo[0], self.side, rounds))

    def receive(self) -> FromChild:
        assert not self.frozen, "a frozen process says nothing"
        nodeid = self.todo[0]
        if not self.said_ready:
            word: FromChild = Ready(0.05, 1, 4)
        else:
            failed = (self.side, nodeid) in self.stage.fails and self.left <= 4
            over = Finished(nodeid, "failed" if failed else "passed", "", 1.0, None, [])
            word = over if failed or not self.left else TurnOver()
        event = (self.side, nodeid, type(word).__name__)
        if event in self.stage.dies:
            self.stage.dies.remove(event)
            self.stage.alive.pop(self.side)
            raise ChildGoneError("crashed", "its process was ended by SIGKILL", 5)
        if isinstance(word, Ready):
            self.said_ready = True
        elif isinstance(word, TurnOver):
            self.left -= self.asked
        else:
            self.said_ready = False
            self.todo.pop(0)
        return word


def play(stage: Stage, cases: list[str], monkeypatch: pytest.MonkeyPatch, processes: int = 1) -> list[CaseRun]:
    monkeypatch.setattr(duel_module, "Child", lambda command, timeout_s: ScriptedChild(stage, command))
    return list(duel(Plan([cases], processes, 60.0), COMMANDS, set(), lambda nodeid, text: None))


def ends(runs: list[CaseRun]) -> list[tuple[int, str, str, str]]:
    return [(run.process, run.nodeid, run.side, run.status) for run in runs]


def test_rounds_alternate_and_the_idle_side_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage({BASE: ["a"], HEAD: ["a"]})
    runs = play(stage, ["a"], monkeypatch, processes=2)
    warmup_first = [("a", BASE, 1), ("a", HEAD, 1)]
    rounds = [("a", BASE, 1), ("a", HEAD, 2), ("a", BASE, 2), ("a", HEAD, 2), ("a", BASE, 1)]
    assert stage.turns[:7] == warmup_first + rounds
    # The next pair is fresh, and the other side begins.
    swapped = {BASE: HEAD, HEAD: BASE}
    assert stage.turns[7:] == [(case, swapped[side], length) for case, side, length in warmup_first + rounds]
    assert stage.started == [BASE, HEAD, HEAD, BASE]
    assert {(run.process, run.side) for run in runs} == {(0, BASE), (0, HEAD), (1, BASE), (1, HEAD)}


def test_a_case_that_only_the_head_has_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage({BASE: ["b"], HEAD: ["a", "b"]})
    runs = play(stage, ["a", "b"], monkeypatch)
    assert stage.turns[:2] == [("a", HEAD, 1), ("a", HEAD, 4)]
    assert ends(runs)[0] == (0, "a", HEAD, "finished")
    assert len(runs) == 3


@pytest.mark.parametrize("word", ["Ready", "TurnOver", "Finished"])
@pytest.mark.parametrize("dead", [BASE, HEAD])
def test_a_side_that_dies_costs_its_case_only(monkeypatch: pytest.MonkeyPatch, dead: str, word: str) -> None:
    stage = Stage({BASE: ["a", "b"], HEAD: ["a", "b"]}, {(dead, "a", word)})
    runs = play(stage, ["a", "b"], monkeypatch)
    other = HEAD if dead == BASE else BASE
    assert sorted(ends(runs)[:2]) == sorted([(0, "a", dead, "crashed"), (0, "a", other, "finished")])
    assert sorted(ends(runs)[2:]) == [(0, "b", BASE, "finished"), (0, "b", HEAD, "finished")]
    assert len(stage.started) == 4  # a fresh pair for what was left


@pytest.mark.parametrize("failing", [BASE, HEAD])
def test_a_side_that_fails_amid_its_rounds_takes_no_more_turns(monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Else the turns it was still owed would be those of the next case, in which both sides then ran at once."""
    stage = Stage({BASE: ["a", "b"], HEAD: ["a", "b"]}, fails={(failing, "a")})
    runs = play(stage, ["a", "b"], monkeypatch)
    other = HEAD if failing == BASE else BASE
    outcomes = {(run.nodeid, run.side): run.finished.outcome for run in runs if run.finished is not None}
    assert outcomes.pop(("a", failing)) == "failed"
    assert outcomes == {("a", other): "passed", ("b", BASE): "passed", ("b", HEAD): "passed"}
    assert sum(rounds for case, side, rounds in stage.turns if (case, side) == ("a", other)) == 5
    assert len(stage.started) == 2  # the same pair goes on


def test_a_case_that_broke_a_side_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage({BASE: ["a", "b"], HEAD: ["a", "b"]}, {(BASE, "a", "Ready")})
    runs = play(stage, ["a", "b"], monkeypatch, processes=3)
    assert [run.process for run in runs if run.nodeid == "a"] == [0, 0]
    assert [run.process for run in runs if run.nodeid == "b"] == [0, 0, 1, 1, 2, 2]


def test_a_base_that_does_not_come_up_leaves_the_head_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage({BASE: [], HEAD: ["a", "b"]}, refuses={BASE})
    runs = play(stage, ["a", "b"], monkeypatch, processes=2)
    assert [run for run in ends(runs) if run[2] == BASE] == [(0, "a", BASE, "crashed"), (0, "b", BASE, "crashed")]
    assert [run for run in ends(runs) if run[2] == HEAD] == [
        (process, case, HEAD, "finished") for process in (0, 1) for case in ("a", "b")
    ]
    assert stage.started == [BASE, HEAD, HEAD]


def test_a_head_that_does_not_come_up_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage({BASE: ["a"], HEAD: []}, refuses={HEAD})
    runs = play(stage, ["a"], monkeypatch, processes=3)
    assert (0, "a", HEAD, "crashed") in ends(runs)
    assert stage.started == [BASE, HEAD]


def test_a_child_runs_as_many_rounds_as_its_turn_has() -> None:
    """The first round of each turn comes after the untimed call; the end of a turn is told before the next begins."""
    ours, theirs = Pipe()
    turns = AlternatingTurns(theirs, (7,))
    send(ours, Rounds(1, 4, rewarm=1))
    assert turns.agree(PlannedRounds(2, 5), 0.01) == PlannedRounds(1, 4)
    assert receive_from_child(ours) == Ready(0.01, 2, 5)
    send(ours, Go(2))
    assert [turns.begin_round(), turns.begin_round()] == [1, 0]
    send(ours, Go(1))
    assert turns.begin_round() == 1
    assert receive_from_child(ours) == TurnOver()
    turns.over()
    assert receive_from_child(ours) == TurnOver()
