"""What a run concludes of a case is a failure of it: in JUnit's file, in pytest's last line, by the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from fixtures.devices.cpu import Cpu
from tests.conftest import Run
from tests.saved import faster

TWO = ("-k", "custom", "--model=tiny.py:net", "--model=tiny.py:five", "--batch=1", "--iters=5")
NET, FIVE = (f"benchmarks/test_custom.py::test_forward[{name}-fp32-b1-224]" for name in ("net", "five"))
PACE_S = 0.015
_now_s = 0.0


def paced_clock() -> float:
    """Every round takes the same time, whatever the machine does."""
    global _now_s
    _now_s += PACE_S
    return _now_s


@pytest.fixture(autouse=True)
def paced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Cpu, "timer", f"{__name__}.paced_clock")
    return (yield)


def change_base(project: pytest.Pytester, change: Callable[[dict[str, Any]], None]) -> None:
    """Edit the one file that --benchmark-save=base wrote."""
    (file,) = (project.path / "results").glob("*/0001_base.json")
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def half_as_slow_again(content: dict[str, Any]) -> None:
    """The first case was faster, one process a side, on a machine that was busy."""
    faster(content["benchmarks"][0], 1.5)
    for benchmark in content["benchmarks"]:
        benchmark["extra_info"].update(canary_matmul_ms=None, canary_copy_ms=None, flags=["host_busy"])


def suite_of(project: pytest.Pytester) -> ElementTree.Element:
    (suite,) = ElementTree.parse(project.path / "junit.xml").getroot().iter("testsuite")  # noqa: S314 - our own file
    return suite


def failures(project: pytest.Pytester) -> dict[str, list[str]]:
    """Of each case in JUnit's file; what the file counts is what stands in it."""
    suite = suite_of(project)
    found = {
        case.attrib["name"]: [each.attrib["message"] for each in case.iter("failure")]
        for case in suite.iter("testcase")
    }
    assert int(suite.attrib["tests"]) == len(found)
    assert int(suite.attrib["failures"]) == sum(map(bool, found.values()))
    assert (suite.attrib["errors"], suite.attrib["skipped"]) == ("0", "0")
    return found


def test_a_regression_fails_its_case_everywhere(project: pytest.Pytester, run: Run) -> None:
    """+50 %, one process a side, flagged: by the gate and by pytest-benchmark's threshold alike."""
    run(*TWO, "--benchmark-save=base").assert_outcomes(passed=2)
    change_base(project, half_as_slow_again)
    for asked, said in (
        ("--gate=latency_p50_ms", f"REGRESSION {NET}: latency_p50_ms 10 -> 15 (+50.0 %, "),
        ("--benchmark-compare-fail=median:10%", f"REGRESSION {NET}: median 10.000 -> 15.000 ms (+50.0 %, limit 10 %)"),
    ):
        result = run(*TWO, "--benchmark-compare", asked, "--junitxml=junit.xml")
        assert result.ret == 1
        result.assert_outcomes(failed=1, passed=1)
        assert result.outlines[-1].strip("= ").startswith("1 failed, 1 passed")
        result.stdout.fnmatch_lines(["FAILED *net-fp32-b1-224* - REGRESSION *"])
        result.stdout.no_fnmatch_line("*= FAILURES =*")
        found = failures(project)
        assert found["test_forward[five-fp32-b1-224]"] == []
        (message,) = found["test_forward[net-fp32-b1-224]"]
        assert message.startswith(said)


def test_what_is_refused_missing_or_over_a_limit_fails_its_case_too(project: pytest.Pytester, run: Run) -> None:
    run(*TWO, "--benchmark-save=base").assert_outcomes(passed=2)

    def other_torch_and_a_case_that_is_gone(content: dict[str, Any]) -> None:
        content["machine_info"]["versions"]["torch"] = "1.0"
        gone = json.loads(json.dumps(content["benchmarks"][0]))
        gone["fullname"] = NET.replace("net-", "gone-")
        gone["extra_info"]["weights"] = "random:42"
        content["benchmarks"].append(gone)

    change_base(project, other_torch_and_a_case_that_is_gone)
    (project.path / "small.toml").write_text('[must]\nparams = "< 1"\n')
    asked = ("--benchmark-compare", "--gate=gflops", "--gate=params<=1", "--budget=small.toml", "--junitxml=junit.xml")
    result = project.runpytest_inprocess("benchmarks/test_custom.py", *TWO[2:], *asked)
    assert result.ret == 1
    result.assert_outcomes(failed=3)
    found = failures(project)
    assert {name: len(messages) for name, messages in found.items()} == dict.fromkeys(found, 1)
    (element,) = [case for case in suite_of(project).iter("testcase") if "net" in case.attrib["name"]]
    told = (element.findtext("failure") or "").splitlines()
    assert [line.partition(" benchmarks")[0] for line in told] == [
        "budget small: params < 1, measured 112",
        "INVALID",
        "REGRESSION",
    ]
    assert "--allow-different=torch compares them all the same" in told[1]
    assert found["test_forward[gone-fp32-b1-224]"][0].startswith("MISSING ")


def test_a_run_that_only_measures_fails_nothing(project: pytest.Pytester, run: Run) -> None:
    """Nor does one whose verdicts all hold."""
    result = run(*TWO, "--gate=params<=1e9", "--junitxml=junit.xml")
    assert result.ret == 0
    result.assert_outcomes(passed=2)
    assert not any(failures(project).values())


def test_own_code_is_compared_though_its_weights_change(project: pytest.Pytester, run: Run) -> None:
    """With what it was before, and the digest that changed is told; one that got larger is a regression."""
    one = (*TWO[:3], *TWO[4:])
    run(*one, "--benchmark-save=base").assert_outcomes(passed=1)
    tiny = Path(project.path, "tiny.py")
    tiny.write_text(tiny.read_text().replace("nn.Conv2d(3, 4, 3)", "nn.Conv2d(3, 5, kernel_size=3)"))
    larger = run(*one, "--benchmark-compare", "--gate=params", "--gate=latency_p50_ms:90000%")
    assert larger.ret == 1
    larger.stdout.fnmatch_lines(
        [
            f"REGRESSION {NET.replace('[', '[[]')}: params 112 -> 140 (+25.0 %, *compared exactly; weights "
            "file:tiny.py:* -> file:tiny.py:*: they follow the code",
            "gate: 1 regression, 1 pass (*",
        ]
    )
    compared = run(*one, "--benchmark-compare", "--benchmark-compare-fail=median:10%")
    assert compared.ret == 0
    compared.stdout.fnmatch_lines(
        ["*: weights file:tiny.py:* they follow the code", "1 compared, 0 regressed, 0 refused*"]
    )
