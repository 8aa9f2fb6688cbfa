"""Reads where nothing is."""

import ctypes

from small import Small


def segfaults() -> Small:
    return Small(lambda call: ctypes.string_at(0))
