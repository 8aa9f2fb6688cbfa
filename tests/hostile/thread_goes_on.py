"""Starts a thread that the process would wait for."""

import threading
import time

from small import Small


def before(call: int) -> None:
    if call == 1:
        threading.Thread(target=time.sleep, args=(3600,)).start()


def thread_goes_on() -> Small:
    return Small(before)
