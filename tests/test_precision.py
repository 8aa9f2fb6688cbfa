"""What is called fp32 ran in fp32, or says what ran instead; and no switch outlives the model that set it."""

from __future__ import annotations

import contextlib

import pytest
import torch

from fixtures.devices.process_flags import ProcessFlags
from fixtures.measure.products import share_in
from tests.conftest import Run, Saved

MODELS = """
import sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(192, 4)

    def forward(self, x):
        return self.linear(x.flatten(1))

class Plain(Net):
    # Called as what it is said to be.
    def forward(self, x):
        assert torch.get_float32_matmul_precision() == "highest"
        assert torch.backends.mkldnn.conv.fp32_precision in ("none", "ieee")
        return super().forward(x)

class Within(Net):
    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)

class InACall(Net):
    def forward(self, x):
        torch.set_float32_matmul_precision("medium")
        return super().forward(x)

def older():
    torch.set_float32_matmul_precision("medium")
    return Plain()

def newer():
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    return Plain()

def general():
    torch.backends.fp32_precision = "tf32"
    return Plain()

def autocast():
    torch.set_autocast_dtype("cpu", torch.float16)
    torch.set_autocast_cache_enabled(False)
    torch.set_autocast_enabled("cpu", True)
    return Net()

def denormals():
    torch.set_flush_denormal(True)
    return Net()

def switches():
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.enable_flash_sdp(False)
    return Net()

def after():
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.mkldnn.matmul.fp32_precision != "bf16" != torch.backends.mkldnn.conv.fp32_precision
    assert torch.backends.fp32_precision == "none"
    assert not torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert torch.is_autocast_cache_enabled()
    assert sys.float_info.min / 2 * float(len("1")) > 0
    assert not torch.backends.cudnn.benchmark and torch.backends.cuda.flash_sdp_enabled()
    assert torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction
    return Net()
"""


# Of each the share of products in fp32, and what its notes say.
TOLD: dict[str, tuple[float, tuple[str, ...]]] = {
    "Net": (1.0, ()),
    "older": (1.0, ("precision: the model set * mkldnn.matmul bf16 (none); put back before it was measured",)),
    "newer": (1.0, ("precision: the model set mkldnn.matmul bf16 (none), mkldnn.conv bf16 (none); put back",)),
    "general": (1.0, ("precision: the model set all backends tf32 (none)",)),
    "InACall": (1.0, ("precision: a call set cuda.matmul tf32", "its products are not plain fp32")),
    "Within": (0.0, ("precision: 100% of the products are bfloat16",)),
    "autocast": (0.0, ("100% of the products are float16", "autocast on cpu", "autocast's type on cpu", "cache")),
    "denormals": (1.0, ("put back after the case: denormals",)),
    "switches": (1.0, ("cudnn.benchmark", "allow_bf16_reduced_precision_reduction", "flash attention")),
}


@pytest.mark.slow
def test_precision_says_what_ran(project: pytest.Pytester, run: Run, saved: Saved) -> None:
    """After each of them a model runs that must not notice what it set."""
    project.makepyfile(mine=MODELS + "\n".join(f"after_{name} = after" for name in TOLD))
    models = [f"--model=mine.py:{each}" for name in TOLD for each in (name, f"after_{name}")]
    result = run("-k", "custom", *models, "--imgsz=8", "--batch=1", "--iters=3", "--benchmark-json=out.json")
    result.assert_outcomes(passed=2 * len(TOLD))
    infos = {info["model"]: info for info in (case["extra_info"] for case in saved().values())}
    for name, (share, told) in TOLD.items():
        notes = " ".join(infos[name]["notes"])
        for each in told:
            assert all(part in notes for part in each.split("*")), notes
        if not told:
            assert "precision:" not in notes
        assert infos[name]["precision_share"] == share
        assert not any(note.startswith("precision:") for note in infos[f"after_{name}"]["notes"])
        (row,) = [line for line in result.outlines if line.split()[:2] == [name, "forward"]]
        assert ("of 0 %" in row) is (share == 0.0)


def test_a_share_of_the_products() -> None:
    """By what they cost: of three products one is in bf16, three times as large as both others."""
    left, right = torch.rand(8, 8), torch.rand(48, 8, dtype=torch.bfloat16)

    def call() -> object:
        return left @ left, left @ left, right @ right[:8]

    assert share_in(torch.float32, call) == (0.25, "bfloat16")
    assert share_in(torch.bfloat16, call) == (0.75, "float32")
    assert share_in(torch.float16, call) == (0.0, "bfloat16, float32")
    assert share_in(torch.float32, lambda: left + left) == (None, "")
    assert share_in(torch.float32, lambda: 1 / 0) == (None, "")


def test_every_switch_of_fp32_that_torch_has_is_known() -> None:
    found = {""}
    for name in ("cuda", "cudnn", "mkldnn", "mps", "mkl", "miopen"):
        for part in ("", "matmul", "conv", "rnn"):
            holder = getattr(torch.backends, name, None)
            with contextlib.suppress(AttributeError):
                assert (getattr(holder, part) if part else holder).fp32_precision
                found.add(f"{name}.{part}".rstrip("."))
    assert found == set(ProcessFlags.now().fp32)


def test_older_and_newer_switches_of_torch_do_not_contradict_each_other_afterwards() -> None:
    """torch raises on reading one kind once only the other was set."""
    before = ProcessFlags.now()
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    finally:
        before.apply()
    assert ProcessFlags.now() == before
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cudnn.allow_tf32 is (before.fp32["cudnn.conv"] == "tf32")
    assert torch.backends.cuda.matmul.allow_tf32 is (before.fp32["cuda.matmul"] == "tf32")
