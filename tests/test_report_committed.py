"""The report of the committed baselines: every number is the record's."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fixtures.record.saved import read_saved
from fixtures.report.__main__ import main
from tests.conftest import ROOT
from tests.record import RECORD
from tests.reports import markdown_tables
from tests.saved import save


def committed_files() -> list[Path]:
    """Saved runs that are committed: runs of one's own may lie beside them."""
    command = ["git", "ls-files", "results/*.json"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return [ROOT / name for name in names if Path(name).parent == Path("results")]


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the baselines that are committed, made as the README says."""
    folder = tmp_path_factory.mktemp("committed")
    (folder / "results").mkdir()
    for file in committed_files():
        shutil.copy(file, folder / "results")
    with contextlib.chdir(folder):
        assert main(["results", "--out", "report"]) == 0
    return folder / "report"


def raw_records() -> dict[tuple[str, str], dict[str, Any]]:
    """The committed records as plain JSON, the latest of each case on each machine, read without the suite's reader."""
    files = [json.loads(path.read_text()) for path in committed_files()]
    saved = sorted((file for file in files if "benchmarks" in file), key=lambda file: file["datetime"])
    return {
        (benchmark["fullname"], benchmark["extra_info"]["device_name"]): benchmark["extra_info"]
        for file in saved
        for benchmark in file["benchmarks"]
    }


def agrees(shown: str, value: float | None) -> bool:
    """Whether a cell is that number, to the digits that it shows."""
    if value is None or shown == "–":
        return value is None and shown == "–"
    number = shown.replace(",", "")
    digits = len(number.partition(".")[2])
    return number == f"{value:.{digits}f}"


def test_every_number_of_the_comparison_is_the_records(committed: Path) -> None:
    rows = markdown_tables((committed / "report.md").read_text())["Comparison"]
    records = list(raw_records().values())
    assert len(rows) == len(records)
    for row in rows:
        form = row["prec"] if "-" in row["prec"] else f"{row['prec']}-eager"
        (record,) = [
            r
            for r in records
            if (r["model"], r["workload"], str(r["batch"])) == (row["model"], row["workload"], row["batch"])
            and f"{r['precision']}-{r['runtime']}" == form
            and row["imgsz"] == ("–" if r["imgsz"] is None else str(r["imgsz"]))
            and row.get("machine", r["device_name"]) == r["device_name"]
        ]
        assert agrees(row["p50 ms"], record["latency_p50_ms"])
        assert agrees(row["p95 ms"], record["latency_p95_ms"])
        assert agrees(row.get("p99 ms", "–"), record["latency_p99_ms"])  # left out where no case has one
        assert agrees(row["items/s"], record["throughput_mean_per_s"])
        assert agrees(row["params M"], record["params"] / 1e6)
        assert agrees(row["GFLOPs"], record["gflops"])
        assert agrees(row["peak MiB"], record["peak_host_bytes"] / 2**20)
        assert len(row["flags"]) == len(record["flags"])


def test_every_number_by_batch_is_the_records(committed: Path) -> None:
    rows = markdown_tables((committed / "report.md").read_text())["By batch"]
    assert rows
    records = list(raw_records().values())
    for row in rows:
        model, workload, *form = row["work"].split(" ")
        wanted = (form[0] if "-" in form[0] else f"{form[0]}-eager") if form else "fp32-eager"
        same = [
            r
            for r in records
            if (r["model"], r["workload"], f"{r['precision']}-{r['runtime']}") == (model, workload, wanted)
            and row["imgsz"] == ("–" if r["imgsz"] is None else str(r["imgsz"]))
            and row.get("machine", r["device_name"]) == r["device_name"]
        ]
        (record,) = [r for r in same if str(r["batch"]) == row["batch"]]
        least = min(same, key=lambda r: r["batch"])
        per_s, unit = row["throughput"].split(" ")
        assert float(row["ms a batch"]) == pytest.approx(record["latency_p50_ms"], rel=1e-4)
        assert float(row["ms a sample"]) == pytest.approx(record["latency_p50_ms"] / record["batch"], rel=1e-4)
        assert float(per_s) == pytest.approx(record["throughput_mean_per_s"], rel=1e-3)
        assert unit == record["throughput_unit"]
        gain = record["throughput_mean_per_s"] / least["throughput_mean_per_s"]
        assert float(row["× smallest"]) == pytest.approx(gain, abs=0.005)
        assert agrees(row["peak MiB"], record["peak_host_bytes"] / 2**20)


def test_all_that_was_measured_is_in_the_table_of_records(committed: Path) -> None:
    raw = raw_records()
    with (committed / "records.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(raw)
    for row in rows:
        for name, value in raw[row["case"], row["device_name"]].items():
            cell = row[name]
            if value is None or isinstance(value, str):
                assert cell == (value or ""), name
            else:  # numbers, true and false, lists
                assert json.loads(cell) == value, name


def test_the_committed_report_is_that_of_the_committed_baselines(committed: Path) -> None:
    """`python -m fixtures.report results --out docs/report` again after a baseline or the report changes."""
    assert (ROOT / "docs" / "report" / "report.md").read_text() == (committed / "report.md").read_text()


def test_the_run_names_are_those_of_the_files(tmp_path: Path) -> None:
    assert read_saved(save(tmp_path / "0003_name.json", [RECORD])).name == "0003_name"
