"""Ends pytest, with success."""

import pytest
from small import Small


def pytest_exit() -> Small:
    return Small(lambda call: pytest.exit("enough", returncode=0))
