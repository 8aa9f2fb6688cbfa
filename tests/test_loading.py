"""One model alive at a time, built once, and what is said when it cannot be built."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn

from fixtures.cases.case import Case
from fixtures.cases.family import Build, Family, Spec
from fixtures.cases.model import Model
from fixtures.cases.own import OwnModel
from fixtures.cases.variants import Variant
from fixtures.devices.cpu import Cpu
from fixtures.measure.loading import CannotFitError, CannotLoadError, Shelf
from fixtures.models.huggingface import LoadError, fill_with_random_weights
from tests.test_settings import parsed


class Workshop:
    """Builds small models and counts how often."""

    def __init__(self) -> None:
        self.built: list[str] = []
        self.broken = False

    def load(self, spec: Spec, build: Build) -> Model:
        self.built.append(f"{spec.name} {build.dtype}")
        if self.broken:
            raise LoadError("--weights: broken")
        return Model(nn.Linear(2, 2).to(build.dtype), f"random:{build.seed}")

    def case(self, name: str, precision: str = "fp32", params: int | None = None) -> Case:
        family = Family("toy", "nothing", (1,), "forward", (), self.load)
        return Case(family, Spec(name, 8, 1, params=params), Variant(precision), 1, 8)


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf(Cpu(), parsed())


def test_a_model_is_built_once_for_all_its_cases(workshop: Workshop, shelf: Shelf) -> None:
    first = shelf.get(workshop.case("a"))
    assert shelf.get(workshop.case("a")) is first
    assert workshop.built == ["a torch.float32"]


def test_another_precision_is_another_model(workshop: Workshop, shelf: Shelf) -> None:
    shelf.get(workshop.case("a"))
    assert shelf.get(workshop.case("a", "bf16")).dtype == torch.bfloat16
    assert workshop.built == ["a torch.float32", "a torch.bfloat16"]


def test_the_last_model_is_dead_before_the_next_is_built(workshop: Workshop, shelf: Shelf) -> None:
    """Also when a failed test's traceback holds it, as pytest's `sys.last_value` does."""

    def failing_test() -> None:
        held = shelf.get(workshop.case("a")).model
        raise AssertionError(held)

    try:
        failing_test()
    except AssertionError as error:
        model = weakref.ref(error.args[0])
        error.args = ()
        sys.last_value = error
    assert model() is not None
    alive_when_built = []
    load = workshop.load
    workshop.load = lambda spec, build: (alive_when_built.append(model() is not None), load(spec, build))[1]  # type: ignore[method-assign]
    shelf.get(workshop.case("b"))
    assert alive_when_built == [False]
    gc.collect()


def test_what_cannot_be_built_is_not_tried_again(workshop: Workshop, shelf: Shelf) -> None:
    workshop.broken = True
    for _ in range(2):
        with pytest.raises(CannotLoadError, match="--weights: broken"):
            shelf.get(workshop.case("a"))
    assert len(workshop.built) == 1


def test_a_model_that_does_not_fit_is_told_with_both_numbers(workshop: Workshop, shelf: Shelf) -> None:
    huge = workshop.case("huge", params=10**13)
    with pytest.raises(CannotFitError, match=r"huge in fp32 needs 45714\.3 GB, \d+\.\d GB are free"):
        shelf.get(huge)
    assert workshop.built == []


def test_default_precision_is_bf16_only_where_fp32_would_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fixtures.devices.host.free_host_memory_bytes", lambda: 16 * 10**9)
    assert Cpu().default_precision(3_744_679_936) == "bf16"
    assert Cpu().default_precision(3_000_000_000) == "fp32"
    assert Cpu().default_precision(None) == "fp32"


def test_random_weights_are_seeded_small_and_finite() -> None:
    module = nn.Sequential(nn.Linear(2000, 1000), nn.LayerNorm(1000))
    module[1].norm = nn.LayerNorm(10)
    fill_with_random_weights(module, seed=42)
    weight = module[0].weight.clone()
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)
    assert not torch.equal(weight[0], weight[1])
    assert module[0].bias.abs().sum() == 0
    assert torch.equal(module[1].norm.weight, torch.ones(10))
    fill_with_random_weights(module, seed=42)
    assert torch.equal(module[0].weight, weight)
    fill_with_random_weights(module, seed=43)
    assert not torch.equal(module[0].weight, weight)


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("x = 1", "net", "mine.py defines no 'net'; it defines nothing callable"),
        ("def other(): ...", "net", "mine.py defines no 'net'; it defines other"),
        ("1 / 0", "net", "mine.py:1 raised ZeroDivisionError while it was imported"),
        ("def net(:", "net", "raised SyntaxError while it was imported"),
        ("def net():\n    raise KeyError('backbone')", "net", "net() raised KeyError at mine.py:2: 'backbone'"),
        ("def net():\n    return 3", "net", "must return an nn.Module or (nn.Module, make_inputs), got int"),
        ("net = 3", "net", "'net' in mine.py is neither callable nor an nn.Module: 3"),
    ],
)
def test_an_own_model_that_cannot_be_built_is_told_why(tmp_path: Path, code: str, name: str, message: str) -> None:
    from fixtures.models.custom import build_own

    file = tmp_path / "mine.py"
    file.write_text(code)
    with pytest.raises(LoadError) as caught:
        build_own(OwnModel(name, file), seed=42)
    assert message in str(caught.value)


def test_an_own_model_is_identified_by_its_numbers(tmp_path: Path) -> None:
    """The same code with other weights is another model; a change of the code alone is not."""
    from fixtures.models.custom import FAMILY, spec_from_own

    def weights(code: str, seed: int) -> str:
        file = tmp_path / "mine.py"
        file.write_text(code)
        spec = spec_from_own(OwnModel("net", file))
        return FAMILY.load(spec, Build(seed, torch.float32, lambda: 0.0)).weights

    code = "from torch import nn\ndef net():\n    return nn.Linear(3, 3)\n"
    assert weights(code, 42) == weights(code + "# slower\n", 42)
    assert weights(code, 42) != weights(code, 43)
    assert weights(code, 42).startswith("file:mine.py:")


def test_ultralytics_leaves_this_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from PIL import Image

    from fixtures.models.yolo import import_ultralytics

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads, image_open = torch.get_num_threads(), Image.open
    import_ultralytics()
    assert torch.get_num_threads() == threads
    assert "OMP_NUM_THREADS" not in os.environ
    assert Image.open is image_open
    assert not Path("~/.config/Ultralytics").expanduser().exists()
