"""What users, their scripts and their saved files rely on does not change unseen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.contracts.observe import EXPECTED, observations

OBSERVATIONS = dict(observations())


@pytest.mark.parametrize("name", OBSERVATIONS)
def test_what_is_said_of_saved_files_is_what_was_said(name: str) -> None:
    """Pinned anew by `python -m tests.contracts.observe`, only where today's answer is wrong."""
    see: Callable[[], str] = OBSERVATIONS[name]
    assert see() == (EXPECTED / name).read_text(encoding="utf-8")


def test_everything_that_is_pinned_is_looked_at() -> None:
    assert {path.name for path in EXPECTED.iterdir()} == OBSERVATIONS.keys()
