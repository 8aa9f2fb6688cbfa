"""Which saved runs a report is about, and what is said of files that are none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from fixtures.record.saved import SavedError
from fixtures.record.sources import find_runs
from fixtures.report.__main__ import main
from tests.record import RECORD
from tests.saved import save, timed

MEASURED = {"data": [0.01, 0.02]}


def test_files_folders_and_numbers_are_found_the_oldest_first(tmp_path: Path) -> None:
    later = save(tmp_path / "0002_b.json", [timed(10.0)], taken="2026-11-21T00:00:00+00:00")
    save(tmp_path / "Linux-CPython-3.11-64bit" / "0001_a.json", [timed(11.0)], taken="2026-11-20T00:00:00+00:00")
    assert [run.name for run in find_runs([str(tmp_path)]).runs] == ["0001_a", "0002_b"]
    assert [run.name for run in find_runs(["0001", "2"], tmp_path).runs] == ["0001_a", "0002_b"]
    twice = find_runs([str(later), str(tmp_path)])
    assert ([run.name for run in twice.runs], twice.remarks) == (["0001_a", "0002_b"], ())
    save(tmp_path / "0003_c.json", [timed(12.0)], taken="2026-11-19T23:00:00")  # without an offset: UTC
    save(tmp_path / "0004_d.json", [timed(13.0)], taken="2026-11-19T23:30:00-08:00")
    found = find_runs([str(tmp_path)]).runs
    assert [(run.name, run.taken) for run in found][:3] == [
        ("0003_c", "2026-11-19 23:00"),
        ("0001_a", "2026-11-20 00:00"),
        ("0004_d", "2026-11-20 07:30"),
    ]


def test_in_a_folder_other_json_is_left_out_with_a_remark(tmp_path: Path) -> None:
    save(tmp_path / "run.json", [RECORD])
    (tmp_path / "foreign.json").write_text('{"trials": []}')
    (tmp_path / "plain.json").write_text('{"benchmarks": [{"fullname": "a", "extra_info": {}, "stats": {}}]}')
    (tmp_path / "cut.json").write_bytes((tmp_path / "run.json").read_bytes()[:300])
    found = find_runs([str(tmp_path)])
    assert [run.name for run in found.runs] == ["run"]
    remarks = "\n".join(found.remarks)
    assert "left out: saved run" in remarks
    assert "is not a file that pytest-benchmark saved" in remarks
    assert "was it saved by plain pytest-benchmark?" in remarks
    assert "LEFT OUT, perhaps by mistake" in remarks
    assert "perhaps truncated" in remarks


OLD = {**RECORD.extra_info(), "record_version": 0}
NEW = {**RECORD.extra_info(), "record_version": 99}


def one_case(stats: object = MEASURED, **changes: object) -> str:
    """A saved file of one case with something wrong in it."""
    extra_info = RECORD.extra_info() | changes
    return json.dumps({"benchmarks": [{"fullname": "a", "extra_info": extra_info, "stats": stats}]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2", "is not JSON, perhaps truncated"),
        ("{}", "is not a file that pytest-benchmark saved"),
        ('{"benchmarks": []}', "holds no case"),
        (json.dumps({"benchmarks": [{"fullname": "a", "extra_info": OLD, "stats": {}}]}), "version 0 is older than 1"),
        (json.dumps({"benchmarks": [{"fullname": "a", "extra_info": NEW, "stats": {}}]}), "version 99 is newer than 2"),
        (json.dumps({"benchmarks": [{"fullname": "a", "stats": {}}]}), "missing required field `extra_info`"),
        (one_case(stats=None), "is damaged: Expected `object`, got `null` - at `$.benchmarks[0].stats`"),
        (one_case(stats={"data": ["a"]}), "Expected `float`, got `str` - at `$.benchmarks[0].stats[...][0]`"),
        (one_case(stats={"data": [0.0]}), "Expected `float` > 0.0 - at `$.benchmarks[0].stats[...][0]`"),
        (one_case(latency_p50_ms=0), "case 'a': damaged record: Expected `float` >= 1e-09 - at `$.latency_p50_ms`"),
        (one_case(latency_p50_ms=math.nan), "damaged record: Expected `float`, got `null` - at `$.latency_p50_ms`"),
        (one_case(batch=0), "damaged record: Expected `int` >= 1 - at `$.batch`"),
        (one_case(params=10**25), "params"),
        (
            json.dumps({"benchmarks": [], "machine_info": []}),
            "is damaged: machine_info: Expected `object | null`, got `array`",
        ),
        (
            json.dumps({"benchmarks": [], "commit_info": "x"}),
            "is damaged: commit_info: Expected `object | null`, got `str`",
        ),
    ],
)
def test_a_file_that_was_named_has_to_be_a_saved_run(
    tmp_path: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.json").write_text(content)
    assert main([str(tmp_path / "bad.json"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("report: ")
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_a_missing_file_and_an_unknown_number_are_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SavedError, match=r"holds no JSON file; save a run with --benchmark-save=NAME"):
        find_runs([str(tmp_path / "empty")])
    with pytest.raises(SavedError, match="cannot be read: No such file"):
        find_runs([str(tmp_path / "nothere.json")])
    save(tmp_path / "0007_x.json", [RECORD])
    with pytest.raises(SavedError, match=r"number '3': no such run in .* \(0007_x.json there\)"):
        find_runs(["3"], tmp_path)


def test_two_runs_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0001_base.json", [timed(10.0)])
    save(tmp_path / "b" / "0001_base.json", [timed(11.0)], taken="2026-11-21T00:00:00+00:00")
    found = find_runs([str(tmp_path / "a"), str(tmp_path / "b")])
    assert [run.name for run in found.runs] == ["a/0001_base", "b/0001_base"]
    assert any("two runs are called '0001_base'" in remark for remark in found.remarks)


def test_the_same_run_saved_twice_counts_once(tmp_path: Path) -> None:
    save(tmp_path / "0001_base.json", [timed(10.0)])
    save(tmp_path / "out.json", [timed(10.0)], taken="2026-11-20T13:22:25+00:00")
    found = find_runs([str(tmp_path)])
    assert [run.name for run in found.runs] == ["0001_base"]
    assert any("holds the same run as" in remark for remark in found.remarks)


@pytest.mark.parametrize(("commit", "shown"), [("c2f1587a" + "0" * 32, "c2f1587a"), ("unversioned", ""), (None, "")])
def test_outside_of_a_repository_a_run_has_no_commit(tmp_path: Path, commit: str | None, shown: str) -> None:
    """pytest-benchmark writes `unversioned` there."""
    (run,) = find_runs([str(save(tmp_path / "run.json", [RECORD], commit=commit))]).runs
    assert run.commit == shown
