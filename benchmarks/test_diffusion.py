"""Diffusion: what a batch of prompts costs end to end, and which part of it the text encoder, steps and decoder are.

Full size on a GPU or with --full-size. Add a shape: --batch / --imgsz / --steps. Nothing else changes.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.family("diffusion")


def test_generate(model, generated, measure, batch, imgsz) -> None:
    """Prompts to images at once, --steps steps: (batch, 77), (batch, 4, imgsz / 8, …) -> (batch, 3, imgsz, imgsz)."""
    images = measure(model.generate, generated(model.requests(imgsz)), stages_ms=model.stages_ms)
    assert images.shape == (batch, 3, imgsz, imgsz)
