"""Closes the file that print writes to."""

import sys

from small import Small


def closes_stdout() -> Small:
    return Small(lambda call: sys.stdout.close())
