"""The fixed images: the same bytes everywhere, chosen once, and refused when they are no longer what they were."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.config.settings import Settings
from fixtures.inputs import synthetic
from fixtures.inputs.decoding import InputsError, decode
from fixtures.inputs.images import fixed_images
from fixtures.inputs.photos import choose
from tests.test_settings import parsed

ROOT = Path(__file__).parent.parent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(parsed(num_images="4"), invocation_dir=tmp_path)


def with_images(settings: Settings, source: Path | str) -> Settings:
    return replace(settings, images=str(source))


@pytest.mark.parametrize("index", [0, 57, 199])
def test_synthetic_images_are_the_committed_bytes(index: int) -> None:
    """A change of the generator, or a platform that computes otherwise, orphans every baseline."""
    listing = json.loads((ROOT / "results/inputs/synthetic-200-42.json").read_text())
    rendered = synthetic.ppm_bytes(synthetic.render(index, 42))
    assert hashlib.sha256(rendered).hexdigest() == listing["images"][index]["sha256"]


def test_synthetic_images_have_the_spectrum_of_photographs() -> None:
    """Power falls with frequency about as 1/f² (photographs: exponents of 1.8 to 2.8); noise would give 0."""
    grey = synthetic.render(3, 42)[:360, :360].mean(axis=2)
    window = np.hanning(360)[:, None] * np.hanning(360)[None, :]
    power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
    y, x = np.indices(power.shape)
    radius = np.hypot(y - 180, x - 180).astype(int)
    radial = np.bincount(radius.ravel(), power.ravel()) / np.bincount(radius.ravel())
    exponent, _ = np.polyfit(np.log(np.arange(4, 120)), np.log(radial[4:120]), 1)
    assert 1.8 < -exponent < 2.8


def test_a_seed_is_a_set_of_its_own() -> None:
    assert not np.array_equal(synthetic.render(0, 42), synthetic.render(0, 43))


def test_the_list_is_written_once_and_reused(settings: Settings, photos: Path, tmp_path: Path) -> None:
    first = fixed_images(with_images(settings, photos), tmp_path)
    written = first.list_path.read_bytes()
    Image.new("RGB", (8, 8)).save(photos / "00-new.jpg")  # would be drawn, if images were drawn anew
    second = fixed_images(with_images(settings, photos), tmp_path)
    assert second.digest == first.digest
    assert second.list_path.read_bytes() == written
    listed = json.loads(written)["images"]
    assert len(listed) == 4
    assert all(set(image) == {"path", "bytes", "sha256"} for image in listed)
    assert [image["path"] for image in listed] == sorted(image["path"] for image in listed)


def test_another_seed_draws_other_images(settings: Settings, photos: Path, tmp_path: Path) -> None:
    first = fixed_images(with_images(settings, photos), tmp_path)
    other = fixed_images(with_images(replace(settings, seed=43), photos), tmp_path)
    assert other.digest != first.digest


def test_the_choice_does_not_depend_on_the_order_of_the_folder() -> None:
    paths = [Path(f"{index}.jpg") for index in range(50)]
    assert choose(paths, 10, 42, "x") == choose(sorted(paths), 10, 42, "x")


def test_the_synthetic_set_costs_nothing_until_an_image_is_asked_for(settings: Settings, tmp_path: Path) -> None:
    """The committed list is enough to know the digest; only what is used is rendered, and cached."""
    first = fixed_images(settings, tmp_path)
    folder = tmp_path / "results/inputs/synthetic/v1-42"
    for file in folder.glob("*.ppm"):
        file.unlink()
    again = fixed_images(settings, tmp_path)
    assert again.digest == first.digest
    assert not list(folder.glob("*.ppm"))
    assert again.image(5).shape == again.image(1).shape
    assert [file.name for file in folder.glob("*.ppm")] == ["0001.ppm"]


def test_a_synthetic_image_that_was_tampered_with_is_refused(settings: Settings, tmp_path: Path) -> None:
    fixed_images(settings, tmp_path)
    file = tmp_path / "results/inputs/synthetic/v1-42/0002.ppm"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputsError, match=r"0002\.ppm' has changed since it was chosen"):
        fixed_images(settings, tmp_path)


def test_images_are_upright_rgb(tmp_path: Path) -> None:
    """EXIF orientation 6 means: turn by 90 degrees."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert decode(tmp_path / "turned.jpg").shape == (30, 20, 3)


def test_a_yolo_data_yaml_gives_its_val_split(settings: Settings, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: .\ntrain: nowhere\nval: photos\n")
    assert len(fixed_images(with_images(settings, "data.yaml"), tmp_path)) == 4


def test_a_text_file_lists_paths_relative_to_itself(settings: Settings, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("# four\n" + "\n".join(f"photos/{index}.jpg" for index in range(4)) + "\n\n")
    images = fixed_images(with_images(settings, "list.txt"), tmp_path)
    assert images.image(0).shape == (20, 30, 3)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nothere", "no such file or folder"),
        ("empty", "holds no image"),
        ("few", "holds 1 images, 4 were asked for; give --num-images=1"),
        ("corrupt", "3.jpg' is a corrupt image"),
        ("text", "3.jpg' is not an image (it starts with b'hello wo'); remove it"),
        ("noval.yaml", "has no 'val' entry"),
        ("broken.yaml", "is not readable YAML"),
        ("dangling.txt", "lists "),
        ("photos/3.jpg", "expected a folder, a YOLO data.yaml or a .txt list"),
    ],
)
def test_a_source_that_cannot_be_used_is_told_why(
    settings: Settings, photos: Path, tmp_path: Path, source: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    for name, count in (("few", 1), ("corrupt", 4), ("text", 4)):
        (tmp_path / name).mkdir()
        for index in range(count):
            (tmp_path / name / f"{index}.jpg").write_bytes((photos / f"{index}.jpg").read_bytes())
    (tmp_path / "corrupt/3.jpg").write_bytes((photos / "3.jpg").read_bytes()[:300])
    (tmp_path / "text/3.jpg").write_text("hello world")
    (tmp_path / "noval.yaml").write_text("train: photos\n")
    (tmp_path / "broken.yaml").write_text("val: [photos\n")
    (tmp_path / "dangling.txt").write_text("photos/1.jpg\nphotos/99.jpg\n")
    with pytest.raises(InputsError, match=re.escape(message)):
        fixed_images(with_images(settings, source), tmp_path)
    assert not list((tmp_path / "results").rglob("*.json"))  # nothing half chosen is left behind


def png_of(width: int, height: int) -> bytes:
    """A few bytes that say to be an image of that size."""
    stream = io.BytesIO()
    Image.new("1", (1, 1)).save(stream, "PNG")
    content = bytearray(stream.getvalue())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.fixture
def strange(tmp_path: Path, photos: Path) -> Path:
    """Sources that a folder, a data.yaml or a list may turn out to be."""

    def image(name: str, content: bytes | Image.Image, last: str = "3.png") -> None:
        (tmp_path / name).mkdir()
        for index in range(3):
            (tmp_path / name / f"{index}.png").write_bytes((photos / f"{index}.jpg").read_bytes())
        file = tmp_path / name / last
        file.write_bytes(content) if isinstance(content, bytes) else content.save(file)

    image("bomb", png_of(50_000, 50_000))
    image("large", png_of(10_000, 10_000))
    image("long", Image.new("RGB", (1, 100)))
    image("deep", Image.fromarray(np.full((8, 8), np.nan, np.float32)), "3.tiff")
    image("kinds", Image.new("CMYK", (8, 8)).convert("P"))
    image("dot", Image.new("RGB", (1, 1)))
    image("special", b"")
    for kind in (os.mkfifo, os.mkdir):
        kind(tmp_path / "special" / f"{kind.__name__}.png")  # type: ignore[operator]
    (tmp_path / "special" / "3.png").unlink()
    (tmp_path / "special" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "special" / "loop.png").symlink_to("loop.png")
    (tmp_path / "special" / "again").symlink_to(tmp_path / "special")
    image("named", b"")
    (tmp_path / "named" / "3.png").rename(tmp_path / "named" / os.fsdecode(b"\xff.png"))
    (tmp_path / "self.yaml").write_text("val: self.yaml\n")
    (tmp_path / "laughs.yaml").write_text(
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)) + "val: *a39\n"
    )
    (tmp_path / "nested.yaml").write_text("val: " + "[" * 20_000 + "]" * 20_000)
    (tmp_path / "number.yaml").write_text("val: " + "9" * 5000)
    (tmp_path / "table.yaml").write_text("val: {1: [2]}")
    (tmp_path / "utf16.yaml").write_bytes("val: photos".encode("utf-16"))
    (tmp_path / "long.yaml").write_text("val: " + "x" * 300)
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "long.txt").write_text("x" * 300 + "\n")
    (tmp_path / "utf16.txt").write_bytes("photos/1.jpg".encode("utf-16"))
    (tmp_path / "many.txt").write_text("a\n" * 1_000_001)
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    return tmp_path


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("bomb", "3.png' has over 89 million pixels; scale or remove it"),
        ("large", "3.png' has over 89 million pixels; scale or remove it"),
        ("long", "3.png' has 1 x 100 pixels, over 40 times as long as wide"),
        ("deep", "3.tiff' has values below 0, or none that are numbers; convert it to RGB"),
        ("special", "holds 3 images, 4 were asked for"),
        ("named", "is not UTF-8, which the list is in; rename it"),
        ("self.yaml", "names 'self.yaml' under 'val'; name a folder or a .txt list"),
        ("laughs.yaml", "has an alias, *a0; write out what it means"),
        ("nested.yaml", "is nested more than 20 deep"),
        ("number.yaml", "is not readable YAML: Exceeds the limit"),
        ("table.yaml", "must name a folder or a .txt list under 'val'"),
        ("utf16.yaml", "is not readable YAML"),
        ("long.yaml", "no such file or folder"),
        ("fifo.yaml", "no such file or folder"),
        ("long.txt", "lists "),
        ("utf16.txt", "is not a text file in UTF-8"),
        ("many.txt", "has 1,000,001 lines; list at most 1,000,000 images"),
        ("circle", "is no path to a file or folder: Too many levels of symbolic links"),
        ("x" * 300, "is no path to a file or folder: File name too long"),
        ("~nobody_at_all/x", "is no path to a file or folder: "),
        ("a\0b", "is no path to a file or folder: "),
    ],
    ids=lambda text: text[:12].replace("\0", ""),
)
def test_what_no_model_can_be_given_is_one_line(settings: Settings, strange: Path, source: str, message: str) -> None:
    with pytest.raises(InputsError, match=re.escape(message)) as told:
        fixed_images(with_images(settings, source), strange)
    assert len(str(told.value).splitlines()) == 1
    assert len(str(told.value)) < 600


@pytest.mark.parametrize("source", ["kinds", "dot"])
def test_palettes_and_single_pixels_are_images(settings: Settings, strange: Path, source: str) -> None:
    images = fixed_images(with_images(settings, source), strange)
    assert images.image(3).shape[2] == 3


def test_an_animation_is_its_first_picture(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    assert decode(tmp_path / "moving.png")[0, 0].tolist() == [255, 0, 0]


def test_a_list_of_other_files_than_the_synthetic_ones_is_refused(settings: Settings, tmp_path: Path) -> None:
    images = fixed_images(settings, tmp_path)
    images.list_path.write_text(images.list_path.read_text().replace("0002.ppm", "../../mine.ppm"))
    with pytest.raises(InputsError, match="names other files than the synthetic ones"):
        fixed_images(settings, tmp_path)


def test_an_image_that_changed_is_refused(settings: Settings, photos: Path, tmp_path: Path) -> None:
    images = fixed_images(with_images(settings, photos), tmp_path)
    first = photos / images.listing.images[0].path
    first.write_bytes(first.read_bytes() + b"\0")
    with pytest.raises(InputsError, match=r"has changed since it was chosen; restore it, or delete .*\.json'"):
        fixed_images(with_images(settings, photos), tmp_path)


def test_an_image_that_vanished_is_refused(settings: Settings, photos: Path, tmp_path: Path) -> None:
    images = fixed_images(with_images(settings, photos), tmp_path)
    (photos / images.listing.images[0].path).unlink()
    with pytest.raises(InputsError, match="stands in the fixed list but is missing"):
        fixed_images(with_images(settings, photos), tmp_path)


@pytest.mark.parametrize("content", ["", "{", '{"source": "x", "seed": 1, "images": []}', '{"images": 3}'])
def test_a_damaged_list_is_refused(settings: Settings, photos: Path, tmp_path: Path, content: str) -> None:
    fixed_images(with_images(settings, photos), tmp_path).list_path.write_text(content)
    with pytest.raises(InputsError, match="delete it to choose anew"):
        fixed_images(with_images(settings, photos), tmp_path)
