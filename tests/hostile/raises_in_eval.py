"""Cannot be set to inference."""

from small import Small


class Broken(Small):
    def eval(self) -> Small:
        raise RuntimeError("it is broken")


def raises_in_eval() -> Small:
    return Broken()
