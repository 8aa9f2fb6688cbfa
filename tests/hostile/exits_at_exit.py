"""Ends the process, as if all were well, once the run is over."""

import atexit
import os

from small import Small


def before(call: int) -> None:
    if call == 1:
        atexit.register(os._exit, 0)


def exits_at_exit() -> Small:
    return Small(before)
