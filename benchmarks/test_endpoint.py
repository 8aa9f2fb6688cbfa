"""A remote model beside the local ones: the same images over HTTP, described by a TOML file.

Run with --endpoint=FILE.toml; see "A remote model" in the README.
"""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.opt_in("endpoint"), pytest.mark.family("remote")]


def test_request(endpoint, measure_endpoint) -> None:
    """One image in, one answer out, so many requests at once as the file says."""
    measure_endpoint(endpoint)
