"""Leaves a process behind that is nobody's child."""

import os
import time

from small import Small


def before(call: int) -> None:
    if call == 1 and not os.fork():
        os.setsid()
        if not os.fork():
            time.sleep(3600)
        os._exit(0)


def leaves_a_daemon() -> Small:
    return Small(before)
