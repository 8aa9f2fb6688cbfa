"""Time and energy that only calls and pauses take."""

from __future__ import annotations

CALL_S, CALL_W, IDLE_W = 0.25, 100, 20


class World:
    """A clock that calls and sleep advance, and the energy that they take, microjoules."""

    def __init__(self) -> None:
        self.now_us = 0
        self.uj = 0

    def spend(self, seconds: float, watts: int) -> None:
        self.now_us += round(seconds * 1e6)
        self.uj += round(seconds * 1e6) * watts

    def sleep(self, seconds: float) -> None:
        self.spend(seconds, IDLE_W)
