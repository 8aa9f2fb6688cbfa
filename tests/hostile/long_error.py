"""Raises an error of 10,000 lines that would clear the screen."""

from small import Small


def before(call: int) -> None:
    raise RuntimeError("\x1b[2J\x1b]0;title\x07spoilt\n" * 10_000)


def long_error() -> Small:
    return Small(before)
