"""Cannot be shown."""

from small import Small


class Broken(Small):
    def __repr__(self) -> str:
        raise RuntimeError("it is broken")


def raises_in_repr() -> Small:
    return Broken()
