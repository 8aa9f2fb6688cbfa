"""Ends the process, as if all were well, while it is imported."""

import os

from small import Small

os._exit(0)


def exits_at_import() -> Small:
    return Small()
