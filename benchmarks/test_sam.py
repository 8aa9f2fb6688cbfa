"""SAM: what an image costs once, what each prompt costs then, and both together.

Add a variant: append to `specs` in fixtures/models/sam.py. Add a shape: --batch. The image side is fixed at 1024.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.family("sam")


def test_image_encoder(model, image_batches, measure) -> None:
    """One embedding pass: (batch, 3, 1024, 1024) -> (batch, 256, 64, 64)."""
    embeddings = measure(model.encode_image, image_batches)
    assert embeddings.shape[:2] == (image_batches.batch, 256)


def test_mask_decoder(model, generated, measure, batch) -> None:
    """One point prompt an image on given embeddings: (batch, 256, 64, 64) -> three masks, (batch, 1, 3, 256, 256)."""
    masks = measure(model.decode_masks, generated(model.embeddings), generated(model.points), unit="prompts")
    assert masks.shape[:3] == (batch, 1, 3)


def test_end_to_end(model, image_batches, generated, measure) -> None:
    """From the image to three masks for one point: (batch, 3, 1024, 1024) -> (batch, 1, 3, 256, 256)."""
    masks = measure(model.segment, image_batches, generated(model.points))
    assert masks.shape[:3] == (image_batches.batch, 1, 3)
