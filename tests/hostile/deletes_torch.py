"""Lets nobody import what is there already."""

import sys

from small import Small


def before(call: int) -> None:
    sys.modules.pop("torch", None)


def deletes_torch() -> Small:
    return Small(before)
