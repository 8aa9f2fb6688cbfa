"""Never comes back from C, and hears no signal."""

import ctypes
import signal

from small import Small


def before(call: int) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.CDLL(None).sleep(3600)


def hangs_in_c() -> Small:
    return Small(before)
