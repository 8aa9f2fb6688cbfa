"""Turns every warning into an error, for everybody."""

import warnings

from small import Small


def before(call: int) -> None:
    warnings.simplefilter("error")


def warnings_as_errors() -> Small:
    return Small(before)
