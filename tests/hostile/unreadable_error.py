"""Raises an error that cannot say what it is."""

from small import Small


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def before(call: int) -> None:
    raise UnreadableError


def unreadable_error() -> Small:
    return Small(before)
