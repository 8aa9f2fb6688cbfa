"""Numbers in README and docs are those of the files they name, and what they tell people to type exists."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fixtures.config.machines import read_machines
from fixtures.record.saved import read_saved
from fixtures.report.charts.draw import KINDS
from fixtures.report.contents import contents
from fixtures.report.costs import costs
from fixtures.show import speedups
from fixtures.show.__main__ import main, svg
from fixtures.show.markdown import table as markdown_table
from fixtures.show.table import markdown
from fixtures.show.variant_rows import rows_of
from tools import coverage, docs, gate_power, overhead, report, speedup
from tools.finding import findings_markdown
from tools.gate_power_table import markdown as gate_power_markdown

ROOT = Path(__file__).parent.parent
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
README = PAGES[ROOT / "README.md"]
EVIDENCE = PAGES[ROOT / "docs" / "evidence.md"]
EVERYTHING = "\n".join(PAGES.values())
BASELINE = ROOT / "results/0001_cpu-amd-epyc_torch2.14.1_20261128.json"


def test_the_results_table_is_the_committed_baseline() -> None:
    assert markdown(list(read_saved(BASELINE).records.values())) in README


def test_the_picture_is_the_committed_baseline() -> None:
    assert BASELINE.with_suffix(".svg").read_text() == svg(list(read_saved(BASELINE).records.values()))


@pytest.mark.parametrize("check", [overhead, report])
def test_limits_are_those_of_the_saved_check(check: ModuleType) -> None:
    assert findings_markdown(check.RESULTS) in EVIDENCE


def test_the_speedup_table_is_the_saved_one() -> None:
    saved = read_saved(ROOT / "results" / "variants" / "speedup-yolov8n.json")
    assert speedups.markdown(rows_of(list(saved.records.values()), saved.missing)) in EVERYTHING


def test_the_costs_of_the_example_table_are_those_of_the_baseline() -> None:
    """And the table stands there as it is in its file."""
    example = ROOT / "docs" / "machines.toml"
    assert example.read_text(encoding="utf-8").rstrip() in EVERYTHING
    machines = list(read_machines(str(example), ROOT).values())
    section = costs(contents([read_saved(BASELINE)]), machines, 250.0)
    assert section is not None
    ((_, shown),) = section.tables
    assert markdown_table(shown.headings, shown.rows, shown.left) in EVERYTHING


def test_calls_at_a_pace_are_the_saved_ones() -> None:
    """The table, and of each model the ratio of its processes' p50 with and without a pause."""
    records = list(read_saved(ROOT / "results" / "variants" / "every-200.json").records.values())
    assert markdown(records) in EVIDENCE
    told = {"resnet18": "ResNet-18", "yolov8n": "YOLOv8n", "clip-vit-b32": "CLIP"}
    said = " ".join(EVIDENCE.split())
    for model, name in told.items():
        loop, paced = (
            next(
                each.process_values["latency_p50_ms"] for each in records if (each.model, each.every_ms) == (model, ms)
            )
            for ms in (None, 200.0)
        )
        ratios = sorted(after / before for after, before in zip(paced, loop, strict=True) if after and before)
        assert f"{name} {ratios[2]:.2f} ({ratios[0]:.2f} to {ratios[4]:.2f})" in said


def test_what_the_speedup_table_says_of_no_difference_is_the_saved_one() -> None:
    assert speedup.table(json.loads((ROOT / "results" / "speedup-aa.json").read_text(encoding="utf-8"))) in EVIDENCE


def test_the_gates_error_rates_are_those_of_the_saved_trials() -> None:
    assert gate_power_markdown(gate_power.read()) in EVIDENCE


def test_how_often_a_fresh_process_is_within_is_the_saved_one() -> None:
    assert coverage.markdown() in EVIDENCE


@pytest.mark.parametrize(
    "name",
    [
        "make-bench.txt",
        "worlds.md",
        "against.txt",
        "best-batch.txt",
        "budget.txt",
        "diffusion.txt",
        "candidate.txt",
        "candidates.txt",
        "clip-score.txt",
        "losses.txt",
        "machine.txt",
        "masks.txt",
    ],
)
def test_real_output_is_what_was_printed(name: str) -> None:
    assert (ROOT / "results" / name).read_text(encoding="utf-8").rstrip() in EVERYTHING


def test_every_option_named_exists(pytestconfig: pytest.Config) -> None:
    known = set(re.findall(r"--[a-z-]+", pytestconfig._parser.optparser.format_help()))
    others = {
        "--runs",
        "--storage",
        "--markdown",
        "--svg",
        "--csv",
        "--speedup",
        "--out",
        "--relative-to",
        "--case",
        "--chart",
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", EVERYTHING)) - others
    assert named <= known


def anchors(page: str) -> set[str]:
    """Of its headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        name, _, anchor = target.partition("#")
        there = page if not name else (page.parent / name).resolve()
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text(encoding="utf-8")), target


def test_the_readme_is_one_page_long() -> None:
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize(("name", "made"), [("options.md", docs.options), ("fields.md", docs.record_fields)])
def test_what_is_generated_is_up_to_date(name: str, made: Callable[[], str]) -> None:
    """`make docs` makes it anew."""
    assert PAGES[ROOT / "docs" / name] == made()


def test_a_saved_file_is_shown_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(BASELINE)]) == 0
    assert "clip-vit-b32" in capsys.readouterr().out
    assert main([str(BASELINE), "--csv", str(tmp_path / "x.csv")]) == 0
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 19


def test_a_file_that_cannot_be_shown_is_told_why(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([str(tmp_path / "nothere.json")]) == 2
    assert capsys.readouterr().err.startswith("show: saved run '")


def test_the_picture_loads_nothing_from_elsewhere() -> None:
    picture = BASELINE.with_suffix(".svg").read_text()
    assert "url(http" not in picture
    assert "@font-face" not in picture


def test_the_reports_pictures_are_those_of_the_committed_report() -> None:
    pictures = PAGES[ROOT / "docs" / "reports.md"].split("<!-- pictures", 1)[1].split("<!-- end of pictures -->")[0]
    names = re.findall(r"\(report/([^)]+)\)", pictures)
    report = (ROOT / "docs" / "report" / "report.md").read_text()
    for name in names:
        assert (ROOT / "docs" / "report" / name).is_file()
        assert f"({name})" in report
    assert {name.partition("-1-")[0].partition("-2-")[0] for name in names} == {*KINDS} - {"energy"}
