"""CLIP: what an image, a caption and a pair cost.

Add a variant: append to `specs` in fixtures/models/clip.py. Add a shape: --batch / --imgsz. Nothing else changes.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.family("clip")


def test_image_encoder(model, image_batches, measure) -> None:
    """One embedding pass: (batch, 3, imgsz, imgsz) -> (batch, projection_dim)."""
    embeddings = measure(model.encode_image, image_batches)
    assert embeddings.shape == (image_batches.batch, model.module.config.projection_dim)


def test_text_encoder(model, generated, measure, batch) -> None:
    """One embedding pass of 77 tokens: (batch, 77) -> (batch, projection_dim)."""
    embeddings = measure(model.encode_text, generated(model.captions), unit="texts")
    assert embeddings.shape == (batch, model.module.config.projection_dim)


def test_similarity(model, image_batches, generated, measure, batch) -> None:
    """As many images as texts, each scored with each: (batch, 3, imgsz, imgsz), (batch, 77) -> (batch, batch)."""
    scores = measure(model.similarity, image_batches, generated(model.captions), unit="pairs")
    assert scores.shape == (batch, batch)
