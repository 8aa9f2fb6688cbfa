"""Becomes another program, which ends with success."""

import os

from small import Small


def becomes_true() -> Small:
    return Small(lambda call: os.execv("/bin/true", ["true"]))  # noqa: S606 - that it is no shell is the point
