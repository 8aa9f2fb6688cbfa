"""Is your pipeline faster than another, at equal work? Each runs its own module's load() and inference().

Run with --candidate=FILE.py --baseline-module=FILE.py; add a shape: --batch / --steps.
"""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.opt_in("candidate"), pytest.mark.family("modules")]


def test_generate(model, prompt_batches, measure) -> None:
    """The fixed prompts to images, all of a batch in one call; what each module really did is counted."""
    measure(model.generate, prompt_batches)
