"""What this process may use of the machine, read from control groups, and whether torch and torchvision are a pair."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import psutil
import pytest

from fixtures.devices import host as machine


def test_cpu_quota_of_cgroup_v2_is_the_tightest_of_all_levels(tmp_path: Path) -> None:
    inner = tmp_path / "a/b"
    inner.mkdir(parents=True)
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "a/cpu.max").write_text("150000 100000\n")
    (inner / "cpu.max").write_text("400000 100000\n")
    assert machine.cpu_quota_cores([inner, tmp_path / "a", tmp_path]) == 1.5


def test_cpu_quota_of_cgroup_v1(tmp_path: Path) -> None:
    (tmp_path / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    assert machine.cpu_quota_cores([tmp_path]) == 0.5


@pytest.mark.parametrize("content", ["max 100000", "-1", "", "0 0"])
def test_no_cpu_quota(tmp_path: Path, content: str) -> None:
    (tmp_path / "cpu.max").write_text(content)
    (tmp_path / "cpu.cfs_quota_us").write_text("-1")
    assert machine.cpu_quota_cores([tmp_path]) is None


def test_groups_are_found_from_the_innermost_out(tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text("3:cpu,cpuacct:/x\n0::/a/b\n")
    root = tmp_path / "fs"
    (root / "a/b").mkdir(parents=True)
    (root / "cpu/x").mkdir(parents=True)
    proc = tmp_path / "cgroup"
    assert machine.cgroup_folders("memory", proc, root) == [root / "a/b", root / "a", root]


def test_cores_are_cut_to_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 32 if logical else 16)
    monkeypatch.setattr(machine, "cpu_quota_cores", lambda: None)
    assert machine.allowed_cores() == 8  # two threads a core
    monkeypatch.setattr(machine, "cpu_quota_cores", lambda: 2.5)
    assert machine.allowed_cores() == 3


def test_memory_is_cut_to_the_limit_unless_it_is_none(tmp_path: Path) -> None:
    (tmp_path / "memory.limit_in_bytes").write_text(str(2**63 - 4096))
    assert machine.allowed_memory_bytes([tmp_path]) == psutil.virtual_memory().total
    (tmp_path / "memory.limit_in_bytes").write_text(str(2**20))
    assert machine.allowed_memory_bytes([tmp_path]) == 2**20


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None, str | None], str | None]:
    """The pair's verdict for given versions; torchvision 0.29.1 needs torch 2.14.1."""

    def verdict(torch: str | None, torchvision: str | None) -> str | None:
        versions = {"torch": torch, "torchvision": torchvision}
        monkeypatch.setattr(machine, "version", versions.get)
        monkeypatch.setattr(metadata, "requires", lambda _: ["numpy", "torch==2.14.1", "gdown; extra == 'gdown'"])
        return machine.torch_pair_error()

    return verdict


Verdict = Callable[[str | None, str | None], str | None]


@pytest.mark.parametrize(
    ("torch", "torchvision"), [("2.14.1", "0.29.1"), ("2.14.1+cu130", "0.29.1"), ("2.14.1+cpu", "0.29.1+cpu")]
)
def test_a_pair_passes(installed: Verdict, torch: str, torchvision: str) -> None:
    assert installed(torch, torchvision) is None


@pytest.mark.parametrize(
    ("torch", "torchvision", "message"),
    [
        ("2.13.0", "0.29.1", "torchvision 0.29.1 needs torch 2.14.1, but torch 2.13.0 is installed"),
        ("2.14.1+cpu", "0.29.1", "torch 2.14.1+cpu is a CPU-only build and torchvision 0.29.1 is not built for it"),
        (None, "0.29.1", "torch is not installed"),
        ("2.14.1", None, "torchvision is not installed"),
    ],
)
def test_no_pair_is_told_before_an_operator_is_missed(
    installed: Verdict, torch: str | None, torchvision: str | None, message: str
) -> None:
    problem = installed(torch, torchvision)
    assert problem is not None
    assert problem.startswith(message)
    assert "pip install -r requirements.txt" in problem


def test_a_search_may_take_four_fifths_of_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "allowed_memory_bytes", lambda: 1000)
    assert machine.memory_ceiling_bytes() == 800
