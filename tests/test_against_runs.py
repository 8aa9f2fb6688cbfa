"""Whole runs of `--against` and of saved baselines from a repository of a user's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fixtures.workers.places import BASE, HEAD
from tests.conftest import no_traceback
from tests.own_repository import git, installed_editable, own_repository


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return own_repository(tmp_path / "own")


FromOwn = Callable[..., pytest.RunResult]


@pytest.fixture
def from_own(project: pytest.Pytester, own: Path, monkeypatch: pytest.MonkeyPatch) -> FromOwn:
    """Runs the suite, which lies elsewhere, from the user's own repository."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(own)
    few = ("-k", "custom", "--batch=1", "--imgsz=8", "--iters=4", "--warmup=1", "--processes=1")

    def run_suite(*args: str, gate: str = "--gate=params") -> pytest.RunResult:
        out = f"--benchmark-json={project.path / 'out.json'}"
        return project.runpytest_inprocess(str(project.path / "benchmarks"), *few, out, gate, *args)

    return run_suite


@pytest.mark.slow
def test_a_change_in_a_src_layout_is_found_from_ones_own_repository(
    own: Path, from_own: FromOwn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth more parameters, in a package that the model imports; a model that only this version has is missing."""
    monkeypatch.setenv("PYTHONPATH", "src")
    (own / "bench" / "fresh.py").write_text("from entry import net as fresh\n")
    result = from_own("--model=bench/entry.py:net", "--model=bench/fresh.py:fresh", "--against=main~1")
    result.stdout.fnmatch_lines(
        [
            "nothing to compare with: main~1 (*) has no bench/fresh.py: it is not under version control; *",
            "the sides differ in 2 files: bench/fresh.py, src/pkg/net.py; 3 files the same on both",
            "REGRESSION *net-fp32*: params 500 -> 550 (+10.0 %*",
            "MISSING *fresh-fp32*: params; base: failed: main~1 (*) has no bench/fresh.py*",
        ]
    )
    assert result.ret == 1
    no_traceback(result)
    assert len(git(own, "worktree", "list").splitlines()) == 1
    assert git(own, "status", "--porcelain") == "?? bench/fresh.py"


@pytest.mark.slow
def test_an_editable_install_is_turned_and_equal_code_is_said_under_another_interpreter_too(
    own: Path, from_own: FromOwn, monkeypatch: pytest.MonkeyPatch, project: pytest.Pytester
) -> None:
    site = own.parent / "site"
    installed_editable(own, site, finder=True)
    (site / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({str(site)!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(site))
    python = f"--against-python={sys.executable}"  # the same one, so that nothing can differ
    # of the folder of the run, which the other version's tree lacks
    (own / "machines.toml").write_text("[machines.edge-box]\nprice_per_hour = 1\n")
    result = from_own("--model=bench/entry.py:net", "--against=main", python, "--isolate", "--machine=edge-box")
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        [
            "*= gate: *",
            "both sides are the same code: 4 files, bench/entry.py, bench/near.py, src/pkg/__init__.py and 1 more",
            "gate: 1 pass (alternating; 1 pairs of processes)",
        ]
    )
    saved = json.loads((project.path / "out.json").read_text())["against"]
    assert saved["same_code"]
    assert saved["files"]["src/pkg/net.py"][BASE] == saved["files"]["src/pkg/net.py"][HEAD]


@pytest.mark.slow
@pytest.mark.parametrize("editable", [False, True])
def test_a_saved_baseline_of_ones_own_repository_is_compared_and_a_change_fails_its_case(
    own: Path, from_own: FromOwn, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, editable: bool
) -> None:
    """Saved at the older commit, compared at the newer: a tenth more parameters, in JUnit and in the last line too."""
    site = own.parent / "site"
    if editable:
        installed_editable(own, site, finder=True)
        (site / "sitecustomize.py").write_text(f"import site\nsite.addsitedir({str(site)!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(site) if editable else "src")
    storage = f"--benchmark-storage=file://{project.path / 'kept'}"
    git(own, "checkout", "--quiet", "main~1")
    before = from_own("--model=bench/entry.py:net", storage, "--benchmark-save=base", gate="--gate=params<=500")
    assert before.ret == 0
    git(own, "checkout", "--quiet", "main")
    junit = project.path / "junit.xml"
    after = from_own("--model=bench/entry.py:net", storage, "--benchmark-compare=0001", f"--junit-xml={junit}")
    assert after.ret == 1
    after.stdout.fnmatch_lines(
        ["REGRESSION *net-fp32*: params 500 -> 550 (+10.0 %*: they follow the code", "*= 1 failed*"]
    )
    (suite,) = ElementTree.parse(junit).getroot().iter("testsuite")  # noqa: S314 - our own file
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
