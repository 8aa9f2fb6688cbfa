"""Closes every file of the process."""

import os

from small import Small


def closes_everything() -> Small:
    return Small(lambda call: os.closerange(0, 4096))
