"""Calls itself without end."""

from small import Small


def before(call: int) -> None:
    before(call)


def recurses() -> Small:
    return Small(before)
