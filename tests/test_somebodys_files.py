"""What no command wrote, none deletes or replaces, unless it was named as the file to be written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fixtures.report.__main__ import main
from fixtures.report.charts.draw import FORMATS, KINDS
from tests.saved import detectors, save


@pytest.fixture
def run(tmp_path: Path) -> str:
    return str(save(tmp_path / "run.json", detectors()[:1]))


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["report.md", "report.html", "records.csv", "throughput.svg"])
def test_a_report_replaces_no_file_that_no_report_wrote(
    run: str, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fixtures.report.build._charts", lambda report: [("throughput.svg", b"<svg/>")])
    out = tmp_path / "docs"
    out.mkdir()
    (out / name).write_text("# Model benchmarks of mine")
    before = contents_of(out)
    assert main([run, f"--out={out}"]) == 2
    assert contents_of(out) == before
    assert f"{name}' is there already and no report or export wrote it; move it" in capsys.readouterr().err


def test_a_report_is_replaced_and_charts_of_ones_own_stay(run: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([run, f"--out={out}"]) == 0
    mine = {f"{kind}{end}.{form}" for kind in KINDS for form in FORMATS for end in ("", "-1-mine")}
    mine -= {path.name for path in out.iterdir()}
    for name in mine:
        (out / name).write_text("mine")
    assert len(mine) > len(KINDS)
    (out / "energy.svg").unlink()  # this report draws none
    assert main([run, f"--out={out}"]) == 0
    assert {name for name in mine if (out / name).exists()} == mine - {"energy.svg"}


@pytest.mark.parametrize("form", ["csv", "github-action-benchmark", "bencher"])
def test_an_export_replaces_a_file_of_its_own_and_one_that_is_named(
    run: str, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main([run, f"--export={form}"]) == 0
    (usual,) = (tmp_path / "results").iterdir()
    usual.write_text('{"mine": 1}')
    assert main([run, f"--export={form}"]) == 2
    assert usual.read_text() == '{"mine": 1}'
    assert "no report or export wrote it" in capsys.readouterr().err
    assert main([run, f"--export={form}={usual}"]) == 0
    assert usual.read_text() != '{"mine": 1}'


def test_an_export_into_a_folder_replaces_no_other_file(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "mine" / "small.json"
    target.parent.mkdir()
    target.write_text(json.dumps({"project": "mine"}))
    before = contents_of(tmp_path / "mine")
    assert main([run, f"--export=bench={tmp_path / 'mine'}"]) == 2
    assert contents_of(tmp_path / "mine") == before
    assert "is there already" in capsys.readouterr().err
