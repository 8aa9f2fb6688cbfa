"""Host peaks are the call's own: neither what was freed before nor what the parent once held."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fixtures.devices.base import DeviceMemory
from fixtures.devices.cpu import Cpu
from fixtures.measure.memory import host_resident_bytes, measure_memory, release_memory

MIB = 2**20
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")


def touch(mib: int) -> np.ndarray:
    return np.ones(mib * MIB, dtype=np.uint8)


@linux
def test_peak_is_what_the_call_takes() -> None:
    release_memory(Cpu())
    before = host_resident_bytes()
    seen = measure_memory(Cpu(), lambda: touch(300).sum())
    assert abs(seen.peak_host_bytes - before - 300 * MIB) < 16 * MIB
    assert seen.device is None
    assert seen.note is None


@linux
def test_peak_forgets_what_was_freed_before() -> None:
    del_me = touch(400)
    high = host_resident_bytes()
    del del_me
    seen = measure_memory(Cpu(), lambda: touch(50).sum())
    assert seen.peak_host_bytes < high - 300 * MIB


class CallOrder(Cpu):
    """A device that notes the order of what is done to it."""

    def __init__(self) -> None:
        object.__setattr__(self, "seen", [])

    def empty_cache(self) -> None:
        self.seen.append("empty_cache")  # type: ignore[attr-defined]

    def reset_peak_memory(self) -> None:
        self.seen.append("reset")  # type: ignore[attr-defined]

    def synchronize(self) -> None:
        self.seen.append("synchronize")  # type: ignore[attr-defined]

    def memory(self) -> DeviceMemory:
        self.seen.append("read")  # type: ignore[attr-defined]
        return DeviceMemory(1, 2, 3, 4)


def test_device_peaks_are_reset_after_memory_is_released_and_read_after_the_call() -> None:
    """The other way round a peak would hold what an earlier case left in the cache."""
    device = CallOrder()
    seen = measure_memory(device, lambda: device.seen.append("call"))  # type: ignore[attr-defined]
    assert device.seen == ["empty_cache", "reset", "call", "synchronize", "read"]  # type: ignore[attr-defined]
    assert seen.device == DeviceMemory(1, 2, 3, 4)
