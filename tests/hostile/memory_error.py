"""Asks for more memory than there is."""

from small import Small


def before(call: int) -> None:
    raise MemoryError


def memory_error() -> Small:
    return Small(before)
