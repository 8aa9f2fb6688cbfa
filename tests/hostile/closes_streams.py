"""Closes what is written to the terminal through."""

import os

from small import Small


def before(call: int) -> None:
    if call == 1:
        os.close(1)
        os.close(2)


def closes_streams() -> Small:
    return Small(before)
