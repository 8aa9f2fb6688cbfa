"""Quality: how good the answers are, on your data, and what they cost on the way.

Run when its data is given (--captions, --labels, --annotations, --metric, --quality) or this file is named; random
weights are refused.
"""

from __future__ import annotations

import pytest

from fixtures.quality import evaluate

pytestmark = pytest.mark.opt_in("captions", "labels", "annotations", "metric", "quality")


@pytest.mark.family("clip")
@pytest.mark.data("captions")
def test_retrieval(main_call, main_batches, examine, measure) -> None:
    """Recall at 1, 5 and 10 of --captions, from images to texts and back."""
    measure(main_call, main_batches, found=examine(evaluate.retrieval, "captions"))


@pytest.mark.family("clip", "custom")
@pytest.mark.data("labels")
def test_classification(main_call, main_batches, examine, measure) -> None:
    """Top-1 accuracy, precision, recall and F1 on --labels: zero-shot for CLIP, by the largest output otherwise."""

    def question(examiner, data):
        return evaluate.classification(examiner, main_call, data)

    measure(main_call, main_batches, found=examine(question, "labels"))


@pytest.mark.family("blip2")
@pytest.mark.data("captions")
def test_captions(model, main_batches, examine, measure) -> None:
    """BLEU of generated captions against those of --captions."""
    measure(model.image_part, main_batches, found=examine(evaluate.captions, "captions"))


@pytest.mark.family("sam")
@pytest.mark.data("annotations")
def test_segmentation(main_call, main_batches, examine_masks, measure) -> None:
    """Overlap of masks with those of --annotations, each object asked for by its box and by one point."""
    measure(main_call, main_batches, found=examine_masks(main_call))


@pytest.mark.family("yolo")
@pytest.mark.data("annotations", "images")
def test_detection(main_call, main_batches, examine_detector, measure) -> None:
    """COCO's AP of what is timed on --annotations or the val split of --images=data.yaml, ultralytics' mAP beside."""
    measure(main_call, main_batches, found=examine_detector())


@pytest.mark.family("diffusion", "modules")
@pytest.mark.data("quality")
def test_clip_score(model, requests, examine_pictures, measure) -> None:
    """How well images of the fixed prompts show what was asked for, by a CLIP model; what it costs is not timed."""
    measure(model.generate, requests, found=examine_pictures())


@pytest.mark.family("clip", "sam", "blip2", "yolo", "custom")
@pytest.mark.data("metric")
def test_own_metric(main_call, main_batches, own_metric, measure) -> None:
    """A number of your own: --metric=FILE.py:NAME, called as NAME(predict, rows)."""
    measure(main_call, main_batches, found=own_metric)
