"""`--weights` and `--model`: names, families, and what is said of files that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fixtures.cases.family import Source
from fixtures.cases.own import OwnModelError, parse_own, parse_own_models
from fixtures.config.weights import WeightsError, name_from_path, parse_weights
from fixtures.measure import recording


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/baseline/weights/best.pt", "baseline"),
        ("runs/ghost/seed0/weights/best.pt", "ghost"),
        ("runs/detect/train2/weights/best.pt", "best"),
        ("runs/ghost-p2/train/weights/last.pt", "ghost-p2"),
        ("yolov8n.yaml", "yolov8n"),
        ("models/my clip (v2)/", "my-clip-v2"),
        ("/data/<script>.pt", "script"),
        ("../../x.pt", "x"),
    ],
)
def test_a_model_is_named_after_the_part_that_says_something(path: str, name: str) -> None:
    assert name_from_path(path) == name


def weights_file(folder: Path, path: str) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"not empty")
    return file


def test_a_glob_names_each_model_and_takes_no_file_twice(tmp_path: Path) -> None:
    weights_file(tmp_path, "runs/ghost/weights/best.pt")
    weights_file(tmp_path, "runs/baseline/weights/best.pt")
    found = parse_weights(["runs/*/weights/best.pt", "runs/ghost/weights/best.pt"], tmp_path)
    assert [weights.name for weights in found] == ["baseline", "ghost"]
    assert {weights.family for weights in found} == {"yolo"}


def test_a_name_may_be_given(tmp_path: Path) -> None:
    weights_file(tmp_path, "best.pt")
    assert parse_weights(["mine=best.pt"], tmp_path)[0].name == "mine"


def test_a_clash_of_names_is_an_error(tmp_path: Path) -> None:
    weights_file(tmp_path, "ghost/seed0/best.pt")
    weights_file(tmp_path, "ghost/seed1/best.pt")
    with pytest.raises(WeightsError, match=r"'ghost' would name several models .*--weights=NAME=PATH"):
        parse_weights(["ghost/*/best.pt"], tmp_path)


def test_a_config_that_ships_with_ultralytics_needs_no_file(tmp_path: Path) -> None:
    (found,) = parse_weights(["yolov8s.yaml"], tmp_path)
    assert (found.name, found.family) == ("yolov8s", "yolo")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothere.pt", "no such file .*nothere.pt'; weights are never downloaded by name"),
        ("yolov8n.pt", "no such file .*yolov8n.pt'; weights are never downloaded by name"),
        ("nothere/*.pt", r"no file matches 'nothere/\*.pt'"),
        ("empty.pt", "empty.pt' is empty"),
        ("folder", "is a folder without a config.json"),
        ("broken", "config.json' is not readable JSON"),
        ("pickled", "holds no .safetensors file"),
        ("bert", "is of type 'bert'; models that can be read are of type blip-2, clip, sam"),
        ("model.safetensors", "is not a .pt, a .yaml or a model folder"),
        ("no such thing", "no such file or folder 'no such thing'; weights are never downloaded by name"),
        ("a b=x.pt", "the name in 'a b=x.pt' must consist of letters"),
    ],
)
def test_weights_that_cannot_be_used_are_told_why(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "empty.pt").touch()
    weights_file(tmp_path, "model.safetensors")
    (tmp_path / "folder").mkdir()
    for name, config in (("broken", "{"), ("pickled", '{"model_type": "clip"}'), ("bert", '{"model_type": "bert"}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(config)
    weights_file(tmp_path, "bert/model.safetensors")
    weights_file(tmp_path, "pickled/pytorch_model.bin")
    with pytest.raises(WeightsError, match=message):
        parse_weights([text], tmp_path)


def test_the_family_is_read_from_the_config(tmp_path: Path) -> None:
    weights_file(tmp_path, "mine/model.safetensors")
    (tmp_path / "mine/config.json").write_text(json.dumps({"model_type": "sam"}))
    (found,) = parse_weights(["mine"], tmp_path)
    assert (found.family, found.config) == ("sam", {"model_type": "sam"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mine.py", "expected FILE.py:NAME, got 'mine.py'"),
        ("mine.txt:net", "expected FILE.py:NAME, got 'mine.txt:net'"),
        ("mine.py:not a name", "expected FILE.py:NAME"),
        ("nothere.py:net", "no such file .*nothere.py'"),
    ],
)
def test_an_own_model_that_cannot_be_used_is_told_why(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.py").touch()
    with pytest.raises(OwnModelError, match=message):
        parse_own_models([text], tmp_path)


def test_own_models_of_one_name_clash(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).touch()
    with pytest.raises(OwnModelError, match="'net' stands in several files"):
        parse_own_models(["a.py:net", "b.py:net"], tmp_path)
    assert len(parse_own_models(["a.py:net", "a.py:net", "b.py:other"], tmp_path)) == 2


def test_an_existing_path_may_hold_an_equals_sign_and_capitals(tmp_path: Path) -> None:
    weights_file(tmp_path, "runs/lr=0.1/weights/BEST.PT")
    (found,) = parse_weights(["runs/lr=0.1/weights/BEST.PT"], tmp_path)
    assert (found.name, found.family) == ("lr-0.1", "yolo")


def test_a_name_does_not_depend_on_where_it_is_typed(tmp_path: Path) -> None:
    weights_file(tmp_path, "runs/ghost/weights/best.pt")
    (found,) = parse_weights(["best.pt"], tmp_path / "runs/ghost/weights")
    assert found.name == "ghost"


def test_a_name_that_is_too_long_for_any_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--model: 'xxx.*' is no path to a file or folder: File name too long"):
        parse_own("--model", "x" * 300 + ".py:net", tmp_path)
    with pytest.raises(ValueError, match=r"--weights: 'xxx.*' is no path to a file or folder: File name too long"):
        parse_weights(["x" * 300 + ".pt"], tmp_path)


def test_a_link_keeps_the_name_it_was_given(tmp_path: Path) -> None:
    """Six ablations linked to `best.pt` of a store were all called as the store is."""
    weights_file(tmp_path, "store/0a1b2c/best.pt")
    (tmp_path / "ghost.pt").symlink_to(tmp_path / "store/0a1b2c/best.pt")
    (found,) = parse_weights(["ghost.pt"], tmp_path)
    assert (found.name, found.location) == ("ghost", str(tmp_path / "ghost.pt"))


@pytest.mark.parametrize(
    ("weights", "location", "path"),
    [
        ("file:best.pt:0123", "/work/runs/ghost/best.pt", "runs/ghost/best.pt"),
        ("file:best.pt:0123", "/store/best.pt", "/store/best.pt"),
        ("random:42", "/venv/site-packages/ultralytics/cfg/models/v8/yolov8n.yaml", None),
        ("pretrained:openai/clip@1", "openai/clip", None),
    ],
)
def test_the_path_of_weights_is_that_of_the_users_file(weights: str, location: str, path: str | None) -> None:
    """Where ultralytics is installed is no part of a record."""
    measured: Any = SimpleNamespace(
        case=SimpleNamespace(spec=SimpleNamespace(source=Source("file", location))),
        settings=SimpleNamespace(invocation_dir=Path("/work")),
        loaded=SimpleNamespace(model=SimpleNamespace(weights=weights)),
    )
    assert recording._weights_path(measured) == path
