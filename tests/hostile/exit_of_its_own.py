"""Raises a kind of SystemExit of its own."""

from small import Small


class DoneError(SystemExit):
    pass


def before(call: int) -> None:
    raise DoneError(0)


def exit_of_its_own() -> Small:
    return Small(before)
