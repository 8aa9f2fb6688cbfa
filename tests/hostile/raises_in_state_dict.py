"""Has no weights that can be read."""

from small import Small


class Broken(Small):
    def state_dict(self, *args: object, **kwargs: object) -> dict[str, object]:
        raise RuntimeError("it is broken")


def raises_in_state_dict() -> Small:
    return Broken()
