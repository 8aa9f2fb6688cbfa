"""Raises while it is thrown away."""

from small import Small


class Broken(Small):
    def __del__(self) -> None:
        raise RuntimeError("it is broken")


def raises_in_del() -> Small:
    return Broken()
