"""Files of a report: whole or not there, nowhere else, light."""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.files.writing import WriteError, write_all
from fixtures.record.record import MEANINGS
from fixtures.record.saved import read_saved
from fixtures.record.sources import find_runs
from fixtures.report.__main__ import main
from fixtures.report.build import build
from fixtures.report.contents import contents
from fixtures.report.page.data import page_data
from tests.conftest import ROOT
from tests.record import RECORD
from tests.reports import report_on
from tests.saved import H200, detectors, save, timed


def test_nothing_is_written_outside_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would be written outside of"):
        write_all(tmp_path / "out", {"../x": b""})
    assert not (tmp_path / "x").exists()
    (tmp_path / "out" / "b").mkdir(parents=True)
    (tmp_path / "out" / "a").write_text("before")
    with pytest.raises(WriteError, match="it is a folder"):
        write_all(tmp_path / "out", {"a": b"after", "b": b""})
    assert (tmp_path / "out" / "a").read_text() == "before"
    with pytest.raises(WriteError, match="is a file; name a folder"):
        write_all(tmp_path / "out" / "a", {"b": b""})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b"]


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
from fixtures.report.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_full_disk_leaves_the_earlier_report_whole(tmp_path: Path) -> None:
    save(tmp_path / "run.json", detectors())
    out = tmp_path / "out"
    assert main([str(tmp_path / "run.json"), "--out", str(out)]) == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    save(tmp_path / "run.json", [timed(1.0)])
    command = [sys.executable, "-c", FULL, str(tmp_path / "run.json"), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 2
    assert (
        result.stderr.strip().splitlines()[-1]
        == f"report: {str(out / 'report.html')!r} cannot be written: File too large"
    )
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "run.json", detectors())
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "report", Path("/proc/report")):
        assert main([str(tmp_path / "run.json"), "--out", str(out)]) == 2
        assert f"report: {str(out)!r} cannot be written: " in capsys.readouterr().err
    with pytest.raises(WriteError):
        write_all(Path("/proc/report"), {"x": b""})


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    save(tmp_path / "run.json", detectors())
    runs = find_runs([str(tmp_path / "run.json")]).runs
    contents = [{file.name: file.read_bytes() for file in build(runs, tmp_path / "out")} for _ in range(2)]
    assert contents[0] == contents[1]
    usual = tmp_path / "usual"
    usual.touch()
    assert {file.stat().st_mode for file in (tmp_path / "out").iterdir()} == {usual.stat().st_mode}


@pytest.mark.slow
def test_reading_needs_no_torch(tmp_path: Path) -> None:
    save(tmp_path / "run.json", [RECORD])
    code = (
        "import sys; from fixtures.report.__main__ import main; "
        "from fixtures.history.__main__ import main as history; "
        f"code = main(sys.argv[1:]) or history(['{tmp_path}']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


@pytest.mark.slow
def test_a_thousand_cases_need_less_than_a_gigabyte(tmp_path: Path) -> None:
    """Time is not asserted: `results/report-large.json` has what was measured."""
    records = [timed(5.0 + i, model=f"net{i}", batch=1, params=10**6 + i) for i in range(1000)]
    path = save(tmp_path / "run.json", records, rounds=300)
    limited = (
        "import resource, sys; from fixtures.report.__main__ import main; code = main(sys.argv[1:]); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
    )
    command = [sys.executable, "-c", limited, str(path), "--out", str(tmp_path / "out")]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # a child's peak starts at its parent's
    assert int(result.stdout.splitlines()[-1]) * 1024 < max(2**30, before * 1024 + 2**20)
    assert (tmp_path / "out" / "report.html").stat().st_size < 5_000_000


@pytest.mark.slow
def test_charts_of_machines_that_are_gone_are_too(tmp_path: Path) -> None:
    small = detectors()[0]
    save(tmp_path / "cpu.json", [small])
    gpu = save(tmp_path / "gpu.json", [replace(small, device="cuda:0", device_name="NVIDIA H200")], machine=H200)
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    (tmp_path / "out" / "mine.svg").write_text("")
    gpu.unlink()
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    charts = {path.stem for path in (tmp_path / "out").glob("*.svg")}
    assert charts == {"latency-params", "throughput", "size-memory", "distributions", "mine"}


def test_a_formula_is_text_in_the_csv(tmp_path: Path) -> None:
    save(tmp_path / "run.json", [timed(10.0, model='=HYPERLINK("http://x")'), timed(11.0, model="-x")])
    report_on(tmp_path)
    with (tmp_path / "out" / "records.csv").open() as stream:
        assert {row["model"] for row in csv.DictReader(stream)} == {'\'=HYPERLINK("http://x")', "'-x"}


def test_the_page_knows_every_field_that_is_text_a_setting_or_a_number(tmp_path: Path) -> None:
    record = replace(RECORD, baseline_steps=3, prune=0.5)
    data = page_data(contents([read_saved(save(tmp_path / "run.json", [record]))]), tmp_path)
    values = {name: each for name, each in record.extra_info().items() if MEANINGS[name].kind != "bulk"}
    told = {name for name, each in values.items() if each is not None}
    assert told <= data["numbers"].keys() | data["texts"].keys()
