"""Models of every kind, and models that raise: measured, or one line that says what to do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fixtures.cases.tensors import plain_tensors, tensors_in, to_dtype
from fixtures.exits import FAULT, Exit, command, ranked
from fixtures.measure import output
from fixtures.models.custom import state_digest
from tests.conftest import Run, Saved, no_traceback
from tests.kinds import raising

KINDS = Path(__file__).parent / "kinds"
MEASURED = (
    *("complex_weights", "exported", "exported_module", "scripted", "traced", "frozen", "conjugated"),
    *("sparse_buffer", "sparse_coo", "sparse_csr", "sparse_output", "nested_strided", "nested_jagged"),
    *("packed", "quantised", "refers_to_itself"),
)
TOLD = {
    "nan_in_slots": "output of forward holds NaN or infinity",
    "lazy": "has a lazy layer, of which no call has told the shape (0.weight); call it once before you return it",
    "on_meta": "has weights on the meta device, which has shapes and no numbers (0.weight); build it on the CPU",
    "default_device": "has weights on the meta device",
}
# These steps are nobody's business here, so that nothing is lost by them.
HARMLESS = {
    *("__deepcopy__", "__del__", "__repr__", "__eq__", "__len__", "__bool__", "__reduce_ex__", "__dir__", "__str__"),
    "modules",
}
ARGUMENTS = ("-k", "custom", "--batch=1", "--warmup=1", "--iters=3", "--benchmark-json=out.json")


@pytest.mark.slow
def test_every_kind_of_model_is_measured(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    shutil.copy(KINDS / "kinds.py", project.path)
    result = run(*ARGUMENTS, *(f"--model=kinds.py:{name}" for name in (*MEASURED, *TOLD)))
    cases = {case["extra_info"]["model"]: case["extra_info"] for case in saved().values()}
    assert tuple(cases) == MEASURED
    for line in TOLD.values():
        result.stdout.fnmatch_lines([f"*{line.replace('[', '[[]')}*"])
    no_traceback(result)
    assert (cases["packed"]["params"], cases["packed"]["weights_bytes"] > 50) == (4 * 8 + 8 + 8 * 3 + 3, True)
    assert cases["complex_weights"]["params"] == 4 * 2 + 3


@pytest.mark.slow
def test_a_model_that_raises_is_one_line_at_every_step(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    shutil.copy(KINDS / "raising.py", project.path)
    names = {step: f"no_{step.strip('_')}" for step in raising.STEPS}
    result = run(*ARGUMENTS, *(f"--model=raising.py:{name}" for name in names.values()))
    assert result.ret == Exit.FAILED
    measured = {case["extra_info"]["model"] for case in saved().values()}
    assert measured == {name for step, name in names.items() if step in HARMLESS}
    text = result.stdout.str()
    assert FAULT not in text
    for step in set(names) - HARMLESS:
        assert f": no {step}" in text, step


def test_complex_weights_keep_what_is_imaginary() -> None:
    """`module.to(dtype)` threw it away: the weights were 0."""
    numbers = {"w": torch.full((2,), 1 + 2j), "r": torch.ones(2), "i": torch.ones(2).int()}
    module = nn.ParameterDict({name: nn.Parameter(each, requires_grad=False) for name, each in numbers.items()})
    to_dtype(module, torch.bfloat16)
    assert {name: value.dtype for name, value in module.items()} == {
        "w": torch.complex64,
        "r": torch.bfloat16,
        "i": torch.int32,
    }
    assert module["w"][0] == 1 + 2j


def test_packed_weights_are_part_of_the_identity() -> None:
    """Two seeds of a dynamically quantised model had one id."""

    def digest(seed: int) -> str:
        torch.manual_seed(seed)
        return state_digest(torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)), {nn.Linear}))

    assert digest(0) == digest(0)
    assert digest(0) != digest(1)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.eye(3).to_sparse(),
        torch.eye(3).to_sparse_csr(),
        torch.eye(3).to_sparse_csc(),
        torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
        torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8),
        torch.quantize_per_channel(torch.eye(3), torch.ones(3), torch.zeros(3), 0, torch.qint8),
        torch.ones(3, dtype=torch.complex64).conj(),
        torch.ones(3, dtype=torch.complex64).conj().imag,
        torch.ones(3).to(torch.float8_e4m3fn),
    ],
    ids=["coo", "csr", "csc", "nested", "quantised", "by channel", "conjugated", "negated", "eight bits"],
)
def test_what_a_tensor_consists_of_can_be_digested(tensor: torch.Tensor) -> None:
    assert len(output.digest(tensor) or "") == 64
    assert output.is_finite(tensor) is True
    assert all(plain.layout == torch.strided for plain in plain_tensors(tensor))


def test_tensors_are_found_where_there_is_no_dict() -> None:
    class Base:
        __slots__ = ("first",)

    class Slots(Base):
        __slots__ = "second"

    value = Slots()
    value.first, value.second = torch.tensor(1.0), [torch.tensor(float("nan"))]
    assert len(tensors_in(value)) == 2
    assert output.is_finite(value) is False


def test_a_fault_of_the_suite_is_one_line_with_an_exit_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1 would mean a regression."""

    @command
    def main(arguments: object) -> int:
        raise KeyError("nobody foresaw")

    assert main() == Exit.INTERNAL
    said = capsys.readouterr().err
    assert said.startswith(f"{FAULT}: KeyError: 'nobody foresaw' (")
    trace = Path(said.rpartition("(")[2].rstrip(")\n"))
    assert "in main" in trace.read_text()
    trace.unlink()
    assert ranked(Exit.FAILED, [Exit.OK, Exit.INTERNAL]) == Exit.INTERNAL
    assert ranked(Exit.INTERRUPTED, [Exit.INTERNAL]) == Exit.INTERRUPTED


def test_a_fault_within_a_case_is_told_as_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.measure.recording.latency_notes", None)
    result = run(*ARGUMENTS, "--model=tiny.py:net")
    assert result.ret == Exit.INTERNAL
    result.stdout.fnmatch_lines([f"*{FAULT}: TypeError: 'NoneType' object is not callable*"])
    no_traceback(result)


def test_a_terminal_without_unicode_gets_escapes() -> None:
    """UnicodeEncodeError ended the gate with exit code 1, which means a regression."""
    root = Path(__file__).parent.parent
    baselines = sorted((root / "results").glob("000*.json"))[:2]
    done = subprocess.run(
        [sys.executable, "-m", "fixtures", "gate", *map(str, baselines)],
        cwd=root,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (Exit.OK, Exit.FAILED, Exit.INVALID)
    assert "\\u" in done.stdout
    assert "Error" not in done.stderr
