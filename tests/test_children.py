"""Parts of the children machinery: turns, pooling, the journal. No process is started."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from fixtures.files.scratch import run_folder
from fixtures.measure.turns import Turn, turns
from fixtures.record.decoding import record_from
from fixtures.record.record import Record
from fixtures.show.table import flag_legend, table_text
from fixtures.stats.percentiles import alternating_ratio
from fixtures.workers.conduct import whole
from fixtures.workers.identity import outlasting
from fixtures.workers.journal import (
    CaseRun,
    Journal,
    JournalError,
    abandoned,
    clear_oldest,
    folder,
    path_for,
    still_valid,
)
from fixtures.workers.link import Finished
from fixtures.workers.outcome import CaseRuns, told
from fixtures.workers.places import BASE, HEAD
from fixtures.workers.pool import pooled
from fixtures.workers.sweep import cpus_of


def test_turns_alternate_a_b_b_a_and_are_equally_long() -> None:
    schedule = list(turns("a", "b", 6))
    assert schedule == [Turn("a", 1), *[Turn("b", 2), Turn("a", 2)] * 2, Turn("b", 2), Turn("a", 1)]
    for rounds in (2, 4, 40):
        ran: Counter[str] = Counter()
        for turn in turns("a", "b", rounds):
            ran[turn.side] += turn.rounds
        assert ran == {"a": rounds, "b": rounds}


def test_a_steady_drift_cancels_in_alternating_rounds() -> None:
    """Equal code on a machine that gets 1 % slower with every call: one side after the other would be far off."""
    order = [turn.side for turn in turns("a", "b", 8) for _ in range(turn.rounds)]
    taken = {"a": [], "b": []}
    for index, side in enumerate(order):
        taken[side].append(1.01**index)
    assert alternating_ratio(taken["a"], taken["b"]) == pytest.approx(1.0)
    slower = [second * 1.05 for second in taken["b"]]
    assert alternating_ratio(taken["a"], slower) == pytest.approx(1.05)


def test_a_disturbed_round_does_not_move_the_ratio() -> None:
    base, head = [1.0] * 40, [1.02] * 40
    head[7] = head[20] = 9.0
    assert alternating_ratio(base, head) == pytest.approx(1.02)


def test_cpus_go_round_and_are_left_alone_when_all_are_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {2, 3, 5})
    assert [cpus_of(process, 1) for process in range(4)] == [[2], [3], [5], [2]]
    assert cpus_of(1, 2) == [5, 2]
    assert cpus_of(0, 3) == []
    assert cpus_of(0, 0) == []  # a model on a GPU keeps no CPU busy


def test_a_pooled_record_holds_all_rounds_and_each_processs_numbers(record: Record) -> None:
    slow = replace(
        record,
        latency_p50_ms=30.0,
        throughput_p50_per_s=8e3 / 30,
        peak_host_bytes=900,
        load_s=1.5,
        flags=("drift",),
        iters=3,
    )
    quick = replace(record, latency_p50_ms=10.0, peak_host_bytes=700, load_s=0.5, flags=("drift", "unstable"), iters=2)
    pool = pooled([slow, quick], [[0.03, 0.03, 0.04], [0.01, 0.02]])
    assert pool.latency_p50_ms == 30.0
    assert (pool.latency_min_ms, pool.latency_max_ms) == (10.0, 40.0)
    assert pool.throughput_p50_per_s == pytest.approx(8 * 1000 / 30)
    assert pool.throughput_mean_per_s == pytest.approx(8 * 1000 / 26)
    assert pool.latency_per_sample_ms == pytest.approx(30 / 8)
    assert pool.process_values["latency_p50_ms"] == (30.0, 10.0)
    assert pool.process_rounds == (3, 2)
    assert pool.peak_host_bytes == 900  # a peak is the highest seen
    assert pool.load_s == 1.0
    assert pool.iters == 5
    assert pool.flags == ("drift", "unstable")
    assert pool.process_flags == (("drift",), ("drift", "unstable"))
    assert record_from(pool.extra_info()).told_flags == ("drift:2/2", "unstable:1/2")
    assert replace(pool, process_flags=()).told_flags == ("drift", "unstable")  # saved before they were kept apart
    assert "DU1" in table_text([pool])
    assert flag_legend([pool.told_flags])[-1] == "a number behind it: in so many processes"
    assert pool.params == record.params
    assert pool.latency_p95_ms is None
    assert [note for note in pool.notes if note.startswith("latency_p90_ms, latency_p95_ms, latency_p99_ms: 5 rounds")]


def run_of(nodeid: str, process: int, record: Record, samples: list[float], side: str = HEAD) -> CaseRun:
    finished = Finished(nodeid, "passed", "", 1.0, record.extra_info(), samples)
    return CaseRun(side, process, nodeid, "finished", finished=finished)


def test_what_varies_in_one_process_or_between_two_varies(record: Record) -> None:
    said = replace(record, notes=("varies: gmacs, gflops",))
    notes = pooled([record, said, replace(record, params=3)], [[0.01]] * 3).notes
    assert [note for note in notes if note.startswith("varies")] == ["varies: gmacs, gflops, params"]
    assert not [note for note in pooled([record, record], [[0.01]] * 2).notes if note.startswith("varies")]


def test_a_crashed_process_breaks_its_case_and_is_not_averaged_away(record: Record) -> None:
    case = CaseRuns("a")
    case.add(run_of("a", 0, record, [0.01, 0.01]))
    reason = "its process was ended by SIGSEGV\n    Fatal Python error"
    case.add(CaseRun(HEAD, 1, "a", "crashed", reason, 800 * 2**20))
    side = case.side(HEAD)
    assert side.record is None
    assert side.failure is not None
    assert told(side.failure, 5) == (
        "process 2 of 5: crashed: its process was ended by SIGSEGV; it held at most 800 MiB"
    )
    assert side.trace == "    Fatal Python error"  # goes to a file


def test_a_process_that_another_one_outlived_is_lost_and_can_be_had(record: Record) -> None:
    """As when memory was short for a moment. Where every process of a side ended, nothing is waited for."""
    case = CaseRuns("a")
    case.add(run_of("a", 0, record, [0.01]))
    assert case.lost() == []
    gone = CaseRun(HEAD, 1, "a", "out_of_memory", "killed")
    case.add(gone)
    assert case.lost() == [gone]
    pair = CaseRuns("b")
    pair.add(run_of("b", 0, record, [0.01], BASE))
    pair.add(CaseRun(HEAD, 0, "b", "crashed", "killed"))
    assert pair.lost() == []


def test_a_result_does_not_rest_on_files_that_go_with_its_run(tmp_path: Path) -> None:
    """Else none of --against=REF, whose base lies in the run's own folder, would ever be resumed."""
    mine = str(tmp_path / "mine.py")
    assert outlasting({mine: "abc", str(run_folder() / "base" / "mine.py"): "def"}) == {mine: "abc"}


def test_ratios_pair_the_processes_that_both_sides_have(record: Record) -> None:
    case = CaseRuns("a")
    for process, slower in ((0, 1.0), (1, 1.1), (2, 1.2)):
        case.add(run_of("a", process, record, [0.01 * slower] * 4))
    for process in (2, 0):
        case.add(run_of("a", process, record, [0.01] * 4, BASE))
    assert case.contest().ratios == pytest.approx((1.0, 1.2))


def test_how_far_its_rounds_leave_a_pair_open_goes_with_the_pair(record: Record) -> None:
    case = CaseRuns("a")
    for process, spread in ((0, 0.0), (1, 0.3)):
        case.add(run_of("a", process, record, [0.01, 0.01, 0.01 + 0.01 * spread, 0.01], BASE))
        case.add(run_of("a", process, record, [0.01] * 4))
    steady, unsteady = case.contest().ratio_ses
    assert steady < unsteady


def test_a_pair_is_kept_whole_or_not_at_all(record: Record) -> None:
    """Half of one, kept when the run was killed, would be measured a second time."""
    a, b = (run_of("a", 0, record, [0.01], side) for side in (BASE, HEAD))
    alone, other = run_of("b", 0, record, [0.01]), run_of("a", 1, record, [0.01])
    assert list(whole([a, b, alone, other], 2)) == [[a, b], [alone], [other]]
    assert list(whole([a, b], 1)) == [[a], [b]]
    arrived = iter([a, b])
    assert next(whole(arrived, 2)) == [a, b]  # not only when the next begins


def abandoned_journal(root: Path) -> Journal:
    """Of a process that is gone: no process began at 1."""
    return Journal(folder(root) / f"{os.getpid()}-1.jsonl")


def test_a_journal_gives_back_what_was_finished_and_survives_a_torn_line(tmp_path: Path, record: Record) -> None:
    journal = abandoned_journal(tmp_path)
    journal.begin({"--seed": "42"})
    runs = [run_of("a", 0, record, [0.01]), CaseRun(HEAD, 0, "b", "timeout", "no sign of life", 5)]
    for run in runs:
        journal.add(run)
    with journal.path.open("ab") as stream:
        stream.write(b'{"side":"head","proc')
    ours = Journal(path_for(tmp_path, os.getpid()))
    assert ours.take_over({"--seed": "42"}, tmp_path) == (runs, [])
    assert not journal.path.exists()  # ours now, so that no other run takes it too
    ours.end()
    assert not folder(tmp_path).exists()


def test_of_runs_that_nobody_goes_on_with_the_newest_are_kept(tmp_path: Path) -> None:
    ours = Journal(path_for(tmp_path, os.getpid()))
    ours.begin({})
    for age in range(25):
        journal = Journal(folder(tmp_path) / f"{os.getpid()}-{age + 1}.jsonl")
        journal.begin({"age": str(age)})
        os.utime(journal.path, (1e9 - age, 1e9 - age))
    clear_oldest(tmp_path)
    assert [Journal(path).read()[0]["age"] for path in abandoned(tmp_path)] == [str(age) for age in range(20)]
    assert ours.path.exists()


def test_what_belongs_to_another_run_is_said_and_not_taken(tmp_path: Path, record: Record) -> None:
    ours = Journal(path_for(tmp_path, os.getpid()))
    with pytest.raises(JournalError, match="nothing to resume"):
        ours.take_over({}, tmp_path)
    theirs = abandoned_journal(tmp_path)
    theirs.begin({"--seed": "42", "torch": "2.14.1"}, [run_of("a", 0, record, [0.01])])
    runs, (note,) = ours.take_over({"--seed": "43", "torch": "2.14.1"}, tmp_path)
    assert runs == []
    assert "--seed 42 -> 43" in note
    assert theirs.path.exists()  # its own settings still resume it
    theirs.path.write_text("nonsense")
    runs, (note,) = ours.take_over({}, tmp_path)
    assert "is damaged" in note


def test_a_run_that_still_goes_on_is_not_resumed_by_another(tmp_path: Path) -> None:
    Journal(path_for(tmp_path, os.getpid())).begin({})
    with pytest.raises(JournalError, match="nothing to resume"):
        Journal(folder(tmp_path) / "other.jsonl").take_over({}, tmp_path)


def test_results_whose_files_have_changed_are_measured_anew(record: Record) -> None:
    run = msgspec.structs.replace(run_of("a", 0, record, [0.01]), files={"/x/mine.py": "abc"})
    assert still_valid([run], {"/x/mine.py": "abc"}) == ([run], [])
    kept, (note,) = still_valid([run], {"/x/mine.py": "other"})
    assert kept == []
    assert note == "--resume: 'mine.py' has changed, 1 result measured anew"


def test_a_full_disk_costs_the_journal_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("where the folder would be")
    journal = Journal(tmp_path / "file" / "1-1.jsonl")
    journal.begin({})
    journal.add(CaseRun(HEAD, 0, "a", "timeout"))
    assert journal.problem is not None


def test_two_neighbouring_rounds_are_one_piece_of_evidence() -> None:
    """A B B A: half of the four blocks are 20 % off each; round by round they would be lost among the others."""
    head = [math.exp(log) for log in (0.4, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0, 0.0)]
    assert alternating_ratio([1.0] * 8, head) == pytest.approx(math.exp(0.1))
