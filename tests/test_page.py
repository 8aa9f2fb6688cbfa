"""The page in a real browser: it loads without a complaint, sorts, filters, changes axes, compares two runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from fixtures.report.__main__ import main
from tests.reports import shown
from tests.saved import H200, detectors, save, timed
from tools.browser import complaints, open_page

pytestmark = pytest.mark.slow

ODD = "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 2'>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs of detectors and one of a GPU, reported on; one model's name is markup, one case is a variant."""
    folder = tmp_path_factory.mktemp("runs")
    odd = timed(30.0, model=ODD, batch=1, notes=(ODD,), flags=("drift",))
    odd = replace(odd, latency_p95_ms=None, gflops=0.0)
    save(folder / "0000 first #1.json", [timed(50.0, r) for r in detectors()], taken="2026-11-19T00:00:00+00:00")
    save(folder / "0001_before.json", [*detectors(), odd])
    small, *others = (timed(r.latency_p50_ms * 2, r) for r in detectors())
    small = replace(small, flags=("drift",))
    variant = replace(timed(16.0, small), runtime="onnxruntime", baseline="fp32-eager")
    variant = replace(variant, speedup=5.0, speedup_low=4.5, speedup_high=5.5, speedup_alone_samples_ms=(1.0,))
    file = save(
        folder / "0002_after.json", [small, *others, variant], taken="2026-11-21T00:00:00+00:00", commit="b" * 40
    )
    content = json.loads(file.read_text())
    content["benchmarks"][0]["stats"]["data"][-1] = 0.8  # a long tail
    content["benchmarks"][0]["extra_info"]["latency_max_ms"] = 800.0
    file.write_text(json.dumps(content))
    gpu = replace(timed(2.0, detectors()[0]), device="cuda:0", device_name="NVIDIA H200", peak_device_allocated_bytes=1)
    save(folder / "0003_gpu.json", [gpu], machine=H200, taken="2026-11-22T00:00:00+00:00")
    assert main([str(folder), "--out", str(folder / "report")]) == 0
    return folder


@pytest.fixture
def page(browser: Chrome, folder: Path) -> Chrome:
    open_page(browser, folder / "report" / "report.html")
    return browser


def heading(page: Chrome, table: str, title: str) -> Any:
    xpath = f"//*[@id='{table}']//*[contains(@class, 'tabulator-col-title') and text()='{title}']"
    return page.find_element(By.XPATH, xpath)


def filter_below(page: Chrome, table: str, title: str, text: str) -> None:
    xpath = f"//*[@id='{table}']//*[text()='{title}']/ancestor::*[@role='columnheader']//input"
    field = page.find_element(By.XPATH, xpath)
    field.clear()
    field.send_keys(text)
    page.execute_async_script("setTimeout(arguments[0], 600)")  # Tabulator waits for the last key


def test_it_loads_without_a_complaint_and_nothing_from_elsewhere(page: Chrome, folder: Path) -> None:
    assert complaints(page) == []
    fetched = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in fetched if not name.startswith(("data:", "blob:"))] == []
    html = (folder / "report" / "report.html").read_text()
    assert re.findall(r"""(?:src|href)=["'](?:https?:)?//""", html) == []
    assert "url(http" not in html


def test_every_case_is_in_the_table_with_the_records_numbers(page: Chrome) -> None:
    rows = {(row["model"], row["batch"], row["machine"]): row for row in shown(page)}
    assert len(shown(page)) == 7
    row = rows["fast", 8, "AMD EPYC"]
    assert (row["p50"], row["speed"], row["params"]) == (200.0, 40.0, 3.0)
    assert row["peak"] == 700.0
    cells = page.find_elements(By.CSS_SELECTOR, "#cases .tabulator-row")
    assert any("fast" in cell.text and "200" in cell.text for cell in cells)


def test_it_sorts(page: Chrome) -> None:
    heading(page, "cases", "p50 ms").click()
    ascending = [row["p50"] for row in shown(page)]
    assert ascending == sorted(ascending)
    heading(page, "cases", "p50 ms").click()
    assert [row["p50"] for row in shown(page)] == ascending[::-1]
    first = page.find_element(By.CSS_SELECTOR, "#cases .tabulator-row")
    assert "200" in first.text
    for _ in range(2):
        heading(page, "cases", "p95 ms").click()
        assert shown(page)[-1]["p95"] is None  # what is not known comes last either way


def test_it_filters_by_text_and_by_number_and_the_chart_follows(page: Chrome) -> None:
    for wanted, left in {
        ">80": {120.0, 200.0},
        "<30": {2.0, 16.0},
        "<=30": {2.0, 16.0, 30.0},
        "=40": {40.0},
        ">=80": {80.0, 120.0, 200.0},
    }.items():
        filter_below(page, "cases", "p50 ms", wanted)
        assert {row["p50"] for row in shown(page)} == left, wanted
    filter_below(page, "cases", "model", "fast")
    assert [row["p50"] for row in shown(page)] == [200.0]
    assert page.find_element(By.ID, "count").text == "1 of 7 cases, 1 with both values"
    filter_below(page, "cases", "p50 ms", "")
    filter_below(page, "cases", "model", "")
    filter_below(page, "cases", "p95 ms", "<10000")
    assert len(shown(page)) == 6  # what is not known passes no comparison
    filter_below(page, "cases", "p95 ms", "")
    page.find_element(By.ID, "search").send_keys("fast b8")
    assert [(row["model"], row["batch"]) for row in shown(page)] == [("fast", 8)]


def test_axes_are_chosen_and_may_be_linear(page: Chrome) -> None:
    Select(page.find_element(By.ID, "x")).select_by_value("batch")
    Select(page.find_element(By.ID, "y")).select_by_value("throughput_p50_per_s")
    page.find_element(By.ID, "x-log").click()
    scales = page.execute_script(
        "const o = window.report.scatter.options.scales; return [o.x.title.text, o.x.type, o.y.type]"
    )
    assert scales == ["batch", "linear", "logarithmic"]
    drawn = page.execute_script(
        "return window.report.scatter.data.datasets.flatMap((d) => d.data.map((p) => [p.x, p.y]))"
    )
    assert sorted(drawn) == sorted([row["batch"], row["speed"]] for row in shown(page))
    Select(page.find_element(By.ID, "x")).select_by_value("gflops")  # one is zero, which a log axis has no place for
    count = page.find_element(By.ID, "count")
    assert count.text == "7 of 7 cases, 7 with both values"
    page.find_element(By.ID, "x-log").click()
    assert count.text == "7 of 7 cases, 6 with both values"
    Select(page.find_element(By.ID, "colour")).select_by_value("machine")
    labels = page.execute_script("return window.report.scatter.data.datasets.map((d) => d.label)")
    assert sorted(labels) == ["AMD EPYC", "NVIDIA H200"]


def hover(page: Chrome, y: float) -> list[str]:
    """The tooltip of the point at that height."""
    where = page.execute_script(
        "const c = window.report.scatter;"
        "const all = c.data.datasets.flatMap((d, i) => d.data.map((p, j) => [i, j, p]));"
        "const [i, j] = all.find(([, , p]) => p.y === arguments[0]);"
        "const point = c.getDatasetMeta(i).data[j]; return [point.x, point.y, c.width / 2, c.height / 2]",
        y,
    )
    canvas = page.find_element(By.ID, "scatter")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    offset = round(where[0] - where[2]), round(where[1] - where[3])
    ActionChains(page).move_to_element_with_offset(canvas, *offset).perform()
    script = "return window.report.scatter.tooltip.body.flatMap((part) => part.lines)"
    lines: list[str] = page.execute_script(script)
    return lines


def test_hovering_shows_the_case_and_its_interval(page: Chrome) -> None:
    lines = hover(page, 2)
    assert lines[0] == "forward small fp32 b1 640, NVIDIA H200"
    assert lines[2].startswith("p50 2 ms, 95 % CI as another process would find it 1.746 … 2.291 ms; ")
    assert re.search(r"of these 100 rounds 1\.9\d+ … 2\.0\d+ ms$", lines[2])
    assert hover(page, 16)[3] == "speed-up 5, 95 % CI 4.5 … 5.5"


def test_two_runs_are_compared_with_verdicts(page: Chrome) -> None:
    Select(page.find_element(By.ID, "head")).select_by_index(0)
    heads = [option.text for option in Select(page.find_element(By.ID, "head")).options]
    after = next(index for index, text in enumerate(heads) if text.startswith("0002_after"))
    assert heads[after] == "0002_after (2026-11-21 00:00, bbbbbbbb)"
    Select(page.find_element(By.ID, "head")).select_by_index(after)
    bases = Select(page.find_element(By.ID, "base"))
    assert [option.text.split(" (")[0] for option in bases.options] == ["0001_before", "0000 first #1"]
    rows = [row for row in shown(page, "verdicts") if row["status"] != "new"]
    assert {(row["case"], row["status"], row["base"], row["head"]) for row in rows} == {
        ("forward[small-fp32-b1-640]", "regression", 40.0, 80.0),
        ("forward[fast-fp32-b1-640]", "regression", 20.0, 40.0),
        ("forward[worse-fp32-b1-640]", "regression", 60.0, 120.0),
        ("forward[fast-fp32-b8-640]", "regression", 100.0, 200.0),
    }
    assert page.find_element(By.ID, "verdicts-summary").text == "latency_p50_ms: 4 regression"
    (row,) = (row for row in rows if "small" in row["case"])
    assert row["low"] < row["change"] < row["high"]
    assert row["change"] == pytest.approx(1.0)
    assert "drift" in row["why"]
    first = page.find_element(By.CSS_SELECTOR, "#verdicts .tabulator-row").text
    assert "regression" in first
    assert "+100.0 %" in first
    ends = [f"+{100 * row[end]:.1f} %" for end in ("low", "high")]
    assert any(
        " … ".join(ends) in each.text for each in page.find_elements(By.CSS_SELECTOR, "#verdicts .tabulator-row")
    )
    bases.select_by_index(1)
    assert {row["base"] for row in shown(page, "verdicts")} == {50.0}


def test_across_machines_there_is_no_verdict(page: Chrome) -> None:
    Select(page.find_element(By.ID, "head")).select_by_index(0)
    assert page.find_element(By.ID, "head").text.startswith("0003_gpu")
    (row,) = shown(page, "verdicts")
    assert row["status"] == "invalid"
    assert "device_name AMD EPYC -> NVIDIA H200" in row["why"]
    Select(page.find_element(By.ID, "relative-to")).select_by_visible_text("AMD EPYC")
    (row,) = shown(page, "ratios")
    assert (row["machine"], row["ratio"]) == ("NVIDIA H200", 40.0)
    Select(page.find_element(By.ID, "relative-to")).select_by_visible_text("small")
    ratios = {(row["name"], row["machine"]): row["ratio"] for row in shown(page, "ratios")}
    assert ratios["forward fast fp32 b1 640", "AMD EPYC"] == 2.0
    assert ratios["forward small fp32 b1 640", "NVIDIA H200"] == 1.0
    assert not any("onnxruntime" in name and ratio != 1.0 for (name, _), ratio in ratios.items())


def test_a_case_opens_with_all_its_fields_and_its_raw_rounds(page: Chrome, folder: Path, downloads: Path) -> None:
    filter_below(page, "cases", "model", "worse")
    row = page.find_element(By.CSS_SELECTOR, "#cases .tabulator-row")
    ActionChains(page).double_click(row).perform()
    dialog = page.find_element(By.ID, "case")
    assert dialog.is_displayed()
    assert "forward worse fp32 b1 640 on AMD EPYC" in dialog.text
    assert "latency_p95_ms" in dialog.text
    links = {link.text: link for link in dialog.find_elements(By.TAG_NAME, "a")}
    assert links["saved file"].get_attribute("href") == (folder / "0002_after.json").as_uri()
    links["raw rounds as CSV"].click()
    downloaded = WebDriverWait(page, 20).until(lambda _: next(iter(downloads.glob("rounds*.csv")), None))
    saved = json.loads((folder / "0002_after.json").read_text())["benchmarks"]
    seconds = next(b["stats"]["data"] for b in saved if "worse" in b["fullname"])
    heading, *values = downloaded.read_text().split()
    assert heading == "latency_ms"
    assert [float(value) for value in values] == pytest.approx([1e3 * value for value in seconds], rel=1e-6)
    rounds = page.execute_script("return Chart.getChart('case-rounds').data.datasets[0].data.length")
    assert rounds == 100
    assert complaints(page) == []


def test_names_and_notes_are_text(page: Chrome) -> None:
    assert page.execute_script("return window.stolen") is None
    filter_below(page, "cases", "model", "script")
    row = page.find_element(By.CSS_SELECTOR, "#cases .tabulator-row")
    assert ODD in row.text
    ActionChains(page).double_click(row).perform()
    assert ODD in page.find_element(By.ID, "case-name").text
    assert page.find_element(By.CSS_SELECTOR, "#case-notes li").text == ODD
    assert page.execute_script("return window.stolen") is None
    assert page.execute_script("return document.querySelectorAll('img').length") == 0


def test_rows_are_shown_as_distributions(page: Chrome) -> None:
    labels = page.execute_script("return window.report.ecdf.data.datasets.map((d) => d.label)")
    assert len(labels) == 5
    assert labels[0] == "forward small fp32 b1 640, AMD EPYC"  # it has the longest tail; two machines, so each is named
    options = page.execute_script(
        "const o = window.report.ecdf.options; return [o.elements.line.stepped, o.scales.x.type]"
    )
    assert options == ["before", "logarithmic"]
    page.find_element(By.CSS_SELECTOR, "#cases .tabulator-row").click()
    (drawn,) = page.execute_script("return window.report.ecdf.data.datasets.map((d) => d.data)")
    assert len(drawn) == 100
    assert drawn[-1]["y"] == 1
    assert [point["x"] for point in drawn] == sorted(point["x"] for point in drawn)


def test_light_and_dark(page: Chrome) -> None:
    def paper() -> str:
        return str(page.execute_script("return getComputedStyle(document.body).backgroundColor"))

    before = paper()
    page.find_element(By.ID, "theme").click()
    after = paper()
    assert {before, after} == {"rgb(255, 255, 255)", "rgb(21, 24, 28)"}
    title = page.execute_script("return window.report.ecdf.options.plugins.title.color")
    assert title == ("#e6e9ed" if after == "rgb(21, 24, 28)" else "#1d2127")
    assert complaints(page) == []
