"""Ends the process while its inputs are made."""

import os

from small import Small


def make_inputs(batch: int, imgsz: int, generator: object) -> None:
    os._exit(0)


def exits_in_inputs() -> tuple[Small, object]:
    return Small(), make_inputs
