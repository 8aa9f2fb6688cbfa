"""Lets time stand still."""

import time

from small import Small


def before(call: int) -> None:
    time.perf_counter = lambda: 0.0


def replaces_clock() -> Small:
    return Small(before)
