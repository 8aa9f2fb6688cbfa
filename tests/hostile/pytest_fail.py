"""Fails as a test of pytest does."""

import pytest
from small import Small


def pytest_fail() -> Small:
    return Small(lambda call: pytest.fail("I fail\nin two lines"))
