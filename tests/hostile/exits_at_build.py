"""Ends the process while the model is built."""

import os

from small import Small


def exits_at_build() -> Small:
    os._exit(0)
