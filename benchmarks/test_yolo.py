"""YOLO: what a forward pass costs, and with trained weights what comes before and after it.

Your own detectors: --weights='runs/*/weights/best.pt'. Add a shape: --batch / --imgsz.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.family("yolo")


def _only_on_photos(batches, model=None) -> None:
    if batches.image_set.is_synthetic:
        pytest.skip("how many boxes NMS sorts out depends on what the images show; give --images=DIR")
    if model is not None and model.task == "classify":
        pytest.skip("a classifier predicts no boxes")


def test_forward(model, image_batches, measure) -> None:
    """The fused detector up to decoded boxes, before NMS: (batch, 3, imgsz, imgsz) -> (batch, 4 + classes, anchors)."""
    predictions = measure(model.forward, image_batches)
    assert len(predictions) == image_batches.batch


@pytest.mark.trained
def test_preprocess(model, photo_batches, measure) -> None:
    """Letterbox, stack, upload and scale decoded images: what happens before the forward pass."""
    _only_on_photos(photo_batches)
    pixels = measure(model.upload, photo_batches)
    assert pixels.shape == (photo_batches.batch, 3, photo_batches.imgsz, photo_batches.imgsz)


@pytest.mark.trained
def test_nms(model, prediction_batches, measure) -> None:
    """Non-maximum suppression of the predictions on real images: -> (boxes, 6) an image."""
    _only_on_photos(prediction_batches, model)
    boxes = measure(model.non_max_suppression, prediction_batches)
    assert len(boxes) == prediction_batches.batch


@pytest.mark.trained
def test_end_to_end(model, photo_batches, measure) -> None:
    """From decoded images to boxes: letterbox, upload, forward pass and NMS in one call."""
    _only_on_photos(photo_batches, model)
    boxes = measure(model.detect, photo_batches)
    assert len(boxes) == photo_batches.batch
