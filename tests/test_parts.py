"""What a model tells of the inside of its calls is of the timed ones, and of no other."""

from __future__ import annotations

import pytest
import torch

from fixtures.models.yolo import Yolo
from tests.conftest import Run, Saved, info_of

TOLD = """
import pytest

pytestmark = pytest.mark.family("custom")

def test_told(model, main_batches, measure):
    told, forward = [], model.forward

    def call(*args):
        told.append(float(len(told)))
        return forward(*args)

    call.__name__ = "forward"
    measure(call, main_batches, first_token_ms=told)
"""


def test_the_first_token_is_that_of_the_timed_calls(project: pytest.Pytester, run: Run, saved: Saved) -> None:
    """The first call, the memory pass and two untimed ones come before; inputs not seen before, and others, after."""
    (project.path / "benchmarks" / "test_told.py").write_text(TOLD)
    exact = ("--batch=1", "--warmup=2", "--iters=3", "--imgsz=8", "--benchmark-json=out.json")
    run("-k", "told", "--model=tiny.py:net", *exact).assert_outcomes(passed=1)
    assert info_of(saved)["time_to_first_token_ms"] == 5.0


def test_detection_is_every_stage_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Yolo.__new__(Yolo)
    monkeypatch.setattr(Yolo, "upload", lambda self, images, imgsz: torch.full((len(images),), float(imgsz)))
    monkeypatch.setattr(Yolo, "forward", lambda self, pixels: pixels * 2)
    monkeypatch.setattr(Yolo, "non_max_suppression", lambda self, predictions: [each + 1 for each in predictions])
    assert model.detect([None, None], 64) == [129.0, 129.0]  # type: ignore[list-item]
