"""Never comes back from a loop."""

from small import Small


def before(call: int) -> None:
    while True:
        pass


def hangs_in_python() -> Small:
    return Small(before)
