"""Asks to end with a word."""

import sys

from small import Small


def sys_exit_text() -> Small:
    return Small(lambda call: sys.exit("that will do"))
