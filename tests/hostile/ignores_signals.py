"""Hears no signal that can be ignored."""

import signal

from small import Small


def before(call: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)


def ignores_signals() -> Small:
    return Small(before)
