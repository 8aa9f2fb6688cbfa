"""Lets no file be opened any more."""

import builtins

from small import Small


def refuse(*args: object, **kwargs: object) -> None:
    raise OSError("no file today")


def before(call: int) -> None:
    builtins.open = refuse


def replaces_open() -> Small:
    return Small(before)
