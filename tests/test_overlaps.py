"""Average precision and overlap of masks on drawn shapes, where both have closed forms; and whole runs of SAM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from transformers import SamImageProcessor

from fixtures.inputs.decoding import decode
from fixtures.models.sam import Sam
from fixtures.progress import Progress
from fixtures.quality.annotation_files import read_annotations
from fixtures.quality.annotations import Annotations, Instance
from fixtures.quality.detection import average_precision, coco_ap
from fixtures.quality.evaluate import CannotAnswerError
from fixtures.quality.jackknife import GROUPS, jackknife
from fixtures.quality.metrics import masks
from fixtures.quality.segmentation import centre_point, mask_iou, model_sides
from tests.conftest import Run, Saved, info_of
from tests.test_annotations import coco, drawn, mask_list
from tests.tiny import small_sam

SIDE = 200


def squares(count: int, side: float = 100.0) -> Annotations:
    """One square an image."""
    instances = tuple(Instance(index, 0, (10.0, 10.0, side, side), None, side**2) for index in range(count))
    images = tuple(Path(f"{index}.png") for index in range(count))
    return Annotations(images, ((SIDE, SIDE),) * count, ("square",), instances, "drawn")


Found = tuple[int, list[float], float, int]


def box(image: int, width: float = 100.0, score: float = 0.9, x: float = 10.0) -> Found:
    return image, [x, 10.0, width, 100.0], score, 0


def test_all_found_is_one() -> None:
    found = coco_ap(squares(4), [box(index) for index in range(4)])
    assert (found.coco_ap, found.coco_ap50, found.coco_ap75) == pytest.approx((1, 1, 1))


def test_an_overlap_counts_up_to_its_own_threshold() -> None:
    """62 % of the square: found at 0.50, 0.55 and 0.60 of ten thresholds."""
    found = coco_ap(squares(4), [box(index, width=62) for index in range(4)])
    assert (found.coco_ap, found.coco_ap50, found.coco_ap75) == pytest.approx((0.3, 1, 0))


def test_half_of_the_objects() -> None:
    """Precision 1 up to a recall of one half: 51 of 101 points."""
    assert coco_ap(squares(4), [box(0), box(1)]).coco_ap == pytest.approx(51 / 101)


def test_a_false_alarm_that_is_surer_halves_it() -> None:
    assert coco_ap(squares(1), [box(0), box(0, score=0.95, x=150, width=40)]).coco_ap == pytest.approx(0.5)


def test_a_false_alarm_in_an_image_without_objects_counts() -> None:
    data = squares(2)
    data = Annotations(data.images, data.sizes, data.categories, data.instances[:1], "drawn")
    assert coco_ap(data, [box(0), box(1, score=0.95)]).coco_ap == pytest.approx(0.5)


@pytest.mark.parametrize(("side", "which"), [(31.0, "small"), (95.0, "medium"), (100.0, "large")])
def test_by_the_size_of_the_object(side: float, which: str) -> None:
    found = coco_ap(squares(2, side), [(index, [10.0, 10.0, side, side], 0.9, 0) for index in range(2)])
    sizes = {each: getattr(found, f"coco_ap_{each}") for each in ("small", "medium", "large")}
    assert sizes == {each: pytest.approx(1) if each == which else None for each in sizes}


def test_what_is_found_in_a_crowd_counts_neither_way() -> None:
    """A surer box where many are would be a false alarm else, and the crowd an object that nobody found."""
    data = squares(1)
    crowd = Instance(0, 0, (120.0, 10.0, 70.0, 100.0), None, 7000.0, crowd=True)
    data = Annotations(data.images, data.sizes, data.categories, (*data.instances, crowd), "drawn")
    assert coco_ap(data, [box(0), box(0, score=0.95, x=125, width=40)]).coco_ap == pytest.approx(1)


def test_nothing_found_is_none_of_it() -> None:
    assert coco_ap(squares(2), []).coco_ap == 0


def test_each_part_of_the_list_is_left_out_in_turn() -> None:
    """Of 40 images the last one is missed: without its part of two 38 are found, else 37 of 38."""
    found = coco_ap(squares(40), [box(index) for index in range(39)])
    parts = found.quality_jackknife["coco_ap"]
    whole, most = 1.0, (int(100 * 37 / 38) + 1) / 101
    assert parts == pytest.approx((most,) * (GROUPS - 1) + (whole,))


def test_items_of_one_image_are_left_out_together() -> None:
    values = np.array([1.0, 2.0, 6.0])
    assert jackknife([0, 0, 1], lambda kept: float(values[kept].mean())) == (6.0, 1.5)
    assert jackknife([0, 0], lambda kept: 1.0) == ()
    assert jackknife([0, 1], lambda kept: float("nan")) == ()


def test_shares_over_one_half() -> None:
    found = masks(np.array([1.0, 0.5, 0.6]), np.array([0.0, 0.2, 0.1]), [0, 1, 2])
    assert (found.mask_iou_box, found.mask_iou_box_over_half) == pytest.approx((0.7, 2 / 3))
    assert (found.mask_iou_point, found.mask_iou_point_over_half) == pytest.approx((0.1, 0))
    assert found.quality_jackknife["mask_iou_box"] == pytest.approx((0.55, 0.8, 0.75))


def test_the_point_is_the_one_farthest_from_the_edge() -> None:
    """Of a thin bar with a square at its end it is the middle of the square, not of the whole."""
    shape = np.zeros((40, 60), np.uint8)
    shape[19:21, 0:40] = 1
    shape[10:31, 35:56] = 1
    assert centre_point(coco_mask.encode(np.asfortranarray(shape))) == (45.5, 20.5)


def test_the_edge_of_the_image_is_an_edge() -> None:
    full = np.zeros((21, 40), np.uint8)
    full[:, :21] = 1
    assert centre_point(coco_mask.encode(np.asfortranarray(full))) == (10.5, 10.5)


def test_of_three_masks_for_a_point_the_one_that_the_model_thinks_best_counts() -> None:
    """Masks of 1, 2 and 3 throughout; of the first point the second, of the other the third is thought best."""
    masks = torch.stack([torch.full((4, 4), float(value)) for value in (1, 2, 3)]).expand(1, 2, 3, 4, 4)
    scores = torch.tensor([[[0.1, 0.9, 0.2], [0.1, 0.2, 0.9]]])
    sam = Sam.__new__(Sam)
    sam.module = lambda **_: SimpleNamespace(pred_masks=masks, iou_scores=scores)
    found = sam.masks_of_points(torch.zeros(1, 8, 2, 2), torch.zeros(1, 2, 1, 2))
    assert found.shape == (2, 1, 4, 4)
    assert found[:, 0, 0, 0].tolist() == [2, 3]


class Finds:
    """A detector of three classes, which finds the square in its right place, and a dog in another, surer."""

    module = SimpleNamespace(names={0: "cat", 1: "square", 2: "dog"})

    def every_box(self, predictions: torch.Tensor) -> list[torch.Tensor]:
        found = [[10.0, 20, 50, 40, 0.8, 1], [90, 20, 130, 40, 0.9, 2]]
        return [torch.tensor(found) for _ in predictions]


def examiner_of(model: Any) -> Any:
    return SimpleNamespace(
        model=model,
        batches=lambda paths: [(index, [path]) for index, path in enumerate(paths)],
        pixels=lambda images: torch.zeros(len(images), 3, 80, 80),
    )


def test_classes_go_by_their_names_and_boxes_by_the_size_of_the_image(tmp_path: Path) -> None:
    """40 x 30 pixels are 80 x 60 between padding of ten; a class that nobody annotated is no false alarm."""
    data = read_annotations(str(coco(tmp_path, bbox=[5, 5, 20, 10])), tmp_path, "--annotations")
    assert average_precision(examiner_of(Finds()), lambda pixels: pixels, data).coco_ap == pytest.approx(1)


def test_a_category_that_the_model_lacks_is_told(tmp_path: Path) -> None:
    data = replace(read_annotations(str(coco(tmp_path)), tmp_path, "--annotations"), categories=("lorry",))
    with pytest.raises(CannotAnswerError, match=r"'lorry' is none of the model's classes \(cat, square, dog"):
        average_precision(examiner_of(Finds()), lambda pixels: pixels, data)
    numbered = replace(data, numbered=True)  # YOLO's labels say which class by its number
    assert average_precision(examiner_of(Finds()), lambda pixels: pixels, numbered).coco_ap == 0


class Draws:
    """Answers a box with exactly that box, and a point with the left half of the model's image."""

    def masks_of_boxes(self, embedding: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        assert boxes.dtype == torch.float32  # bf16 would round places beyond 512 px to 4 px
        masks = torch.full((boxes.shape[1], 1, 160, 160), -10.0)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes[0].tolist(), strict=True):
            mask[0, round(y1) : round(y2), round(x1) : round(x2)] = 10.0
        return masks

    def masks_of_points(self, embedding: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        assert points.dtype == torch.float32
        assert points.tolist() == [[[[pytest.approx(58), pytest.approx(58)]]]]  # (14.5, 14.5) of 40, times 4
        masks = torch.full((1, 1, 160, 160), -10.0)
        masks[..., :100] = 10.0
        return masks


def test_prompts_and_masks_are_brought_from_one_size_to_the_other(tmp_path: Path) -> None:
    """40 x 30 pixels are 160 x 120 of the model's 160 x 160, the rest is padding."""
    data = read_annotations(str(coco(tmp_path)), tmp_path, "--annotations")
    examiner: Any = SimpleNamespace(
        imgsz=160, progress=Progress(None), model=Draws(), answers=lambda call, images: call(images)
    )
    found = mask_iou(examiner, lambda images: torch.zeros(1, 4, 4, 4, dtype=torch.bfloat16), data)
    assert found.mask_iou_box == pytest.approx(1.0)
    assert found.mask_iou_point == pytest.approx(200 / (25 * 30))  # of the image's left 25 columns
    assert found.mask_iou_point_over_half == 0


@pytest.mark.parametrize(("shape", "rows"), [((30, 43), 112), ((30, 44), 109), ((30, 42), 114)])
def test_what_is_padding_is_as_transformers_has_it(shape: tuple[int, int], rows: int) -> None:
    """30 x 160 / 43 is 111.6 rows, 30 x 160 / 44 is 109.1, 30 x 160 / 42 is 114.3."""
    sizes = {"size": {"longest_edge": 160}, "pad_size": {"height": 160, "width": 160}}
    found = SamImageProcessor()(np.zeros((*shape, 3), np.uint8), return_tensors="np", **sizes)
    assert tuple(found["reshaped_input_sizes"][0]) == model_sides(shape, 160) == (rows, 160)


def test_sam_end_to_end(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    """The record has what transformers' own processor and model give."""
    from transformers import SamImageProcessor, SamModel, SamProcessor

    small_sam(project.path / "tiny-sam")
    coco(project.path)
    arguments = ("-k", "segmentation", "--weights=tiny-sam", "--annotations=instances.json", "--iters=3")
    result = run(*arguments, "--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    info = info_of(saved)
    sizes = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    processor = SamProcessor(SamImageProcessor(**sizes))
    image = decode(project.path / "one.png")
    model = SamModel.from_pretrained(project.path / "tiny-sam").eval()
    given = processor(image, input_boxes=[[[5.0, 10.0, 25.0, 20.0]]], return_tensors="pt")
    with torch.inference_mode():
        answer = model(pixel_values=given["pixel_values"], input_boxes=given["input_boxes"], multimask_output=False)
    mask = processor.post_process_masks(answer.pred_masks, given["original_sizes"], given["reshaped_input_sizes"])
    predicted, truth = mask[0][0, 0].numpy(), drawn().astype(bool)
    assert info["mask_iou_box"] == pytest.approx((predicted & truth).sum() / (predicted | truth).sum())
    assert 0 <= info["mask_iou_point"] <= 1
    assert (info["quality_count"], info["latency_p50_ms"] > 0) == (1, True)
    assert info["quality_data"].startswith("coco:instances.json:")


def test_sam_in_bf16_takes_prompts_in_fp32(run: Run, project: pytest.Pytester) -> None:
    small_sam(project.path / "tiny-sam")
    coco(project.path)
    arguments = ("-k", "segmentation", "--weights=tiny-sam", "--annotations=instances.json", "--iters=3")
    run(*arguments, "--precision=bf16").assert_outcomes(passed=1)


@pytest.mark.slow
def test_a_list_of_masks_is_not_for_detectors(run: Run, project: pytest.Pytester) -> None:
    """It says no classes: SAM is asked, and YOLO is not failed for it."""
    mask_list(project.path, drawn())
    small_sam(project.path / "tiny-sam")
    asked = ("--annotations=masks.csv", "--weights=tiny-sam", "--allow-random-weights", "--iters=3", "--batch=1")
    result = run("-k", "segmentation or (test_detection and yolov8n)", *asked, "-rs")
    result.assert_outcomes(passed=1, skipped=1)


def test_boxes_alone_are_no_masks(run: Run, project: pytest.Pytester) -> None:
    small_sam(project.path / "tiny-sam")
    coco(project.path, segmentation=None)
    result = run("-k", "segmentation", "--weights=tiny-sam", "--annotations=instances.json", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no object in it has a mask*"])


def test_damaged_annotations_are_told_before_anything_runs(run: Run, project: pytest.Pytester) -> None:
    coco(project.path, category_id=9)
    result = run("-k", "segmentation", "--annotations=instances.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--annotations: instances.json: annotation 0 is of category 9*"])
