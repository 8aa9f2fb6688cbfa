"""Ends the process in its third call."""

import os

from small import Small


def exits_in_later_call() -> Small:
    return Small(lambda call: call == 3 and os._exit(0))
