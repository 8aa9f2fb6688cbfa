"""The report as a whole: Markdown whose every number is a record's, files that are whole or not there."""

from __future__ import annotations

import contextlib
import csv
import json
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fixtures.readout.markdown import escaped
from fixtures.readout.saved import read_saved
from fixtures.report.__main__ import main
from fixtures.report.build import build
from fixtures.report.files import WriteError, write_all
from fixtures.report.sources import find_runs
from tests.conftest import RECORD, ROOT
from tests.saved import H200, detectors, save, timed


def markdown_tables(text: str) -> dict[str, list[dict[str, str]]]:
    """Rows by heading, of the first table of each section."""
    found: dict[str, list[dict[str, str]]] = {}
    for part in text.split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("| ")]
        cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
        end = next((i for i, line in enumerate(body.splitlines()) if line.startswith("| ")), 0)
        length = next((n for n, line in enumerate(body.splitlines()[end:]) if not line.startswith("| ")), len(lines))
        found[title] = [dict(zip(cells[0], row, strict=True)) for row in cells[2:length]] if cells else []
    return found


def committed_files() -> list[Path]:
    """Saved runs that are committed: runs of one's own may lie beside them."""
    command = ["git", "ls-files", "results/*.json"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return [ROOT / name for name in names if Path(name).parent == Path("results")]


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
        assert agrees(row["p99 ms"], record["latency_p99_ms"])
        assert agrees(row["items/s"], record["throughput_p50_per_s"])
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
        assert float(per_s) == pytest.approx(record["throughput_p50_per_s"], rel=1e-3)
        assert unit == record["throughput_unit"]
        gain = record["throughput_p50_per_s"] / least["throughput_p50_per_s"]
        assert float(row["× smallest"]) == pytest.approx(gain, abs=0.005)
        assert agrees(row["peak MiB"], record["peak_host_bytes"] / 2**20)


def test_all_that_was_measured_is_in_the_tables_of_records(committed: Path) -> None:
    frame = pl.read_parquet(committed / "records.parquet")
    raw = raw_records()
    assert frame.height == len(raw)
    for row in frame.iter_rows(named=True):
        record = raw[row["case"], row["device_name"]]
        for name, value in record.items():
            if value is None or isinstance(value, (str, int, float)):
                assert row[name] == value, name
            else:
                assert json.loads(row[name]) == value, name
    with (committed / "records.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["latency_p50_ms"]) for row in rows] == frame["latency_p50_ms"].to_list()


def test_the_committed_report_is_that_of_the_committed_baselines(committed: Path) -> None:
    """`python -m fixtures.report results --out results/report` again after a baseline or the report changes."""
    assert (ROOT / "results" / "report" / "report.md").read_text() == (committed / "report.md").read_text()


def test_the_report_says_what_it_should(tmp_path: Path) -> None:
    missing = [
        {"nodeid": "benchmarks/test_sam.py::test_x[sam]", "model": "sam", "workload": "x", "variant": "fp32-eager"}
        | {"batch": 1, "imgsz": None, "reason": "no such thing here", "failed": False}
    ]
    save(tmp_path / "0001_a.json", [replace(r, flags=("drift",)) for r in detectors()], missing=missing)
    slower = [timed(r.latency_p50_ms * 2, r) for r in detectors()]
    save(tmp_path / "0002_b.json", slower, taken="2026-11-21T00:00:00+00:00", commit="a" * 40)
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.md").read_text()
    for line in (
        "4 cases of 3 models on AMD EPYC; 2 runs, 2026-11-20 to 2026-11-21.",
        "Clock: perf_counter; latency is of one call of the whole batch",
        "Warm-up: 3 untimed calls, then 100 timed rounds in 1 process(es) a case; 2 thread(s).",
        "sha256 aaaaaaaaaaaa",
        "| REGRESSION | forward[fast-fp32-b1-640] | latency_p50_ms | 20 | 40 | +100.0 % |",
        "| worse forward | 640 | 120 | 4 | beaten by fast forward |",
        "| x[sam] | 0001_a | skipped | no such thing here |",
        "![latency-params](latency-params.svg)",
    ):
        assert line in text, line
    assert "| mobile-app | object detection | perhaps | fast forward b1 |" in text
    tables = markdown_tables(text)
    assert [row["model"] for row in tables["Comparison"]] == ["small", "fast", "fast", "worse"]
    assert [row["imgsz"] for row in tables["By batch"]] == ["640", "640"]


def test_throughput_stands_apart_from_latency(tmp_path: Path) -> None:
    small = detectors()[0]
    window = replace(timed(39.0, small), workload="window", qps_window_per_s=26.5)
    best = replace(timed(150.0, small), workload="best_batch", batch=4, best_batch=4, best_throughput_per_s=31.0)
    best = replace(best, notes=("best_batch: the search ended: batches 8 and 16 gain less than 3 %",))
    save(tmp_path / "run.json", [small, window, best])
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    tables = markdown_tables((tmp_path / "out" / "report.md").read_text())
    assert [list(row.values()) for row in tables["Throughput"]] == [
        ["small", "fp32", "640", "4", "images/s", "–", "31", "batches 8 and 16 gain less than 3 %"],
        ["small", "fp32", "640", "1", "images/s", "26.5", "–", ""],
    ]
    assert len(tables["Comparison"]) == 3
    assert tables["Rankings"] == tables["Pareto front"] == tables["By batch"] == []
    rows = {row["scenario"]: row for row in tables["Which model for which scenario"]}
    assert rows["cloud-batch"]["model"] == "small best_batch b4"
    assert "qps > 500: 31 (0.062 × the limit)" in rows["cloud-batch"]["decided by"]


def test_machines_stand_side_by_side_without_a_verdict(tmp_path: Path) -> None:
    small = detectors()[0]
    save(tmp_path / "cpu.json", [small])
    gpu = replace(timed(2.0, small), device="cuda:0", device_name="NVIDIA H200", peak_device_allocated_bytes=10**9)
    save(tmp_path / "gpu.json", [gpu], machine=H200, taken="2026-11-21T00:00:00+00:00")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.md").read_text()
    (row,) = markdown_tables(text)["Machines side by side"]
    assert row["AMD EPYC p50 ms"] == "40"
    assert row["NVIDIA H200 p50 ms"] == "2"
    assert row["NVIDIA H200 × AMD EPYC"] == "20"
    assert "driver 580.95, CUDA 13.0" in text
    assert "No two of these runs share a case on the same machine." in text
    assert "REGRESSION" not in text
    assert "improved" not in text
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--relative-to=NVIDIA H200"]) == 0
    (row,) = markdown_tables((tmp_path / "out" / "report.md").read_text())["Machines side by side"]
    assert row["AMD EPYC × NVIDIA H200"] == "0.05"
    assert {"latency-params-1-AMD-EPYC.svg", "latency-params-2-NVIDIA-H200.svg"} <= {
        file.name for file in (tmp_path / "out").iterdir()
    }


def test_models_are_set_against_a_chosen_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "run.json", detectors())
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--relative-to=small"]) == 0
    rows = markdown_tables((tmp_path / "out" / "report.md").read_text())["Relative to small"]
    assert [(row["speed ×"], row["params ×"]) for row in rows] == [("1", "1"), ("2", "1.5"), ("0.667", "2")]
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--relative-to=nobody"]) == 2
    assert (
        "no model and no machine is called 'nobody'; there are AMD EPYC, small, fast, worse" in capsys.readouterr().err
    )


def test_names_from_outside_are_text_in_markdown(tmp_path: Path) -> None:
    odd = "<script>alert(1)</script> | *b* [x](javascript:0) `c` \n# d"
    save(tmp_path / "run.json", [timed(10.0, model=odd, batch=1), timed(30.0, model="../../x", batch=1)])
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "report.md").read_text()
    assert "<script>" not in text
    assert "[x](javascript" not in text
    assert "\n# d" not in text
    assert "&lt;script>alert(1)&lt;/script> \\| \\*b\\* [x\\](javascript:0) \\`c\\` # d" in text
    assert escaped("a|b") == "a\\|b"


def test_nothing_is_written_outside_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would be written outside of"):
        write_all(tmp_path / "out", {"../x": b""})
    assert not (tmp_path / "x").exists()


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
from fixtures.report.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_full_disk_leaves_the_earlier_report_whole(tmp_path: Path) -> None:
    save(tmp_path / "run.json", detectors())
    out = tmp_path / "out"
    assert main([str(tmp_path / "run.json"), "--out", str(out)]) == 0
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    save(tmp_path / "run.json", [timed(1.0)])
    command = [sys.executable, "-c", FULL, str(tmp_path / "run.json"), "--out", str(out)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1] == f"report: {str(out)!r} cannot be written: File too large"
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


def test_a_record_with_hardly_anything_is_shown(tmp_path: Path) -> None:
    bare = replace(timed(10.0, batch=1), params=None, gflops=None, gmacs=None, weights_bytes=None, imgsz=None)
    save(tmp_path / "run.json", [bare], rounds=3, machine={}, commit=None)
    (tmp_path / "run.json").write_text((tmp_path / "run.json").read_text().replace('"datetime"', '"was"'))
    assert main([str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]) == 0
    assert "1 cases of 1 models" in (tmp_path / "out" / "report.md").read_text()


def test_a_run_of_which_everything_was_skipped_is_a_report_too(tmp_path: Path) -> None:
    missing = [{"nodeid": "benchmarks/a.py::test_a[x]", "model": "x", "workload": "a", "variant": "fp32-eager"}]
    missing[0] |= {"batch": 1, "imgsz": None, "reason": "because", "failed": True}
    save(tmp_path / "run.json", [], missing=missing)
    assert main([str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]) == 0
    assert "| a[x] | run | failed | because |" in (tmp_path / "out" / "report.md").read_text()


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    save(tmp_path / "run.json", [RECORD])
    code = (
        "import sys; from fixtures.report.__main__ import main; "
        "from fixtures.history.__main__ import main as history; "
        f"code = main(sys.argv[1:]) or history(['{tmp_path}', '--file', '{tmp_path}/h.duckdb']); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


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


def test_the_run_names_are_those_of_the_files(tmp_path: Path) -> None:
    assert read_saved(save(tmp_path / "0003_name.json", [RECORD])).name == "0003_name"
