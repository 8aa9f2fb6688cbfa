"""Pretends that somebody pressed Ctrl-C."""

from small import Small


def before(call: int) -> None:
    raise KeyboardInterrupt


def keyboard_interrupt() -> Small:
    return Small(before)
