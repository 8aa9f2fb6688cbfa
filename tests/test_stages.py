"""Stages of one answer: one row with the whole of it, and no place against each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.record.record import Record
from fixtures.show.details import detail_texts
from fixtures.show.stages import table_for
from tests.reports import all_tables, report_on
from tests.saved import save
from tests.saved import timed as consistent


def timed(record: Record, workload: str, ms: float, **changes: Any) -> Record:
    times: dict[str, Any] = {f"latency_{name}_ms": ms for name in ("p50", "mean")}
    rate = {"throughput_mean_per_s": 1e3 * record.batch / ms}
    return replace(record, model="yolo", workload=workload, **{"family": "yolo", **times, **rate, **changes})


@pytest.fixture
def detector(record: Record) -> list[Record]:
    parts = {"preprocess": 4.0, "forward": 20.0, "nms": 1.0, "end_to_end": 26.0}
    # What each is given is made of the same list, and is not the same bytes.
    return [timed(record, name, ms, inputs_digest=f"{ms:064}") for name, ms in parts.items()]


def test_stages_are_columns_of_the_row_from_end_to_end(detector: list[Record]) -> None:
    found = table_for(detector)
    assert found is not None
    assert found.headings == (
        *("model", "prec", "batch", "imgsz"),
        *("preprocess ms", "forward ms", "nms ms", "sum ms", "end_to_end ms", "items/s"),
    )
    assert found.rows == (("yolo", "fp32", "8", "224", "4.000", "20.00", "1.000", "25.00", "26.00", "307.7"),)


def test_a_stage_that_sees_no_image_belongs_to_every_size(record: Record) -> None:
    record = replace(record, inputs_list=None)
    sizes = [
        timed(record, name, 30.0, imgsz=size, family="sam")
        for name in ("image_encoder", "end_to_end")
        for size in (512, 1024)
    ]
    found = table_for([*sizes, timed(record, "mask_decoder", 2.0, imgsz=None, family="sam")])
    assert found is not None
    assert [(row[3], row[5]) for row in found.rows] == [("512", "2.000"), ("1024", "2.000")]


CHANGES: list[dict[str, Any]] = [{"batch": 1}, {"precision": "bf16"}, {"imgsz": 320}, {"every_ms": 5.0}]


@pytest.mark.parametrize("changes", [*CHANGES, {"inputs_list": "other.json"}, {"inputs_count": 3}])
def test_what_is_another_case_is_no_stage_of_it(detector: list[Record], changes: dict[str, Any]) -> None:
    others = [each if each.workload == "end_to_end" else replace(each, **changes) for each in detector]
    assert table_for(others) is None
    lacking = [replace(each, **changes) if each.workload == "nms" else each for each in detector]
    found = table_for(lacking)
    assert found is not None
    assert "nms ms" not in found.headings
    assert found.rows[0][-3:-1] == ("–", "26.00")  # a sum without a stage is none


def test_without_a_whole_or_stages_there_is_no_table(detector: list[Record]) -> None:
    assert table_for(detector[:3]) is None
    assert table_for(detector[2:]) is None
    assert table_for([]) is None


def test_a_run_and_a_report_show_them(detector: list[Record], tmp_path: Path) -> None:
    assert any("end_to_end ms" in each for each in detail_texts(detector, 120))
    save(tmp_path / "0001_a.json", [consistent(each.latency_p50_ms, each) for each in detector])
    ((row,),) = all_tables(report_on(tmp_path))["Stages"]
    assert (row["model"], row["nms ms"], row["sum ms"], row["end_to_end ms"]) == ("yolo", "1.000", "25.00", "26.00")
