"""The pictures: what they draw is what was measured, nothing covers anything, everything has a unit."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from fixtures.record.record import Record
from fixtures.record.saved import read_saved
from fixtures.record.sources import find_runs
from fixtures.report.charts.distributions import distributions
from fixtures.report.charts.draw import KINDS, pictures
from fixtures.report.charts.rows import energy, size_memory, throughput
from fixtures.report.charts.scatter import latency_params, roofline
from fixtures.report.charts.style import COLOURS, SETTINGS, SMALLEST_PT
from fixtures.report.contents import Report, contents
from tests.conftest import ROOT
from tests.saved import detectors, save, timed

PEAKS = {"arithmetic_intensity": 20.0, "mfu": 0.5, "device_peak_gflops_per_s": 500.0, "device_peak_gbytes_per_s": 40.0}


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    with mpl.rc_context(SETTINGS):
        yield


def report_of(tmp_path: Path, records: list[Record]) -> Report:
    return contents([read_saved(save(tmp_path / "run.json", records))])


def points(drawn: Figure, axes: int = 0) -> set[tuple[float, float]]:
    return {
        (round(float(x), 6), round(float(y), 6))
        for collection in drawn.axes[axes].collections
        for x, y in collection.get_offsets()  # type: ignore[union-attr]
    }


def texts(drawn: Figure) -> list[Text]:
    return [text for text in drawn.findobj(Text) if text.get_text().strip() and text.get_visible()]


def test_parameters_and_latency_are_the_records(tmp_path: Path) -> None:
    report = report_of(tmp_path, detectors())
    drawn = latency_params(report.cases, report.machines[0])
    assert drawn is not None
    assert points(drawn) == {(2.0, 40.0), (3.0, 20.0), (4.0, 60.0)}
    (front,) = [line for line in drawn.axes[0].lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.5]  # type: ignore[arg-type]
    assert list(front.get_xdata()) == [2.0, 3.0]  # type: ignore[arg-type]
    assert (drawn.axes[0].get_xscale(), drawn.axes[0].get_yscale()) == ("log", "log")
    half = replace(timed(10.0, detectors()[0]), imgsz=320)
    report = report_of(tmp_path, [*detectors(), half])
    drawn = latency_params(report.cases, report.machines[0])
    assert drawn is not None
    assert {(2.0, 10.0), (2.0, 40.0)} <= points(drawn)
    assert {"small 320", "small 640"} <= {text.get_text() for text in texts(drawn)}


def test_throughput_and_time_are_the_records(tmp_path: Path) -> None:
    report = report_of(tmp_path, detectors())
    drawn = throughput(report.cases, report.machines[0])
    assert drawn is not None
    assert points(drawn, 0) == {(25.0, 0), (50.0, 1), (80.0, 1), (round(1e3 / 60, 6), 2)}
    assert points(drawn, 1) == {(40.0, 0), (20.0, 1), (12.5, 1), (60.0, 2)}
    assert [label.get_text() for label in drawn.axes[0].get_yticklabels()] == [
        "small 640",
        "fast 640",
        "worse 640",
    ]
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == ["batch 1", "batch 8"]  # type: ignore[union-attr]
    assert {axes.get_xscale() for axes in drawn.axes} == {"log"}


def test_size_and_memory_are_the_records(tmp_path: Path) -> None:
    records = [replace(r, weights_bytes=2**20, peak_host_bytes=5 * 2**20) for r in detectors()[:1]]
    report = report_of(tmp_path, [replace(records[0], model_file_bytes=3 * 2**20)])
    drawn = size_memory(report.cases, report.machines[0])
    assert drawn is not None
    assert points(drawn) == {(3.0, 0.0), (5.0, 0.0)}
    assert any("the whole process's" in text.get_text().replace("\n", " ") for text in texts(drawn))
    part = replace(records[0], workload="part", peak_host_bytes=7 * 2**20, runtime_file_bytes=2**21)
    part = replace(part, model_file_bytes=3 * 2**20)
    batched = replace(records[0], batch=8, peak_host_bytes=9 * 2**20)
    report = report_of(tmp_path, [records[0], part, batched])
    drawn = size_memory(report.cases, report.machines[0])
    assert drawn is not None
    assert points(drawn) == {(2.0, 0.0), (7.0, 0.0)}
    report = report_of(tmp_path, [replace(r, device="cuda:0", peak_device_allocated_bytes=2**20) for r in records])
    drawn = size_memory(report.cases, report.machines[0])
    assert drawn is not None
    assert any("memory: the device's" in text.get_text().replace("\n", " ") for text in texts(drawn))


@pytest.mark.parametrize("own", [True, None, False])
def test_memory_of_processes_that_held_several_models_is_told(tmp_path: Path, own: bool | None) -> None:
    report = report_of(tmp_path, [replace(record, process_of_its_own=own) for record in detectors()])
    drawn = size_memory(report.cases, report.machines[0])
    assert drawn is not None
    told = any("some of which held several models (--isolate)" in t.get_text().replace("\n", " ") for t in texts(drawn))
    assert told is (own is False)


def test_the_roofline_has_what_was_attained_below_the_machines_roof(tmp_path: Path) -> None:
    record = replace(timed(10.0, batch=1), gflops=2.0, **PEAKS)  # type: ignore[arg-type]
    report = report_of(tmp_path, [record])
    drawn = roofline(report.cases, report.machines[0])
    assert drawn is not None
    assert points(drawn) == {(20.0, 200.0)}
    (roof,) = [line for line in drawn.axes[0].lines if len(line.get_xdata()) == 100]  # type: ignore[arg-type]
    for x, y in zip(roof.get_xdata(), roof.get_ydata(), strict=True):  # type: ignore[arg-type]
        assert math.isclose(y, min(500.0, 40.0 * x))
    for without in (replace(record, mfu=None), replace(record, precision="int8")):
        assert roofline(report_of(tmp_path, [without]).cases, report.machines[0]) is None


def test_no_point_lies_above_a_roof(tmp_path: Path) -> None:
    """Beyond it by more than peaks are good to it is left out and told; by less the roof is what the case did."""
    whole = replace(timed(10.0, batch=1), gflops=2.0, **PEAKS)  # type: ignore[arg-type]
    a_little = replace(timed(2.0, batch=2), gflops=1.03, **{**PEAKS, "arithmetic_intensity": 30.0})  # type: ignore[arg-type]
    in_cache = replace(timed(2.0, batch=4), gflops=0.9, **{**PEAKS, "arithmetic_intensity": 5.0})  # type: ignore[arg-type]
    drawn = roofline((report := report_of(tmp_path, [whole, a_little, in_cache])).cases, report.machines[0])
    assert drawn is not None
    assert points(drawn) == {(20.0, 200.0), (30.0, 515.0)}
    (roof,) = [line for line in drawn.axes[0].lines if len(line.get_xdata()) == 100]  # type: ignore[arg-type]
    assert math.isclose(max(roof.get_ydata()), 515.0)  # type: ignore[arg-type]
    assert any("1 beyond their roof left out" in each.get_text().replace("\n", " ") for each in texts(drawn))


def test_energy_is_drawn_where_it_was_measured(tmp_path: Path) -> None:
    report = report_of(tmp_path, detectors())
    assert energy(report.cases, report.machines[0]) is None
    record = replace(detectors()[0], energy_per_sample_mj=12.5, energy_source="NVML")
    report = report_of(tmp_path, [replace(record, model="more", energy_per_sample_mj=30.0), record])
    drawn = energy(report.cases, report.machines[0])
    assert drawn is not None
    assert points(drawn) == {(12.5, 0.0), (30.0, 1.0)}
    assert any("source: NVML" in text.get_text() for text in texts(drawn))


def test_distributions_are_of_the_raw_rounds(tmp_path: Path) -> None:
    report = report_of(tmp_path, detectors()[:1])
    drawn = distributions(report.cases, report.machines[0])
    assert drawn is not None
    (line,) = drawn.axes[0].lines
    rounds = report.cases[0].rounds_ms
    assert sorted(line.get_xdata())[1:] == pytest.approx(sorted(rounds))  # type: ignore[arg-type]
    assert max(line.get_ydata()) == 1.0  # type: ignore[arg-type]
    assert drawn.axes[0].get_xscale() == "linear"


def test_the_longest_tails_are_shown_first_and_on_a_log_axis(tmp_path: Path) -> None:
    file = save(tmp_path / "run.json", [timed(10.0, model=f"net{index:02}", batch=1) for index in range(13)])
    content = json.loads(file.read_text())
    content["benchmarks"][9]["stats"]["data"][-1] = 0.9
    file.write_text(json.dumps(content))
    report = contents([read_saved(file)])
    drawn = distributions(report.cases, report.machines[0])
    assert drawn is not None
    assert len(drawn.axes) == 12
    assert drawn.axes[0].get_title() == "net09"
    assert [axes.get_xscale() for axes in drawn.axes[:2]] == ["log", "linear"]
    assert any("12 of 13 shown" in text.get_text().replace("\n", " ") for text in texts(drawn))


def test_sizes_and_many_batches_are_told_apart(tmp_path: Path) -> None:
    records = [timed(5.0 * batch, batch=batch, imgsz=size) for batch in (1, 2, 4, 8, 16) for size in (224, 320)]
    report = report_of(tmp_path, records)
    drawn = distributions(report.cases, report.machines[0])
    assert drawn is not None
    assert [(axes.get_title()[-3:], len(axes.lines)) for axes in drawn.axes] == [("224", 4), ("320", 4)]
    assert any("4 of 5 shown, the smallest batches" in text.get_text().replace("\n", " ") for text in texts(drawn))


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_committed_charts_are_legible(kind: str) -> None:
    """No text is small, none covers another, every axis has a label, machine and date stand below."""
    report = contents(find_runs([str(ROOT / "results")]).runs)
    for machine in report.machines:
        drawn = KINDS[kind](report.on(machine), machine)
        if drawn is None:
            continue
        drawn.canvas.draw()
        shown = texts(drawn)
        assert min(text.get_fontsize() for text in shown) >= SMALLEST_PT
        caption = drawn._supxlabel.get_text().replace("\n", " ")  # type: ignore[attr-defined]
        assert machine.label in caption
        assert machine.dates[0] in caption
        for axes in drawn.axes:
            assert axes.get_xlabel()
            named = [axes.get_ylabel(), *(label.get_text() for label in axes.get_yticklabels())]
            assert any(named) or axes.get_subplotspec().colspan.start > 0  # type: ignore[union-attr]
        boxes = [(text, text.get_window_extent()) for axes in drawn.axes for text in axes.texts]
        for (one, first), (other, second) in itertools.combinations(boxes, 2):
            assert not first.overlaps(second), (one.get_text(), other.get_text())


def test_neighbouring_colours_differ_without_red_and_green() -> None:
    """As protanopia and deuteranopia see them (Viénot, Brettel, Mollon 1999): never the same."""
    for protan in (True, False):
        seen = [_seen(colour, protan) for colour in COLOURS]
        for one, other in itertools.combinations(seen, 2):
            assert math.dist(one, other) > 0.08


def _seen(colour: str, protan: bool) -> tuple[float, float, float]:
    red, green, blue = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    long = 17.8824 * red + 43.5161 * green + 4.11935 * blue
    middle = 3.45565 * red + 27.1554 * green + 3.86714 * blue
    short = 0.0299566 * red + 0.184309 * green + 1.46709 * blue
    if protan:
        long = 2.02344 * middle - 2.52581 * short
    else:
        middle = 0.494207 * long + 1.24827 * short
    rgb = (
        0.080944 * long - 0.130504 * middle + 0.116721 * short,
        -0.0102485 * long + 0.0540194 * middle - 0.113615 * short,
        -0.000365294 * long - 0.00412163 * middle + 0.693513 * short,
    )
    return tuple(max(0.0, c) ** (1 / 2.2) for c in rgb)  # type: ignore[return-value]


def test_many_cases_are_cut_off_and_the_caption_says_so(tmp_path: Path) -> None:
    records = [timed(5.0 + i, model=f"network-{i}", batch=1, params=10**6 + i) for i in range(60)]
    report = report_of(tmp_path, records)
    drawn = throughput(report.cases, report.machines[0])
    assert drawn is not None
    assert any("20 of 60 shown" in text.get_text() for text in texts(drawn))
    drawn = latency_params(report.cases, report.machines[0])
    assert drawn is not None
    assert len(points(drawn)) == 60
    drawn.canvas.draw()
    boxes = [text.get_window_extent() for text in drawn.axes[0].texts]
    assert all(not a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert any(f"{len(boxes)} of 60 named" in text.get_text() for text in texts(drawn))


def test_a_name_with_dollars_is_a_name(tmp_path: Path) -> None:
    report = report_of(tmp_path, [timed(5.0, model="a$_x$b", batch=1)])
    names = [name for name, _ in pictures(report)]
    assert {"latency-params.svg", "latency-params.png", "distributions.svg"} <= set(names)


@pytest.mark.slow
def test_a_long_name_leaves_room_for_the_chart(tmp_path: Path) -> None:
    records = [replace(r, model="a-very-long-name" * 15 + r.model, **PEAKS) for r in detectors()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib's: axes sizes collapsed to zero
        for draw in (latency_params, throughput, size_memory, distributions, roofline):
            drawn = draw(report_of(tmp_path, records).cases, report_of(tmp_path, records).machines[0])
            assert drawn is not None
            drawn.canvas.draw()
            assert all(axes.get_window_extent().width > 100 for axes in drawn.axes)
