"""What the adapter takes for granted of pytest-benchmark is there; on a version that lacks it, this says what."""

from __future__ import annotations

from importlib import metadata

import pytest

from fixtures.bench import INTERNALS, OF_A_CASE
from tests.conftest import OWN, Run

PROBE = """
import pytest
from fixtures.bench import INTERNALS, OF_A_CASE, session_of

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    found = session_of(session.config)
    lacks = [name for name in INTERNALS if not hasattr(found, name)]
    lacks += [f"case.{name}" for name in OF_A_CASE if not hasattr(found.benchmarks[0], name)]
    print("LACKS", lacks)
"""


def test_its_session_and_cases_have_what_is_used(run: Run, project: pytest.Pytester) -> None:
    with (project.path / "conftest.py").open("a") as stream:
        stream.write(PROBE)
    said = run(*OWN, "--iters=3", "-s").stdout.str()
    version = metadata.version("pytest-benchmark")
    assert "LACKS []" in said, f"pytest-benchmark {version} differs from what fixtures/bench.py knows: {said}"


def test_names_are_listed_once() -> None:
    assert sorted(set(INTERNALS)) == list(INTERNALS)
    assert sorted(set(OF_A_CASE)) == list(OF_A_CASE)
