"""Pages of other reports: of the committed baselines, of nothing, of a thousand cases."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By

from fixtures.report.__main__ import main
from tests.conftest import ROOT
from tests.reports import shown
from tests.saved import detectors, save, timed
from tools.browser import complaints, open_page

pytestmark = pytest.mark.slow


def test_committed_numbers_are_the_records(browser: Chrome, tmp_path: Path) -> None:
    assert main([str(ROOT / "results"), "--out", str(tmp_path)]) == 0
    open_page(browser, tmp_path / "report.html")
    assert complaints(browser) == []
    data = browser.execute_script("return window.report.data")
    raw: dict[tuple[str, str], dict[str, Any]] = {}
    rounds: dict[tuple[str, str], list[float]] = {}
    files = [json.loads(path.read_text()) for path in (ROOT / "results").glob("*.json")]
    for file in sorted((f for f in files if "benchmarks" in f), key=lambda f: f["datetime"]):
        for benchmark in file["benchmarks"]:
            key = benchmark["fullname"], benchmark["extra_info"]["device_name"]
            raw[key], rounds[key] = benchmark["extra_info"], benchmark["stats"]["data"]
    assert len(data["ids"]) == len(raw)
    for index, nodeid in enumerate(data["ids"]):
        key = nodeid, data["texts"]["device_name"][index]
        for name, values in data["numbers"].items():
            if name in raw[key]:  # older files lack newer fields
                assert values[index] == raw[key][name], (nodeid, name)
        assert data["rounds_ms"][index] == pytest.approx([1e3 * value for value in rounds[key]], rel=1e-6)


def test_a_report_without_any_case_loads_too(browser: Chrome, tmp_path: Path) -> None:
    missing = [{"nodeid": "benchmarks/a.py::test_a[x]", "model": "x", "workload": "a", "variant": "fp32-eager"}]
    missing[0] |= {"batch": 1, "imgsz": None, "reason": "because", "failed": True}
    save(tmp_path / "run.json", [], missing=missing)
    assert main([str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]) == 0
    open_page(browser, tmp_path / "out" / "report.html")
    assert complaints(browser) == []
    assert "because" in browser.find_element(By.ID, "flags").text
    assert not browser.find_element(By.ID, "explore").is_displayed()


def test_a_link_to_a_file_with_an_odd_name_leads_there(browser: Chrome, tmp_path: Path) -> None:
    file = save(tmp_path / "a #1 50%.json", detectors()[:1])
    assert main([str(file), "--out", str(tmp_path / "out")]) == 0
    open_page(browser, tmp_path / "out" / "report.html")
    row = browser.find_element(By.CSS_SELECTOR, "#cases .tabulator-row")
    ActionChains(browser).double_click(row).perform()
    (link,) = (each for each in browser.find_elements(By.CSS_SELECTOR, "#case-links a") if each.text == "saved file")
    assert link.get_attribute("href") == file.as_uri()


def test_log_axes_have_plain_ticks_that_do_not_run_into_each_other(browser: Chrome, tmp_path: Path) -> None:
    sizes = {"narrow": (1_600_000, 2_100_000), "wide": (10_000, 900_000_000)}
    for name, params in sizes.items():
        records = [timed(10.0, model=f"m{size}", batch=1, params=size) for size in params]
        save(tmp_path / f"{name}.json", records)
        assert main([str(tmp_path / f"{name}.json"), "--out", str(tmp_path / name)]) == 0
        open_page(browser, tmp_path / name / "report.html")
        ticks = browser.execute_script(
            "return window.report.scatter.scales.x.ticks.map((t) => t.label).filter(Boolean)"
        )
        assert 2 <= len(ticks) <= 8, ticks
        assert len(set(ticks)) == len(ticks)


def test_the_first_distributions_are_of_latency_and_pairs_beyond_the_limit_are_told(
    browser: Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fixtures.report.page.data._MOST_VERDICTS", 5)
    small = detectors()[0]
    window = replace(small, workload="window", latency_max_ms=900.0)
    for day in range(1, 4):
        save(tmp_path / f"{day:04}_run.json", [small, window], taken=f"2026-11-{day:02}T00:00:00+00:00")
    assert main([str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    open_page(browser, tmp_path / "out" / "report.html")
    labels = browser.execute_script("return window.report.ecdf.data.datasets.map((drawn) => drawn.label)")
    assert labels == ["forward small fp32 b1 640"]
    assert len(shown(browser)) == 2
    summary = browser.find_element(By.ID, "verdicts-summary").text
    assert summary == "latency_p50_ms: 2 pass; older pairs left out: 1 (report on fewer runs to see them)"


def test_a_thousand_cases_are_a_small_page_that_is_soon_ready(browser: Chrome, tmp_path: Path) -> None:
    """The limit of 2 s is checked with much room: a test is no place for a stopwatch."""
    records = [timed(5.0 + i, model=f"net{i}", batch=1, params=10**6 + i) for i in range(1000)]
    save(tmp_path / "run.json", records, rounds=300)
    assert main([str(tmp_path / "run.json"), "--out", str(tmp_path / "out")]) == 0
    page = tmp_path / "out" / "report.html"
    assert page.stat().st_size < 5_000_000
    open_page(browser, page)
    assert complaints(browser) == []
    assert len(shown(browser)) == 1000
    assert browser.execute_script("return window.report.data.rounds_ms.every((rounds) => rounds.length === 300)")
