"""Asks to end with success."""

import sys

from small import Small


def sys_exit_zero() -> Small:
    return Small(lambda call: sys.exit(0))
