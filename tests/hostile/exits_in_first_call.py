"""Ends the process in its first call."""

import os

from small import Small


def exits_in_first_call() -> Small:
    return Small(lambda call: os._exit(0))
