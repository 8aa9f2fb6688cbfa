"""Which of several exit codes wins."""

from __future__ import annotations

import pytest

from fixtures.exits import Exit, ranked


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
