"""Under its own name: a wheel of this checkout imports, and its reading side does so without torch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

READS = """
import importlib, sys
for name in ("gate", "history.__main__", "report.__main__", "report.build", "show.__main__", "record.saved"):
    importlib.import_module(f"model_benchmarks.{name}")
from model_benchmarks.judge.budgets import built_in
assert built_in()
assert "torch" not in sys.modules
assert not [name for name in sys.modules if name.partition(".")[0] == "fixtures"]
"""


def test_every_package_and_file_of_the_folder_is_in_it() -> None:
    named = set(re.findall(r'"(model_benchmarks[\w.]*)"', (ROOT / "pyproject.toml").read_text()))
    folders = {path.parent.relative_to(ROOT / "fixtures") for path in (ROOT / "fixtures").rglob("__init__.py")}
    assert named == {".".join(("model_benchmarks", *folder.parts)) for folder in folders}


@pytest.mark.slow
def test_a_wheel_imports_under_its_own_name(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT / "fixtures", source / "fixtures", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "requirements.txt"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("model_benchmarks-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    there = {str(path.relative_to(site / "model_benchmarks")) for path in (site / "model_benchmarks").rglob("*.*")}
    ours = {str(path.relative_to(source / "fixtures")) for path in (source / "fixtures").rglob("*.*")}
    assert there == ours
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([sys.executable, "-c", READS], check=True, cwd=tmp_path, env=environment)
    saved = ROOT / "results" / "0001_cpu-amd-epyc_torch2.14.1_20261128.json"
    command = [sys.executable, "-m", "model_benchmarks", "show", str(saved)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "clip-vit-b32" in done.stdout
    command = [*command[:-1], "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("usage: python -m model_benchmarks show ")
