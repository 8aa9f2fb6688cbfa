"""Raises what ends a generator."""

from small import Small


def before(call: int) -> None:
    raise GeneratorExit


def generator_exit() -> Small:
    return Small(before)
