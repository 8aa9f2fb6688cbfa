"""A misspelt word gets what may have been meant."""

from __future__ import annotations

import pytest

from fixtures.__main__ import main
from tests.conftest import Run


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--precison=fp16", "--precision"),
        ("--bacth=1", "--batch"),
        ("--benchmark-compre=1", "--benchmark-compare"),
        ("--max-fial=1", "--maxfail"),
    ],
)
def test_an_option(run: Run, given: str, meant: str) -> None:
    result = run(given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*unrecognized arguments: {given}", f"*hint: did you mean {meant}?"])


def test_what_is_no_option_is_not_suggested(run: Run) -> None:
    """pytest keeps `-k` as `keyword`, and has no `--keyword`."""
    result = run("--keywrd=clip")
    result.stderr.fnmatch_lines(["*unrecognized arguments: --keywrd=clip"])
    result.stderr.no_fnmatch_line("*--keyword?*")


def test_an_option_of_a_conftest_is_no_mistake(run: Run, project: pytest.Pytester) -> None:
    project.makeconftest("def pytest_addoption(parser): parser.addoption('--batcher')")
    result = run("--batcher=x", "--collect-only")
    assert result.ret == pytest.ExitCode.OK
    assert "did you mean" not in f"{result.stdout}{result.stderr}"


def test_an_option_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", "results", "--sotrage=x"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith("unrecognized arguments: --sotrage=x; did you mean --storage?\n")


def test_a_selection(run: Run) -> None:
    result = run("-k", "yollo")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["models: no benchmark is called 'yollo'; did you mean yolo*"])
