"""The table, the CSV, and the comparison with a saved baseline."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_benchmark.utils import parse_compare_fail

from fixtures.bench import checks_of
from fixtures.judge.comparison import compare, differences
from fixtures.judge.limits import METRICS
from fixtures.record.record import Record
from fixtures.record.saved import SavedError, SavedRun, read_saved
from fixtures.show.table import COLUMNS, table_text, write_csv
from fixtures.stats.percentiles import latency_of

CASE = "benchmarks/test_custom.py::test_forward[net-fp32-b8-224]"


EVERY_FLAG = ("throttled", "foreign_gpu_process", "cpu_throttled", "host_busy", "drift", "unstable")


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_narrow_terminal_goes_without_the_less_needed_columns(record: Record, width: int) -> None:
    text = table_text([replace(record, latency_p99_ms=12.0, latency_p50_ms=14598.28, flags=EVERY_FLAG)], width)
    assert max(map(len, text.splitlines())) <= width
    for heading in ("model", "p50 ms", "peak MiB", "flags"):
        assert heading in text


def test_every_flag_is_a_letter_that_is_explained(record: Record) -> None:
    text = table_text([replace(record, latency_p99_ms=12.0, flags=EVERY_FLAG)])
    assert "TFQBDU" in text
    assert all(flag in text for flag in EVERY_FLAG)


@pytest.mark.parametrize("flags", [(), EVERY_FLAG])
def test_the_table_fits_120_columns(record: Record, flags: tuple[str, ...]) -> None:
    names = {"model": "blip2-opt-2.7b-finetuned", "workload": "non_max_suppression"}
    long = replace(record, **names, params=3_744_679_936, flags=flags)  # type: ignore[arg-type]
    text = table_text([record, long])
    assert max(map(len, text.splitlines())) <= 120
    for column in COLUMNS:
        assert column.heading.split()[0] in text


def test_the_table_shows_the_records_numbers(record: Record) -> None:
    row = table_text([record]).splitlines()[2]
    assert " ".join(row.split()) == "net forward 8 224 fp32 10.00 11.50 – 800.0 images 25.56 8.000 700.0"


def test_small_numbers_do_not_read_zero(record: Record) -> None:
    text = table_text([replace(record, throughput_mean_per_s=0.1117, params=257_600)])
    assert "0.1117" in text
    assert "0.2576" in text


def test_memory_of_a_process_that_held_other_models_says_so(record: Record) -> None:
    for own, said in ((True, False), (None, False), (False, True)):
        text = " ".join(table_text([replace(record, process_of_its_own=own)]).split())
        assert ("peak: process memory, of all models that a process measures (--isolate: each its own)" in text) is said
    shared = replace(record, process_of_its_own=False, peak_device_allocated_bytes=2**20)
    assert "--isolate" not in table_text([shared])


def test_what_steadies_a_shared_machine_is_said_where_others_used_it(record: Record) -> None:
    for threads, flags, said in ((2, ("host_busy",), True), (1, ("host_busy",), False), (2, ("drift",), False)):
        text = " ".join(table_text([replace(record, threads=threads, flags=flags)]).split())
        assert ("--threads=1 is steadier where others use the machine" in text) is said


def test_a_name_from_outside_is_no_markup(record: Record) -> None:
    assert "[red]x" in table_text([replace(record, model="[red]x")])


def test_the_csv_has_the_tables_columns_with_all_digits(record: Record, tmp_path: Path) -> None:
    write_csv(tmp_path / "r.csv", [record, replace(record, latency_p50_ms=1 / 3)])
    with (tmp_path / "r.csv").open(newline="") as stream:
        first, second = csv.DictReader(stream)
    assert list(first) == [column.name for column in COLUMNS]
    assert float(second["latency_p50_ms"]) == 1 / 3
    assert first["latency_p99_ms"] == ""
    assert [file.name for file in tmp_path.iterdir()] == ["r.csv"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"device": "cuda:0"}, ["device cpu -> cuda:0"]),
        ({"device_name": "NVIDIA H200"}, ["device_name AMD EPYC -> NVIDIA H200"]),
        ({"weights": "random:43"}, ["weights random:42 -> random:43"]),
        ({"inputs_digest": "c" * 64}, ["inputs_digest aaaaaaaaaaaa -> cccccccccccc"]),
        ({"precision": "bf16"}, ["precision fp32 -> bf16"]),
        ({"threads": 8}, ["threads 2 -> 8"]),
        ({"latency_p50_ms": 99.0, "flags": ("drift",), "peak_host_bytes": 1}, []),
    ],
)
def test_what_forbids_a_comparison(record: Record, change: dict[str, object], said: list[str]) -> None:
    assert differences(record, replace(record, **change)) == said  # type: ignore[arg-type]


def baseline(record: Record) -> SavedRun:
    return SavedRun(Path("0001_base.json"), {CASE: record}, {CASE: {"median": 0.010}})


def checks(text: str) -> list[Any]:
    return checks_of(SimpleNamespace(option=SimpleNamespace(benchmark_compare_fail=[parse_compare_fail(text)])))  # type: ignore[arg-type]


def test_a_regression_is_told_in_milliseconds_and_percent(record: Record) -> None:
    found = compare({CASE: record}, {CASE: {"median": 0.0123}}, [baseline(record)], checks("median:10%"))
    assert found.regressed == {CASE: ["median 10.000 -> 12.300 ms (+23.0 %, limit 10 %)"]}


def test_an_absolute_limit_is_in_seconds(record: Record) -> None:
    limit = checks("median:0.002")
    assert not compare({CASE: record}, {CASE: {"median": 0.0119}}, [baseline(record)], limit).regressed
    found = compare({CASE: record}, {CASE: {"median": 0.0125}}, [baseline(record)], limit)
    assert found.regressed == {CASE: ["median 10.000 -> 12.500 ms (+2.500 ms, limit 2 ms)"]}


def test_a_refused_case_is_no_regression_and_a_new_one_is_named(record: Record) -> None:
    other = replace(record, weights="random:43")
    found = compare(
        {CASE: other, "new": replace(record, batch=4)},
        {CASE: {"median": 1.0}, "new": {"median": 1.0}},
        [baseline(record)],
        checks("median:10%"),
    )
    assert (list(found.refused), found.regressed, found.new, found.compared) == ([CASE], {}, ("new",), ())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"benchmarks": [', "is not JSON, perhaps truncated"),
        ("[]", "is not a file that pytest-benchmark saved"),
        ('{"benchmarks": [{"fullname": "a", "extra_info": {}, "stats": {}}]}', "no record"),
        ('{"benchmarks": [{"fullname": "a"}]}', "is damaged: Object missing required field `extra_info`"),
    ],
)
def test_a_baseline_that_cannot_be_read_is_told_why(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "b.json").write_text(content)
    with pytest.raises(SavedError, match=message):
        read_saved(tmp_path / "b.json")


def test_the_reading_side_never_imports_torch() -> None:
    """A gate or a report runs in a second on a laptop without it."""
    code = "import sys, fixtures.show.table, fixtures.judge.comparison; sys.exit('torch' in sys.modules)"
    root = Path(__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root).returncode == 0


def test_committed_baselines_can_be_read() -> None:
    files = sorted((Path(__file__).parent.parent / "results").glob("0*.json"))
    assert files
    for file in files:
        assert read_saved(file).records
        assert all(b["stats"]["data"] for b in json.loads(file.read_text())["benchmarks"])


def test_another_precision_is_refused_by_name_though_its_id_differs(record: Record) -> None:
    nodeid = CASE.replace("fp32", "bf16")
    found = compare({nodeid: replace(record, precision="bf16")}, {nodeid: {}}, [baseline(record)], [])
    assert (found.refused, found.new) == ({nodeid: ["precision fp32 -> bf16"]}, ())


def test_a_rate_is_that_of_the_mean_and_not_of_the_median(record: Record) -> None:
    """Of calls that take 2 ms nine times in ten and 50 ms else, 464 a second were shown, and 147 are true."""
    slow = latency_of([2.0] * 9 + [50.0])
    uneven = replace(record, batch=1, throughput_mean_per_s=1e3 / slow.latency_mean_ms, **asdict(slow))
    assert "147.1" in table_text([uneven])
    assert METRICS["fps"].value(uneven) == (pytest.approx(1e3 / 6.8), "samples/s by the mean")


def test_a_variant_that_changed_little_says_how_much(record: Record) -> None:
    """int8 of a ResNet is one layer in torch's own kernels; it stood there as int8."""
    little = replace(record, precision="int8", quantized_share=0.04)
    assert "int8 of 4 % of the weights" in " ".join(table_text([little], 200).split())
    assert little.told_form == "int8-eager of 4 % of the weights"
    assert replace(little, quantized_share=0.9).told_form == "int8-eager"
    assert replace(little, quantized_share=None).told_form == "int8-eager"


def test_gflops_of_which_something_is_missing_are_a_least(record: Record) -> None:
    some = replace(record, gflops=1.5, flops_uncounted_ops=("aten.mv",))
    text = table_text([some, record], 200)
    assert "≥ 1.500" in text
    assert "≥ not counted: aten.mv" in " ".join(text.split())
    assert text.count("≥ ") == 2
