"""Which of several exit codes wins, and what a fault of the suite looks like."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fixtures.exits import Exit, ranked
from tests.conftest import Run


@pytest.mark.parametrize(
    ("own", "asked", "code"),
    [
        (0, [], 0),
        (0, [0, 0], 0),
        (0, [0, Exit.INVALID, Exit.FAILED], Exit.INVALID),  # what is told first
        (0, [Exit.FAILED, Exit.USAGE], Exit.FAILED),
        (0, [Exit.NOTHING], Exit.NOTHING),
        (0, [Exit.NOTHING, Exit.INVALID], Exit.INVALID),
        (Exit.NOTHING, [0], Exit.NOTHING),
        (Exit.NOTHING, [Exit.FAILED], Exit.FAILED),
        (Exit.FAILED, [Exit.INVALID], Exit.FAILED),
        (Exit.INTERRUPTED, [Exit.FAILED], Exit.INTERRUPTED),
    ],
)
def test_a_run_ends_with_its_own_code_or_the_first_that_is_asked_for(own: int, asked: list[int], code: int) -> None:
    assert ranked(own, asked) == code


def test_a_hook_of_the_suite_that_raises_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.show.details.COLUMNS", None)
    result = run("-k", "custom", "--model=tiny.py:net", "--batch=1,2", "--iters=3")
    assert result.ret == pytest.ExitCode.INTERNAL_ERROR
    (line,) = [line for line in result.outlines if line.startswith("INTERNALERROR")]
    found = re.fullmatch(r"INTERNALERROR> a fault of the suite, please report: TypeError: .* \((\S+)\)", line)
    assert found, line
    assert "details.py" in Path(found[1]).read_text()
    Path(found[1]).unlink()
