"""What a run is asked to write: said before anything is measured, and never lost on the way."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from fixtures.files import writing
from tests.conftest import OWN, Run, no_traceback


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.measure.loading._load", lambda *_: pytest.exit("a model was loaded"))


FILE = "name a file in an existing folder that can be written to"
FOLDER = "name a folder, which is made if need be"


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--benchmark-json=taken"], f"--benchmark-json: 'taken' is a folder; {FILE}"),
        (["--benchmark-json=dangling"], "--benchmark-json: 'dangling' is a link to 'nowhere', which is not there; *"),
        (["--benchmark-json=none/x"], "--benchmark-json: 'none/x' lies in '*none', which does not exist; *"),
        (["--benchmark-json=/dev/full"], "--benchmark-json: '/dev/full' cannot be written: No space left on device; *"),
        (["--record-csv=taken"], f"--record-csv: 'taken' is a folder; {FILE}"),
        (["--record-csv=tiny.py/x"], "--record-csv: 'tiny.py/x' lies in '*tiny.py', which is no folder; *"),
        (["--gate=params<=1", "--gate-summary=taken"], f"--gate-summary: 'taken' is a folder; {FILE}"),
        (["--junit-xml=tiny.py/x.xml"], "--junit-xml: 'tiny.py/x.xml' lies in '*tiny.py', which is a file; *"),
        (["--benchmark-histogram=tiny.py/x"], "--benchmark-histogram: 'tiny.py/x-.svg' lies in *, which is a file; *"),
        (["--report=tiny.py"], f"--report: 'tiny.py' is a file; {FOLDER}"),
        (["--report=/proc/report"], f"--report: '/proc/report' cannot be written: *; {FOLDER}"),
        (["--export=csv=taken"], f"--export=csv: 'taken' is a folder; {FILE}"),
        (["--export=bench=tiny.py/x"], f"--export=bench: 'tiny.py/x' cannot be made: *tiny.py' is no folder; {FOLDER}"),
        (["--benchmark-save=x", "--benchmark-storage=file://tiny.py"], "--benchmark-save: *tiny.py' is no folder; *"),
        (["--benchmark-autosave", "--benchmark-storage=tiny.py"], "--benchmark-autosave: *tiny.py' is no folder; *"),
    ],
)
def test_an_output_that_cannot_be_written_is_a_usage_error(
    run: Run, project: pytest.Pytester, args: list[str], said: str
) -> None:
    project.mkdir("taken")
    (project.path / "dangling").symlink_to("nowhere")
    result = run(*OWN, *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])
    no_traceback(result)


@pytest.fixture
def full_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> set[str]:
    """Names of files, in part, for which the disk turns out to be full once they are written."""
    names: set[str] = set()
    beside = writing._written_beside

    def written_beside(target: Path, content: bytes) -> Path:
        if any(name in target.name for name in names):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return beside(target, content)

    monkeypatch.setattr(writing, "_written_beside", written_beside)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return names


def full_for_junit(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "junit.xml")


@pytest.mark.slow
def test_on_a_full_disk_the_older_file_stays_and_the_new_numbers_are_kept(
    run: Run, project: pytest.Pytester, full_for: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.path / "out.json").write_text("before")
    monkeypatch.setattr("_pytest.junitxml.LogXML.pytest_sessionfinish", full_for_junit)
    full_for |= {"out.json", "_base.json", "out.csv", "gate.md", "report.md", "mine.csv"}
    result = run(
        *(*OWN, "--iters=3", "--benchmark-json=out.json", "--benchmark-save=base", "--record-csv=out.csv"),
        *("--gate=params>=1", "--gate-summary=gate.md", "--report=out", "--export=csv=mine.csv"),
        *("--export=bench", "--junit-xml=junit.xml"),
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    no_traceback(result)
    result.stdout.fnmatch_lines(
        [
            "junit.xml cannot be written: No space left on device",
            "net *",
            "--record-csv: '*out.csv' cannot be written: No space left on device",
            "--gate-summary: '*gate.md' cannot be written: No space left on device",
            "--report, --export: '*report.md' cannot be written: No space left on device",
            "--report, --export: '*mine.csv' cannot be written: No space left on device",
            "wrote *net.json",
            "--benchmark-json: 'out.json' cannot be written: No space left on device; what was there is as it was, and "
            "this run's numbers are in '*.json'",
            "--benchmark-save, --benchmark-autosave: *",
        ]
    )
    assert (project.path / "out.json").read_text() == "before"
    assert not list((project.path / "results").rglob("*_base.json"))
    kept = [json.loads(path.read_text()) for path in tmp_path.glob("model-benchmarks-unsaved-*.json")]
    assert [len(content["benchmarks"]) for content in kept] == [1, 1]
    assert not list(project.path.rglob("*.tmp"))


def test_numbers_that_can_be_kept_nowhere_are_said(run: Run, full_for: set[str]) -> None:
    full_for |= {"out.json", "model-benchmarks-unsaved"}
    result = run(*OWN, "--iters=3", "--benchmark-json=out.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["--benchmark-json: 'out.json' *and this run's numbers could be kept nowhere"])
    no_traceback(result)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def test_every_number_of_the_json_is_one(run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever puts it there: a record's field, its list of layers, or the machine's description."""
    monkeypatch.setattr(
        "fixtures.plugins.measure.describe_host", lambda: {"load": float("inf"), "more": [float("nan")]}
    )
    run(*OWN, "--iters=3", "--benchmark-json=out.json", "--benchmark-save=base").assert_outcomes(passed=1)
    texts = [path.read_text() for path in [project.path / "out.json", *project.path.rglob("0001_base.json")]]
    assert len(texts) == 2
    for content in map(strict, texts):
        assert (content["machine_info"]["load"], content["machine_info"]["more"]) == (None, [None])


def test_a_run_goes_on_where_results_cannot_be_written(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file in the place of results/ is as good as a read-only one: also the superuser can write nothing there."""
    for path in sorted((project.path / "results").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (project.path / "results").rmdir()
    (project.path / "results").write_text("in the way")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = run(*OWN, "--iters=3", "--benchmark-json=out.json")
    result.stdout.fnmatch_lines(["models: results/ is a file; image lists, peaks and what *are kept in *"])
    no_traceback(result)
    assert json.loads((project.path / "out.json").read_text())["benchmarks"]
    assert (project.path / "results").read_text() == "in the way"
    assert list(tmp_path.rglob("synthetic-4-42.json"))
