"""Cannot be moved to a device."""

from small import Small


class Broken(Small):
    def to(self, *args: object, **kwargs: object) -> Small:
        raise RuntimeError("it is broken")


def raises_in_to() -> Small:
    return Broken()
