"""Images and data sets as people have them: of any depth and mode, named in any of the usual ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.inputs.decoding import InputsError, decode
from fixtures.inputs.images import ImageSet, fixed_images
from fixtures.inputs.photos import candidates
from tests.test_settings import parsed


def taken(tmp_path: Path, source: str, **given: str) -> ImageSet:
    """The images of a run in that folder."""
    return fixed_images(replace(parsed(**given), invocation_dir=tmp_path, images=source), tmp_path)


_RAMP = np.arange(256)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ramp.png", np.uint8(_RAMP)),
        ("ramp.png", np.uint16(_RAMP * 257)),
        ("ramp.tiff", np.uint16(_RAMP * 257)),
        ("ramp.tiff", np.int32(_RAMP * 257)),
        ("ramp.tiff", np.uint32(_RAMP * 16_843_009).view(np.int32)),
        ("ramp.tiff", np.float32(_RAMP / 255)),
        ("ramp.tiff", np.float32(_RAMP)),
        ("ramp.tiff", np.float32(_RAMP * 257)),
    ],
    ids=["8", "16 png", "16 tiff", "16 in 32", "32", "float to 1", "float to 255", "float to 65535"],
)
def test_a_ramp_of_any_depth_stays_a_ramp(tmp_path: Path, name: str, values: np.ndarray) -> None:
    """Pillow clips what is deeper than eight bits: two grey levels were left."""
    Image.fromarray(np.tile(values, (8, 1))).save(tmp_path / name)
    found = decode(tmp_path / name)
    assert (found.dtype, found.shape) == (np.uint8, (8, 256, 3))
    assert (found == np.uint8(_RAMP)[None, :, None]).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "CMYK"])
def test_grey_and_colour_modes_keep_their_levels(tmp_path: Path, mode: str) -> None:
    name = "x.tiff" if mode == "CMYK" else "x.png"
    ramp = Image.fromarray(np.tile(np.uint8(_RAMP), (8, 1))).convert("RGB").convert(mode)
    ramp.save(tmp_path / name)
    levels = len(np.unique(decode(tmp_path / name)[..., 0]))
    assert levels == 2 if mode == "1" else levels >= 250


def many(tmp_path: Path, photos: Path) -> Path:
    """A data set as Roboflow exports it."""
    images = tmp_path / "set" / "valid" / "images"
    images.mkdir(parents=True)
    for index in range(3):
        (images / f"{index}.jpg").write_bytes((photos / f"{index}.jpg").read_bytes())
    (images / "#1.png").write_bytes((photos / "3.jpg").read_bytes())
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.yaml", b"val: ../valid/images\nnc: 1\n"),
        ("data.yaml", b"validation: valid/images\n"),
        ("data.yaml", "\ufeffval: valid/images\n".encode()),
        ("data.yaml", "val: valid/images\nnames: [caf\u00e9]\n".encode("latin-1")),
        ("data.YAML", b"val: valid\\images\n"),
        ("list.TXT", b"valid\\images\\0.jpg\nvalid\\images\\1.jpg\r\nvalid/images/2.jpg\nvalid/images/#1.png\n"),
        ("valid/images/list.txt", b"# a comment\n#1.png\n0.jpg\n1.jpg\n2.jpg\n"),
        ("list.txt", "\ufeffvalid/images/0.jpg\nvalid/images/1.jpg\nvalid/images/2.jpg\nvalid/images/#1.png".encode()),
    ],
    ids=["roboflow", "validation", "bom", "latin-1", "capitals", "windows", "hash", "bom in a list"],
)
def test_data_sets_as_people_have_them(photos: Path, tmp_path: Path, name: str, content: bytes) -> None:
    (many(tmp_path, photos) / name).write_bytes(content)
    assert len(taken(tmp_path, f"set/{name}", num_images="4")) == 4


def test_linked_folders_are_followed_and_each_image_is_found_once(tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "part").symlink_to(many(tmp_path, photos))
    (folder / "again").symlink_to(folder)
    assert len(candidates(folder)) == 4


def test_fewer_images_than_the_default_are_all_taken(photos: Path, tmp_path: Path) -> None:
    """And stay the set of these runs when the folder grows; a run that asks for a number gets that many."""
    usual = parsed()
    assert (usual.num_images, usual.num_images_asked) == (200, False)
    first = taken(tmp_path, "photos")
    assert (len(first), first.list_path.name.rpartition("photos-")[2][8:]) == (10, "-all-42.json")
    with pytest.raises(InputsError, match="holds 10 images, 11 were asked for"):
        taken(tmp_path, "photos", num_images="11")
    (photos / "late.jpg").write_bytes((photos / "0.jpg").read_bytes())
    assert taken(tmp_path, "photos").digest == first.digest
    assert len(taken(tmp_path, "photos", num_images="11")) == 11
    assert len(taken(tmp_path, "photos", num_images="11")) == 11
