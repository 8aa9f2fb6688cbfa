"""The check of what measuring costs can still be run: it stands in for batches, which learn to do more."""

from __future__ import annotations

import json

import pytest

from tools import overhead


@pytest.mark.slow
def test_bare_and_measured_calls_alternate(project: pytest.Pytester) -> None:
    project.makepyfile(test_interleaved=overhead._INTERLEAVED, own=overhead._MODELS)
    args = ("test_interleaved.py", "--model=own.py:empty", "--batch=1", "--warmup=1", "--iters=5")
    project.runpytest_subprocess(*args, timeout=120).assert_outcomes(passed=1)
    bare_s, measured_s = json.loads((project.path / "empty.json").read_text())
    assert len(bare_s) == len(measured_s) == 5
    assert all(seconds > 0 for seconds in (*bare_s, *measured_s))
