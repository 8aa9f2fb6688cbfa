"""Annotated objects: drawn shapes read from each of the three forms, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco_mask

from fixtures.quality.annotation_files import read_annotations
from fixtures.quality.annotations import Annotations
from fixtures.quality.lists import ListError

WIDTH, HEIGHT = 40, 30
# A rectangle from (5, 10) on, 20 wide and 10 high.
POLYGON = [5.0, 10.0, 25.0, 10.0, 25.0, 20.0, 5.0, 20.0]
BOX = [5.0, 10.0, 20.0, 10.0]


def drawn() -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[10:20, 5:25] = 1
    return pixels


def runs() -> list[int]:
    """By hand, column by column: five empty ones and ten rows; then ten of the object and twenty not, twenty times."""
    return [5 * HEIGHT + 10, *[10, 20] * 19, 10, 10 + 15 * HEIGHT]


def coco(folder: Path, **changed: Any) -> Path:
    """COCO's file of one image with one object; `changed` replaces parts of the annotation."""
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "one.png")
    annotation = {"id": 1, "image_id": 7, "category_id": 3, "bbox": BOX, "area": 200, "segmentation": [POLYGON]}
    content = {
        "images": [{"id": 7, "file_name": "one.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 3, "name": "square"}],
        "annotations": [{**annotation, **changed}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


def yolo(folder: Path, label: str) -> Path:
    for kind in ("images", "labels"):
        (folder / kind).mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / "one.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "images" / "empty.png")
    (folder / "labels" / "one.txt").write_text(label + "\n")
    (folder / "data.yaml").write_text(yaml.safe_dump({"path": ".", "val": "images", "names": ["ball", "square"]}))
    return folder / "data.yaml"


def mask_list(folder: Path, pixels: np.ndarray) -> Path:
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "one.png")
    Image.fromarray(pixels).save(folder / "mask.png")
    (folder / "masks.csv").write_text("image,mask\none.png,mask.png\n")
    return folder / "masks.csv"


def read(path: Path) -> Annotations:
    return read_annotations(path.name, path.parent, "--annotations")


YOLO_POLYGON = "1 " + " ".join(f"{v / (HEIGHT if i % 2 else WIDTH):.9f}" for i, v in enumerate(POLYGON))
FORMS: dict[str, Callable[[Path], Path]] = {
    "polygon": coco,
    "runs": lambda folder: coco(folder, segmentation={"size": [HEIGHT, WIDTH], "counts": runs()}),
    "packed runs": lambda folder: coco(
        folder,
        segmentation={
            "size": [HEIGHT, WIDTH],
            "counts": coco_mask.encode(np.asfortranarray(drawn()))["counts"].decode(),
        },
    ),
    "yolo": lambda folder: yolo(folder, YOLO_POLYGON),
    "png of 0 and 1": lambda folder: mask_list(folder, drawn()),
    "png of 0 and 255": lambda folder: mask_list(folder, drawn() * 255),
    "png in colour": lambda folder: mask_list(folder, np.repeat(drawn()[:, :, None] * 200, 3, axis=2)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_mask(form: str, tmp_path: Path) -> None:
    data = read(FORMS[form](tmp_path))
    (found,) = data.masked
    assert found.mask is not None
    assert np.array_equal(coco_mask.decode(found.mask), drawn())
    assert found.box == pytest.approx(tuple(BOX))
    assert found.area_px == pytest.approx(200)
    assert data.sizes[found.image] == (WIDTH, HEIGHT)
    assert data.images[found.image].name == "one.png"


def test_yolo_images_without_objects_and_boxes_count(tmp_path: Path) -> None:
    """An image without labels can have false alarms; a box has no mask."""
    data = read(yolo(tmp_path, f"1 {15 / WIDTH} {15 / HEIGHT} {20 / WIDTH} {10 / HEIGHT}"))
    assert [path.name for path in data.images] == ["empty.png", "one.png"]
    assert (data.instances[0].box, data.masked) == (pytest.approx(tuple(BOX)), [])
    assert data.categories[data.instances[0].category] == "square"


def test_a_label_that_stands_twice_is_one_object(tmp_path: Path) -> None:
    """As ultralytics has it: the second would be one that nobody can find."""
    assert len(read(yolo(tmp_path, f"{YOLO_POLYGON}\n{YOLO_POLYGON}")).instances) == 1


def test_another_content_is_another_name(tmp_path: Path) -> None:
    first = read(coco(tmp_path)).identity
    assert first == read(coco(tmp_path)).identity
    assert first != read(coco(tmp_path, bbox=[5, 10, 20, 11])).identity


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": [1199]}}, "run lengths of 1,199 pixels, not 1,200"),
        ({"segmentation": {"size": [WIDTH, HEIGHT], "counts": [1200]}}, "a mask of 30 x 40 pixels, its image 40 x 30"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "~"}}, "which is none of COCO's characters"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "P"}}, "cut off"),
        ({"segmentation": {"size": [HEIGHT, WIDTH], "counts": "PPPPPPPPPP1"}}, "none of COCO's characters"),
        ({"segmentation": [[1, 1, 5, 5]]}, "a polygon of 4 numbers"),
        ({"segmentation": [[1, 1, 5, 5, 1e8, 7]]}, "far outside its image of 40 x 30"),
        ({"image_id": 8}, "annotation 0 is of image 8, which is none of its 1 images"),
        ({"category_id": 4}, "annotation 0 is of category 4, which is none of its 1 categories"),
        ({"bbox": [1, 1, -4, 4]}, "a box of -4 x 4"),
        ({"bbox": [1, 1, 4]}, "is no COCO annotation file"),
    ],
)
def test_a_damaged_annotation_is_told(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ListError, match=r"--annotations: .*instances\.json") as error:
        read(coco(tmp_path, **changed))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("categories", [{"name": "square"}], "missing required field `id`"),
        ("categories", [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}], "two categories with the id 3"),
        ("images", [{"id": 7, "file_name": "no.png", "width": 1, "height": 1}], "'no.png', which is not in"),
        (
            "images",
            [{"id": 7, "file_name": "one.png", "width": 30, "height": 40}],
            "has 30 x 40 pixels, it has 40 x 30",
        ),
    ],
)
def test_a_damaged_file_is_told(part: str, value: Any, message: str, tmp_path: Path) -> None:
    path = coco(tmp_path, segmentation=None)
    path.write_text(json.dumps({**json.loads(path.read_text()), part: value}))
    with pytest.raises(ListError) as error:
        read(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "has the class 2; there are 0 to 1"),
        ("1 0.5 0.5 1.1 0.1", "shares of the image, 0 to 1"),
        ("1 0.5 0.5 0.1", "a polygon of 3 numbers"),
        ("one 0.5 0.5 0.1 0.1", "must hold numbers"),
        ("inf 0.5 0.5 0.1 0.1", "has the class inf; there are 0 to 1"),
        ("1e999 0.5 0.5 0.1 0.1", "has the class inf; there are 0 to 1"),
        ("nan 0.5 0.5 0.1 0.1", "has the class nan; there are 0 to 1"),
        ("1 nan 0.5 0.1 0.1", "shares of the image, 0 to 1"),
        ("", "holds an object"),
    ],
)
def test_a_damaged_label_is_told(label: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ListError, match="--annotations: ") as error:
        read(yolo(tmp_path, label))
    assert message in str(error.value)


@pytest.mark.parametrize("names", ["{a: ball, 0: square}", "{1: ball}", "{0: ball, 2: square}", "5", "[]", "{}"])
def test_names_that_are_no_numbered_classes_are_told(names: str, tmp_path: Path) -> None:
    yolo(tmp_path, YOLO_POLYGON)
    (tmp_path / "data.yaml").write_text(f"path: .\nval: images\nnames: {names}\n")
    with pytest.raises(ListError, match="must name its classes under 'names'"):
        read(tmp_path / "data.yaml")


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((HEIGHT, WIDTH), np.uint8), "is empty"),
        (drawn()[:, :-1], "has 39 x 30 pixels, its image 40 x 30"),
        (
            np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH),
            "has 256 values; a mask has 0 and one other",
        ),
    ],
)
def test_a_mask_that_is_none_is_told(pixels: np.ndarray, message: str, tmp_path: Path) -> None:
    with pytest.raises(ListError, match=r"--annotations: the mask 'mask\.png'") as error:
        read(mask_list(tmp_path, pixels))
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["none.json", "none.csv", "data.toml"])
def test_what_is_no_annotation_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(ListError, match="--annotations: "):
        read(tmp_path / name)
