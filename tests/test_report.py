"""What a report says of made records."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.report.__main__ import main
from fixtures.show.markdown import escaped
from tests.reports import all_tables, markdown_tables, report_on
from tests.saved import H200, detectors, save, timed


@pytest.fixture(autouse=True)
def _no_charts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for two tests that read them: they take most of the time."""
    drawn = {"test_the_report_says_what_it_should", "test_machines_stand_side_by_side_without_a_verdict"}
    if request.node.originalname not in drawn:
        monkeypatch.setattr("fixtures.report.build._charts", lambda report: ())


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
        "Warm-up: 3 untimed calls, then 100 timed rounds; processes a case: 1; threads: 2.",
        "sha256 aaaaaaaaaaaa",
        "| REGRESSION | forward[fast-fp32-b1-640] | latency_p50_ms | 20 | 40 | +100.0 % |",
        "| worse forward | 640 | 120 | 4 | beaten by fast forward |",
        "| x[sam] | 0001_a | skipped | no such thing here |",
        "![latency-params](latency-params.svg)",
        "0002_b against 0001_a: gate: 4 regression",
    ):
        assert line in text, line
    assert "| mobile-app | object detection | perhaps | fast forward b1 |" in text
    tables = markdown_tables(text)
    assert [row["model"] for row in tables["Comparison"]] == ["small", "fast", "fast", "worse"]
    assert [row["imgsz"] for row in tables["By batch"]] == ["640", "640"]
    save(tmp_path / "0003_c.json", detectors(), taken="2026-11-22T00:00:00+00:00")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    assert "0003_c against 0002_b: gate: 4 improved" in (tmp_path / "out" / "report.md").read_text()


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


@pytest.mark.slow
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
    small, fast, _, _ = detectors()
    large = replace(fast, peak_host_bytes=2 * small.peak_host_bytes)
    others = [replace(fast, precision="int8", runtime="openvino"), replace(fast, imgsz=320), replace(fast, batch=8)]
    save(tmp_path / "run.json", [small, large, *others])
    gpu = replace(fast, device="cuda:0", device_name="NVIDIA H200", peak_device_allocated_bytes=0)
    save(tmp_path / "gpu.json", [gpu], machine=H200)
    assert main([str(tmp_path), "--out", str(tmp_path / "out"), "--relative-to=small"]) == 0
    rows = markdown_tables((tmp_path / "out" / "report.md").read_text())["Relative to small"]
    assert [(row["case"], row["machine"], row["speed ×"], row["peak ×"]) for row in rows] == [
        ("forward small fp32 b1 640", "AMD EPYC", "1", "1"),
        ("forward fast fp32 b1 640", "AMD EPYC", "2", "2"),
    ]
    (tmp_path / "gpu.json").unlink()
    save(tmp_path / "run.json", detectors())
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
    assert escaped("_a_ b_c ~~d~~ $e$ @f g@ #1 #h") == "\\_a\\_ b_c \\~\\~d\\~\\~ \\$e\\$ &#64;f g@ &#35;1 #h"
    assert [escaped(text) for text in ("# a", "- a", "1. a", ">a", "-5 %", "1.5")] == [
        "&#35; a",
        "\\- a",
        "1\\. a",
        "\\>a",
        "-5 %",
        "1.5",
    ]


def test_a_record_with_hardly_anything_is_shown(tmp_path: Path) -> None:
    bare = replace(timed(10.0, batch=1), params=None, gflops=None, gmacs=None, weights_bytes=None, imgsz=None)
    save(tmp_path / "run.json", [bare], rounds=3, machine={}, commit=None)
    (tmp_path / "run.json").write_text((tmp_path / "run.json").read_text().replace('"datetime"', '"was"'))
    assert main([str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]) == 0
    assert "1 case of 1 model on AMD EPYC; 1 run, –" in (tmp_path / "out" / "report.md").read_text()


def test_a_run_of_which_everything_was_skipped_is_a_report_too(tmp_path: Path) -> None:
    missing = [{"nodeid": "benchmarks/a.py::test_a[x]", "model": "x", "workload": "a", "variant": "fp32-eager"}]
    missing[0] |= {"batch": 1, "imgsz": None, "reason": "because", "failed": True}
    save(tmp_path / "run.json", [], missing=missing)
    assert main([str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]) == 0
    assert "| a[x] | run | failed | because |" in (tmp_path / "out" / "report.md").read_text()


def test_a_gap_is_told_until_a_later_run_there_has_the_case(tmp_path: Path) -> None:
    small, fast, _, _ = detectors()
    nodeid = "benchmarks/test_yolo.py::test_forward[fast-fp32-b1-640]"
    failed = [{"nodeid": nodeid, "status": "out_of_memory", "reason": "no room", "process": 0, "peak_host_bytes": 1}]
    save(tmp_path / "0001_before.json", [small, fast])
    save(tmp_path / "0002_today.json", [small], failed=failed, taken="2026-11-21T00:00:00+00:00")
    gpu = [replace(r, device="cuda:0", device_name="NVIDIA H200") for r in (small, fast)]
    save(tmp_path / "0003_gpu.json", gpu, machine=H200, taken="2026-11-22T00:00:00+00:00")
    text = report_on(tmp_path)
    assert "| forward[fast-fp32-b1-640] | 0002_today | failed | out_of_memory: no room |" in text
    assert [row["skipped or failed"] for row in all_tables(text)["Environment"][1]] == ["0", "1", "0"]
    assert "No case was skipped" not in text
    save(tmp_path / "0004_fixed.json", [fast], taken="2026-11-23T00:00:00+00:00")
    text = report_on(tmp_path)
    assert "no room" not in text
    assert "What was skipped or failed was measured there by a later run." in text


def test_shifts_over_the_runs_are_a_section_the_latest_first(tmp_path: Path) -> None:
    small, fast, _, _ = detectors()
    for day in range(12):
        records = [timed(40.0 * (1.2 if day >= 8 else 1), small), timed(20.0 * (0.8 if day >= 4 else 1), fast)]
        save(tmp_path / f"{day:04}_run.json", records, taken=f"2026-11-{day + 1:02}T00:00:00+00:00", rounds=6)
    rows = markdown_tables(report_on(tmp_path))["Shifts"]
    assert [(row["when"], row["case"], row["change"]) for row in rows] == [
        ("2026-11-09", "forward[small-fp32-b1-640]", "+20.0 %"),
        ("2026-11-05", "forward[fast-fp32-b1-640]", "-20.0 %"),
    ]


def test_a_variant_is_set_beside_its_baseline_on_its_own_machine(tmp_path: Path) -> None:
    small = detectors()[0]
    variant = replace(
        timed(20.0, small), runtime="onnxruntime", baseline="fp32-eager", speedup=2.0, speedup_low=1.9, speedup_high=2.1
    )
    save(tmp_path / "cpu.json", [small, variant])
    gpu = replace(small, device="cuda:0", device_name="NVIDIA H200")
    gone = {"nodeid": "benchmarks/test_yolo.py::test_forward[small-fp32-b1-640-tensorrt]", "model": "small"}
    gone |= {"workload": "forward", "variant": "fp32-tensorrt", "batch": 1, "imgsz": 640, "reason": "no tensorrt here"}
    save(tmp_path / "gpu.json", [gpu], machine=H200, missing=[gone], taken="2026-11-21T00:00:00+00:00")
    text = report_on(tmp_path).split("## What is faster")[1].split("\n## ")[0]
    cpu, _, other = text.partition("NVIDIA H200")
    assert "AMD EPYC" in cpu
    assert "onnxruntime" in cpu
    assert "no tensorrt here" not in cpu
    assert "onnxruntime" not in other


def test_what_should_hold_and_does_not_is_said(tmp_path: Path) -> None:
    save(tmp_path / "run.json", detectors()[:2])
    (tmp_path / "mine.toml").write_text('[must]\nlatency = "< 100 ms"\n[should]\nmemory = "< 10 MB"\n')
    text = report_on(tmp_path, f"--budget={tmp_path / 'mine.toml'}")
    (row,) = markdown_tables(text)["Which model for which scenario"]
    assert row["verdict"] == "recommended; 1 should missed"
    assert "memory (should) &lt; 10 MB: 734 MB" in row["decided by"]
    assert "1 of 1 choices meet every limit that must hold" in text


def test_places_and_conclusions_agree(tmp_path: Path) -> None:
    tie = [timed(10.7, model="a", batch=1), timed(11.3, model="b", batch=1)]
    broken = replace(timed(9.0, model="b", batch=1), precision="int8", agreement_cosine_min=0.2)
    far = replace(timed(1000.0, model="c", batch=1), device="remote", device_name="https://example.org")
    save(tmp_path / "run.json", [*tie, broken])
    save(tmp_path / "remote.json", [far, replace(far, model="d")])
    text = report_on(tmp_path)
    assert "a forward (93.46) and b forward (88.5) are not told apart as the fastest;" in text
    assert "a forward (700 MiB) and b forward (700 MiB) need the least memory." in text
    assert "| – | b forward int8 ! | 224 |" in text
    # What the client takes says nothing of the model.
    tied = "c forward (1) and d forward (1) are not told apart as the fastest."
    assert f"https://example.org, your own, forward: images/s: {tied}" in text
    remote = [row for row in markdown_tables(text)["Comparison"] if row["machine"].startswith("https")]
    assert {row["peak MiB"] for row in remote} == {"–"}


def test_where_no_larger_batch_pays_that_is_said(tmp_path: Path) -> None:
    small = detectors()[0]
    worse = [timed(40.0 * batch * (1 + batch / 10), small, batch=batch) for batch in (1, 4)]
    save(tmp_path / "run.json", [*worse, *(replace(r, model="other") for r in worse)])
    text = report_on(tmp_path)
    assert "AMD EPYC: throughput at the largest batch over that at the smallest pays for none: at most" in text
    gains = [timed(40.0 * batch**0.5, small, batch=batch, model="gains") for batch in (1, 4)]
    save(tmp_path / "run.json", [*worse, *gains])
    assert "pays most for gains forward at 640 px, batch 4 (2.00 times), least for small" in report_on(tmp_path)


def test_a_stage_has_no_place_beside_the_whole_and_tasks_none_beside_each_other(tmp_path: Path) -> None:
    """ "nms is the fastest" was said of a detector, and of CLIP that it beats BLIP-2."""
    small, fast, _, _ = detectors()
    stages = [timed(1.0, each, workload="nms", gflops=0.0) for each in (small, fast)]
    blip = timed(300.0, small, model="blip", task="captioning", params=3_000_000_000)
    several = timed(2.0, small, model="crowded", task="captioning", process_of_its_own=False)
    save(tmp_path / "run.json", [small, fast, *stages, blip, several])
    text = report_on(tmp_path)
    assert "AMD EPYC, object detection, nms: images/s: small nms (1000) and fast nms (1000) are not told apart" in text
    assert "object detection, forward: images/s: fast forward (50) is the fastest" in text
    every = all_tables(text)["Rankings"][-2:]
    assert text.index("every model by latency") < text.index("every model by memory")
    assert [[row["model"] for row in rows] for rows in every] == [
        ["crowded", "fast", "small", "blip"],
        ["small", "fast", "blip"],
    ]
    assert {row["workload"] for rows in every for row in rows} == {"forward"}
    save(tmp_path / "run.json", [small, fast])
    assert "every model by" not in report_on(tmp_path)
