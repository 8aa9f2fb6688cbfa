"""Damaged and foreign files: one line with the name, the other files are read, the exit code says it."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fixtures import gate
from fixtures.files.outside import OutsideError, printable, read_file
from fixtures.history import __main__ as history
from fixtures.judge.baseline import read_baseline
from fixtures.record.saved import ForeignError, SavedError, read_saved
from fixtures.report import __main__ as report
from fixtures.show import __main__ as show
from tests.conftest import ROOT
from tests.record import RECORD
from tests.saved import save, timed
from tools.damage import examined

DEEP = 100_000


@pytest.mark.slow
def test_whatever_is_done_to_a_file_no_command_breaks_or_errs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """2,000 of them by `make damage-check`."""
    seen = examined(20, 14, tmp_path)
    assert seen.faults == {}
    assert 0 < seen.refused < 20


def content(**changes: Any) -> dict[str, Any]:
    """A whole file of one case, with something else in it."""
    case = {"fullname": "a", "extra_info": RECORD.extra_info(), "stats": {"data": [0.01]}}
    return {"benchmarks": [case], "machine_info": {}, "commit_info": {}, **changes}


def with_record(**changes: Any) -> dict[str, Any]:
    return content(
        benchmarks=[{"fullname": "a", "extra_info": RECORD.extra_info() | changes, "stats": {"data": [0.01]}}]
    )


CASE = content()["benchmarks"][0]


DAMAGED = [
    ('{"benchmarks":[],"machine_info":{"versions":[1]}}', "machine_info: Expected `object | null`, got `array`"),
    (b"[" * DEEP, "nested too deeply"),
    (b'{"benchmarks":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested too deeply"),
    (b'{"benchmarks":[],"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", "nested too deeply"),
    ('{"benchmarks":[{"fullname":"\\ud800","extra_info":{"record_version":1},"stats":{}}]}', "is "),
    (b'{"benchmarks":[{"fullname":"\xff","extra_info":{"record_version":1},"stats":{}}]}', "can't decode byte"),
    (json.dumps(content()).replace("0.01", "1e999"), "out of range"),
    (json.dumps(content()).replace("0.01", "9" * 5000), "out of range"),
    (json.dumps(content(benchmarks=[CASE, CASE])), "two of its cases are called 'a'"),
    (json.dumps(content(benchmarks=[CASE] * 10_001)), "length <= 10000"),
    (json.dumps(content(benchmarks=[CASE | {"fullname": "x" * 3000}])), "length <= 2000"),
    (json.dumps(content(datetime=3)), "Expected `str | null`, got `int` - at `$.datetime`"),
    (json.dumps(content(datetime="yesterday")), "datetime is 'yesterday', expected an ISO 8601 time"),
    (json.dumps(content(datetime="0001-01-01T00:00:00+14:00")), "expected an ISO 8601 time"),
    (json.dumps(content(machine_info={"cores_allowed": "two"})), "machine_info: Expected `int | null`, got `str`"),
    (json.dumps(content(machine_info={"ram_bytes": -1})), "machine_info: Expected `float` >= 0.0"),
    (json.dumps(content(machine_info={"x": "y" * 2**20})), "machine_info has over 1 MiB"),
    (json.dumps(content(commit_info={"id": ["a"]})), "commit_info: Expected `str | null`, got `array`"),
    (json.dumps(content(failed=None)), "is damaged"),
    (json.dumps(content(benchmarks=[CASE | {"stats": {"data": "1"}}])), "the rounds of 'a' are '1', expected a list"),
    (json.dumps(content(missing=[{"nodeid": "a"}])), "missing required field `model`"),
    (json.dumps(with_record(flags=None)), "case 'a': damaged record: Expected `array`, got `null` - at `$.flags`"),
    (json.dumps(with_record(params=-1)), "Expected `int` >= 0 - at `$.params`"),
    (json.dumps(with_record(batch=True)), "Expected `int`, got `bool` - at `$.batch`"),
    (json.dumps(with_record(latency_p50_ms=1e308)), "Expected `float` <= 1e+18 - at `$.latency_p50_ms`"),
    (json.dumps(with_record(latency_p50_ms=5e-324)), "Expected `float` >= 1e-09 - at `$.latency_p50_ms`"),
    (json.dumps(with_record(canary_matmul_ms=0)), "at `$.canary_matmul_ms`"),
    (json.dumps(with_record(process_values={"latency_p50_ms": [0.0]})), "process_values.latency_p50_ms"),
    (json.dumps(with_record(process_rounds=[1, 1], process_values={"params": [1]})), "1 values of 2 processes"),
    (json.dumps(with_record(record_version=True)), "no record"),
]


@pytest.mark.parametrize(("text", "message"), DAMAGED, ids=map(str, range(len(DAMAGED))))
def test_what_a_file_cannot_be_is_one_line_with_its_name(tmp_path: Path, text: str | bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    with pytest.raises(SavedError) as told:
        read_saved(path)
    assert message in str(told.value)
    assert "bad.json'" in str(told.value)
    assert "\n" not in str(told.value)


def test_numbers_that_python_writes_and_json_lacks_are_not_measured(tmp_path: Path) -> None:
    """In a text they are letters; and a byte order mark is no damage."""
    record = RECORD.extra_info() | {"gflops": float("nan"), "notes": ['said "NaN, -Infinity\\" twice']}
    text = json.dumps(content(benchmarks=[CASE | {"extra_info": record}]))
    (tmp_path / "run.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (found,) = read_saved(tmp_path / "run.json").records.values()
    assert (found.gflops, found.notes) == (None, ('said "NaN, -Infinity\\" twice',))


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """A whole run, and what else a folder may hold under the name of a saved run."""
    folder = tmp_path / "runs"
    save(folder / "0001_whole.json", [timed(10.0)])
    os.mkfifo(folder / "fifo.json")
    (folder / "folder.json").mkdir()
    (folder / "loop.json").symlink_to(folder / "loop.json")
    (folder / "zero.json").symlink_to("/dev/zero")
    (folder / "cut.json").write_bytes((folder / "0001_whole.json").read_bytes()[:-9])
    (folder / os.fsdecode(b"\xff\x1b.json")).write_text("[]]")
    (folder / "foreign.json").write_text('{"trials": []}')
    with (folder / "huge.json").open("wb") as stream:
        stream.truncate(2**40)  # of which the disk has nothing
    return folder


_UNUSABLE = ("fifo", "folder", "loop", "zero", "cut", "huge", "\\x1b")


@pytest.mark.parametrize(
    "command",
    [
        lambda folder, out: report.main([str(folder), f"--export=csv={out}.csv"]),
        lambda folder, out: history.main([str(folder)]),
        lambda folder, out: show.main([str(path) for path in folder.iterdir() if path.name != "foreign.json"]),
        lambda folder, out: gate.main(
            [*(str(path) for path in folder.iterdir() if path.name != "foreign.json"), str(folder / "0001_whole.json")]
        ),
    ],
)
def test_the_other_files_are_read_and_the_exit_code_says_it(
    strange: Path, tmp_path: Path, command: Callable[[Path, Path], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(strange, tmp_path / "out") == 6
    said = capsys.readouterr()
    lines = [line for line in said.err.splitlines() if "foreign" not in line]
    assert len(lines) == len(_UNUSABLE)
    assert all(any(name in line for line in lines) for name in _UNUSABLE)
    assert all(line.isprintable() for line in (said.out + said.err).splitlines())
    assert said.out


def test_where_no_file_can_be_read_there_is_nothing_to_show(tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text("{")
    assert show.main([str(tmp_path / "cut.json")]) == 2
    assert report.main([str(tmp_path / "cut.json"), f"--out={tmp_path / 'out'}"]) == 2
    assert gate.main([str(tmp_path / "cut.json"), str(tmp_path / "cut.json")]) == 6


@pytest.mark.parametrize("name", ["x" * 300, "~nobody_at_all/x", "a\0b"])
def test_a_path_that_leads_nowhere_is_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code in (show.main([name]), report.main([name]), gate.main([name, name]), report.main(["x", "--budget", name])):
        assert code in (2, 6)
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 4
    assert "Traceback" not in said


EVIL = "\x1b[2J\x1b]8;;http://x\x07a\u202eb\rc\x9b1m[/red]\x00"


def test_no_name_from_a_file_is_obeyed_by_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ("model", "workload", "weights", "task", "device_name", "precision", "runtime", "throughput_unit")
    record = RECORD.extra_info() | {name: f"{name}{EVIL}" for name in texts}
    record |= {
        "flags": [EVIL],
        "notes": [f"gflops: {EVIL}", f"speedup: {EVIL}"],
        "baseline": EVIL,
        "energy_source": EVIL,
    }
    missing = {
        "nodeid": EVIL,
        "model": EVIL,
        "workload": EVIL,
        "variant": EVIL,
        "batch": 1,
        "imgsz": None,
        "reason": EVIL,
    }
    failed = {"nodeid": EVIL, "status": EVIL, "reason": EVIL, "process": 0, "peak_host_bytes": None}
    names = {"versions": {EVIL: EVIL}, "os": EVIL, "cpu_name": EVIL, "python_version": EVIL}
    case = {"fullname": f"t::a[{EVIL}]", "extra_info": record, "stats": {"data": [0.01, 0.02]}}
    more = {"missing": [missing], "failed": [failed], "machine_info": names, "commit_info": {"id": "0" * 40, "x": EVIL}}
    path = tmp_path / "evil.json"
    path.write_text(json.dumps(content(benchmarks=[case, case | {"fullname": EVIL}], **more)))
    save(tmp_path / "good.json", [timed(10.0)])
    out = tmp_path / "out"
    show.main([str(path)])
    show.main([str(path), "--speedup"])
    show.main([str(path), "--markdown"])
    show.main([str(path), f"--svg={out}.svg"])
    gate.main([str(tmp_path / "good.json"), str(path), "--gate=gflops:1"])
    gate.main([str(path), str(tmp_path / "good.json"), f"--gate-summary={out}.md"])
    history.main([str(tmp_path), "--case=t::"])
    report.main([str(tmp_path), f"--out={out}", "--relative-to=nobody"])
    report.main([str(tmp_path), f"--export=csv={out}.csv"])
    said = capsys.readouterr()
    assert "\\x1b[2J" in said.out
    assert [line for line in (said.out + said.err).splitlines() if not line.isprintable()] == []
    for file in ("out.svg", "out.md", "out.csv"):
        assert "\x1b" not in (tmp_path / file).read_text()


def test_what_is_printable_stays_as_it_is() -> None:
    assert printable("größer 模型 🙂 a\u00a0b") == "größer 模型 🙂 a\u00a0b"
    assert printable("a\nb\tc\x1b\u202e\x9b\udcff") == "a b c\\x1b\\u202e\\x9b\\udcff"


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)
    assert read_file(tmp_path / "file", 100) == b"x" * 100
    with pytest.raises(OutsideError, match="more than such a file may have"):
        read_file(tmp_path / "file", 99)


def statistics(**changes: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(("min", "max", "mean", "stddev", "median", "iqr", "rounds", "iterations"), 1)
    return {**numbers, "outliers": "0;0", **changes}


def test_a_baseline_has_what_pytest_benchmark_shows_of_it(tmp_path: Path) -> None:
    """It reads the file again after everything was measured, and trusts it."""
    path = tmp_path / "0001_base.json"
    for stats, message in (
        (statistics(), ""),
        (statistics(median=None), "the statistics of 'a' lack median"),
        (statistics(outliers="1;2\x1b[2J"), "the statistics of 'a' lack outliers"),
        (statistics(fullname="\x1b[2J"), "the statistics of 'a' hold 'fullname'"),
    ):
        path.write_text(json.dumps(content(benchmarks=[CASE | {"stats": stats}])))
        if message:
            with pytest.raises(SavedError, match=message):
                read_baseline(path)
        else:
            assert read_baseline(path).records


def test_a_committed_file_is_a_baseline() -> None:
    for file in sorted((ROOT / "results").glob("0*.json")):
        assert read_baseline(file).records


def test_a_file_of_many_small_things_takes_no_memory(tmp_path: Path) -> None:
    """Forty million empty lists would be several gigabytes as values."""
    (tmp_path / "many.json").write_bytes(b'{"benchmarks": 1, "x": [' + b"[]," * 13_000_000 + b"[]]}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ForeignError):
        read_saved(tmp_path / "many.json")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000
