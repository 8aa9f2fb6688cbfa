"""Downloads from a real local server: gone on with, checked, offline in one message; what becomes of COCO's files."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fixtures.fetch.__main__ import MISSING, main
from fixtures.fetch.download import DownloadError, download
from fixtures.fetch.weights import wanted
from fixtures.inputs.images import file_sha256
from fixtures.inputs.photos import candidates
from fixtures.quality.lists import read_list
from tests.serving import send, serving

CONTENT = bytes(range(256)) * 5000


def ranged(content: bytes, cut: int | None = None) -> Callable[[BaseHTTPRequestHandler, int], None]:
    """Serves ranges; the first answer is cut off after `cut` bytes."""

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("range") or "")
        rest = content[int(asked[1]) :] if asked else content
        if cut is not None and number == 0:
            send(handler, 200, rest[:cut], length=len(rest))
        else:
            send(handler, 206 if asked else 200, rest)

    return answer


def nothing(*_: object) -> None:
    pass


def test_a_download_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    target = tmp_path / "a" / "f.bin"
    with serving(ranged(CONTENT, cut=300_000)) as seen:
        with pytest.raises(DownloadError, match=r"f\.bin"):
            download(f"{seen.url}/f.bin", target, nothing)
        there = (target.parent / "f.bin.part").stat().st_size
        assert 0 < there <= 300_000
        assert not target.exists()
        assert download(f"{seen.url}/f.bin", target, nothing).read_bytes() == CONTENT
        assert seen.headers[1]["range"] == f"bytes={there}-"
        download(f"{seen.url}/f.bin", target, nothing)
        assert len(seen.paths) == 2
    assert list(target.parent.iterdir()) == [target]


def test_a_server_without_ranges_starts_again(tmp_path: Path) -> None:
    (tmp_path / "f.part").write_bytes(b"other")
    with serving(lambda handler, number: send(handler, 200, CONTENT)) as seen:
        assert download(f"{seen.url}/f", tmp_path / "f", nothing).read_bytes() == CONTENT


def test_a_wrong_checksum_drops_the_file(tmp_path: Path) -> None:
    with serving(ranged(CONTENT)) as seen, pytest.raises(DownloadError, match=r"sha256 is .* expected abc"):
        download(f"{seen.url}/f", tmp_path / "f", nothing, sha256="abc")
    assert list(tmp_path.iterdir()) == []


def test_progress_ends_at_the_whole(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serving(ranged(CONTENT)) as seen:
        download(f"{seen.url}/f", tmp_path / "f", lambda now, whole: told.append((now, whole)))
    assert told[-1] == (len(CONTENT), len(CONTENT))


def coco_files() -> dict[str, bytes]:
    """Four images with captions and boxes, laid out as COCO's server does."""
    files = {}
    images, captions, boxes = [], [], []
    for number in (9, 3, 7, 5):
        name = f"{number:012}.jpg"
        stream = io.BytesIO()
        Image.fromarray(np.full((40, 80, 3), number, np.uint8)).save(stream, "JPEG")
        files[f"/val2017/{name}"] = stream.getvalue()
        images.append({"id": number, "file_name": name, "width": 80, "height": 40})
        captions += [{"image_id": number, "caption": f"one, \n of {number} "}, {"image_id": number, "caption": "two"}]
        boxes.append({"image_id": number, "category_id": 90, "bbox": [8, 10, 16, 20], "iscrowd": 0})
        boxes.append({"image_id": number, "category_id": 1, "bbox": [0, 0, 80, 40], "iscrowd": 1})
    categories = [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("annotations/captions_val2017.json", json.dumps({"images": images, "annotations": captions}))
        instances = {"images": images, "annotations": boxes, "categories": categories}
        opened.writestr("annotations/instances_val2017.json", json.dumps(instances))
    files["/annotations/annotations_trainval2017.zip"] = archive.getvalue()
    return files


def test_a_coco_subset_is_what_the_options_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = coco_files()

    def answer(handler: BaseHTTPRequestHandler, number: int) -> None:
        send(handler, 200, files[handler.path])

    folder = tmp_path / "coco"
    arguments = ["inputs", "--num-images=3", "--seed=1", f"--folder={folder}"]
    with serving(answer) as seen:
        assert main([*arguments, f"--source={seen.url}"]) == 0
        asked = len(seen.paths)
        assert main([*arguments, f"--source={seen.url}"]) == 0
        assert len(seen.paths) == asked == 4
    said = capsys.readouterr().out
    assert f"--images={folder / 'data.yaml'} --num-images=3" in said
    images = candidates(folder / "data.yaml")
    assert len(images) == 3
    about = json.loads((folder / "fetched.json").read_text())
    assert about["sha256"] == {path.name: file_sha256(path) for path in images}
    captions = read_list("captions.csv", folder, "--captions", "caption")
    assert len(captions.rows) == 6
    assert captions.rows[0].text == f"one, of {int(captions.rows[0].image.stem)}"
    label = (folder / "labels" / f"{images[0].stem}.txt").read_text()
    assert label == "1 0.200000 0.500000 0.200000 0.500000\n"  # toothbrush comes second; the crowd is left out


def test_offline_everything_that_is_missing_is_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with serving(ranged(b"")) as seen:
        pass
    arguments = ["models", "clip-vit-b32", "yolov8n", f"--folder={tmp_path}", f"--yolo-source={seen.url}/v8"]
    assert main(arguments) == MISSING
    said = capsys.readouterr().err
    assert "fetch: 2 of 2 are missing:" in said
    assert re.search(
        r"clip-vit-b32: openai/clip-vit-base-patch32 is neither in the hub's cache \(.*\) nor reachable", said
    )
    assert f"yolov8n: neither at {str(tmp_path / 'yolov8n.pt')!r} nor reachable" in said
    assert "Traceback" not in said


def test_weights_are_written_down_with_their_sums(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(ranged(CONTENT)) as seen:
        assert main(["models", "yolo11n", f"--folder={tmp_path}", f"--yolo-source={seen.url}/v8.4.0"]) == 0
    (about,) = json.loads((tmp_path / "fetched.json").read_text())
    assert about["revision"] == "v8.4.0"
    assert about["sha256"] == {"yolo11n.pt": file_sha256(tmp_path / "yolo11n.pt")}
    assert f"--weights=yolo11n={tmp_path / 'yolo11n.pt'}" in capsys.readouterr().out


def test_which_models_are_meant() -> None:
    assert [spec.name for spec in wanted(["yolo"], False)] == ["yolov8n", "yolo11n"]
    assert "clip-vit-l14" not in [spec.name for spec in wanted([], False)]
    assert "clip-vit-l14" in [spec.name for spec in wanted([], True)]
    with pytest.raises(DownloadError, match="no built-in model 'yolov9'; there are"):
        wanted(["yolov9"], False)
