"""Quality: whole runs of each kind, their refusals, and where a caption ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from transformers import AutoTokenizer, Blip2ForConditionalGeneration

from fixtures.inputs.decoding import decode
from fixtures.models.blip2 import NEW_TOKENS, Blip2
from fixtures.models.yolo import import_ultralytics
from fixtures.quality.words import written
from tests.conftest import Run, Saved, no_traceback
from tests.tiny import images_in, small_blip2, small_clip


@torch.inference_mode()
def test_a_caption_ends_where_the_model_ends_it() -> None:
    """The benchmark's `generate` must write 20 tokens; quality is of what the model says."""
    model = Blip2(small_blip2(), "random:42", lambda: 0.0)
    first = int(model.caption(torch.zeros(1, 3, 28, 28))[0, 0])
    model.module.generation_config.eos_token_id = first  # now the first token is the end
    ended = model.caption(torch.zeros(1, 3, 28, 28))
    assert ended.shape == (1, NEW_TOKENS)
    assert set(ended[0, 1:].tolist()) == {model.module.config.text_config.eos_token_id}


def clip_with_words(folder: Path) -> None:
    """A small CLIP as people save one: weights and tokenizer."""
    small_clip(folder)
    words = ["a", "photo", "of", "dark", "grey", "light", "white"]
    save_words(folder, {"[UNK]": 0, **{word: 1 + index for index, word in enumerate(words)}, "[END]": 99})


def save_words(folder: Path, vocabulary: dict[str, int]) -> None:
    """A tokenizer of whole words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", eos_token="[END]", pad_token="[END]")
    made.save_pretrained(folder)


def csv_of(project: pytest.Pytester, column: str, *said: str) -> None:
    rows = [f"{name},{text}" for name, text in zip(images_in(project.path), said, strict=True)]
    (project.path / f"{column}s.csv").write_text("\n".join([f"image,{column}", *rows]) + "\n")


def only_info(saved: Saved) -> dict[str, Any]:
    (benchmark,) = saved().values()
    info: dict[str, Any] = benchmark["extra_info"]
    return info


def test_retrieval_end_to_end(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    clip_with_words(project.path / "tiny-clip")
    csv_of(project, "caption", "dark", "grey", "light", "white")
    arguments = ("-k", "retrieval", "--weights=tiny-clip", "--captions=captions.csv", "--batch=1", "--iters=3")
    result = run(*arguments, "--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*recall_at_10_image_to_text*1"])
    info = only_info(saved)
    assert (info["recall_at_10_image_to_text"], info["recall_at_5_text_to_image"]) == (1.0, 1.0)
    assert 0 <= info["recall_at_1_image_to_text"] <= 1
    assert info["quality_count"] == 4
    assert info["quality_data"].startswith("captions:captions.csv:")
    assert info["latency_p50_ms"] > 0


def test_captions_end_to_end(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    """The captions of the list are what the model writes, so that BLEU is 100."""
    folder = project.path / "tiny-blip2"
    module = small_blip2()
    module.generation_config.eos_token_id = module.config.text_config.eos_token_id = 48
    module.save_pretrained(folder)
    save_words(folder, {f"word{index}": index for index in range(48)} | {"[UNK]": 49, "[END]": 48})
    loaded = Blip2ForConditionalGeneration.from_pretrained(folder)
    model = Blip2(loaded, f"file:{folder.name}", lambda: 0.0)
    pixels = model.preprocess([decode(project.path / name) for name in images_in(project.path)], 28)
    with torch.inference_mode():
        said = written(AutoTokenizer.from_pretrained(folder), model.caption(pixels))
    csv_of(project, "caption", *said)
    arguments = ("-k", "test_captions", "--weights=tiny-blip2", "--captions=captions.csv", "--batch=1", "--iters=3")
    result = run(*arguments, "--imgsz=28", "--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    info = only_info(saved)
    assert info["bleu"] == pytest.approx(100)
    assert info["quality_count"] == 4


def test_weights_without_a_tokenizer_are_told(run: Run, project: pytest.Pytester) -> None:
    small_clip(project.path / "tiny-clip")
    csv_of(project, "caption", "dark", "grey", "light", "white")
    result = run("-k", "retrieval", "--weights=tiny-clip", "--captions=captions.csv", "--batch=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*tiny-clip: the tokenizer beside the weights knows none of the words*tokenizer.save_pretrained*"]
    )
    no_traceback(result)


@pytest.mark.slow
def test_random_weights_are_refused_unless_allowed(
    run: Run, saved: Saved, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    csv_of(project, "caption", "dark", "grey", "light", "white")
    refused = run("-k", "retrieval", "--captions=captions.csv", "--batch=1")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*--captions: clip-vit-b32 has random weights, whose quality means nothing*"])
    allowed = ("--allow-random-weights", "--iters=3", "--warmup=0", "--benchmark-json=out.json")
    run("-k", "retrieval", "--captions=captions.csv", "--batch=1", *allowed).assert_outcomes(passed=1)
    assert only_info(saved)["recall_at_5_text_to_image"] == 1.0


CLASSIFIER = """
import torch
from torch import nn

class Brightness(nn.Module):
    '''Class 0 below 25 of 255, class 1 above.'''
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
    def forward(self, pixels):
        level = pixels.mean((1, 2, 3)) * 255 * self.weight
        return torch.stack([25 - level, level - 25], 1)

def net():
    return Brightness()

def darkest(predict, rows):
    scores = predict([path for path, _ in rows])
    return float(scores[:, 0].max())
"""


def test_a_classifier_of_ones_own(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    project.makepyfile(own=CLASSIFIER)
    csv_of(project, "label", "0", "0", "0", "1")  # images of 0, 20, 40, 60: the third is not what the label says
    arguments = ("-k", "classification and net", "--model=own.py:net", "--labels=labels.csv", "--batch=1")
    run(*arguments, "--benchmark-json=out.json").assert_outcomes(passed=1)
    info = only_info(saved)
    assert info["top1_accuracy"] == 0.75
    assert info["precision_macro"] == pytest.approx((1 + 0.5) / 2)
    assert info["recall_macro"] == pytest.approx((2 / 3 + 1) / 2)


def test_a_label_that_is_no_class_is_told(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(own=CLASSIFIER)
    csv_of(project, "label", "0", "0", "cat", "1")
    result = run("-k", "classification and net", "--model=own.py:net", "--labels=labels.csv", "--batch=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the label 'cat' is none of the model's classes (0, 1*"])
    no_traceback(result)


def test_zero_shot_classification(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    clip_with_words(project.path / "tiny-clip")
    csv_of(project, "label", "dark", "dark", "light", "light")
    arguments = ("-k", "classification", "--weights=tiny-clip", "--labels=labels.csv", "--batch=1", "--iters=3")
    run(*arguments, "--benchmark-json=out.json").assert_outcomes(passed=1)
    assert only_info(saved)["top1_accuracy"] in (0.0, 0.25, 0.5, 0.75, 1.0)


def test_a_metric_of_ones_own(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    project.makepyfile(own=CLASSIFIER)
    csv_of(project, "label", "0", "0", "0", "1")
    arguments = (
        "-k",
        "own_metric and net",
        "--model=own.py:net",
        "--metric=own.py:darkest",
        "--labels=labels.csv",
        "--batch=1",
    )
    run(*arguments, "--benchmark-json=out.json").assert_outcomes(passed=1)
    assert only_info(saved)["own_metric"] == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("--metric=own.py", "*--metric: expected FILE.py:NAME, got 'own.py'*"),
        ("--metric=none.py:f", "*--metric: no such file*"),
        ("--labels=none.csv", "*--labels: *cannot be read*"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(run: Run, metric: str, message: str) -> None:
    result = run("-k", "custom", "--model=tiny.py:net", metric)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([message])
    no_traceback(result)


def test_a_metric_that_raises_fails_its_case_in_one_line(run: Run, project: pytest.Pytester) -> None:
    project.makepyfile(own=CLASSIFIER + "\ndef bad(predict, rows):\n    return 1 / 0\n")
    result = run("-k", "own_metric and net", "--model=own.py:net", "--metric=own.py:bad", "--batch=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*net: ZeroDivisionError: division by zero (own.py:*"])


def squares(folder: Path) -> Path:
    """A YOLO data set: one bright square on each dark image."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for index in range(8):
        pixels = rng.integers(0, 40, (64, 64, 3), dtype=np.uint8)
        x, y = rng.integers(2, 30, 2)
        pixels[y : y + 30, x : x + 30] = (250, 240, 60)
        Image.fromarray(pixels).save(folder / "images" / f"{index}.png")
        box = f"0 {(x + 15) / 64:.6f} {(y + 15) / 64:.6f} {30 / 64:.6f} {30 / 64:.6f}\n"
        (folder / "labels" / f"{index}.txt").write_text(box)
    data = {"path": str(folder), "train": "images", "val": "images", "names": {0: "square"}}
    (folder / "data.yaml").write_text(yaml.safe_dump(data))
    return folder / "data.yaml"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set, and a detector trained on it until it finds some of the squares."""
    folder = tmp_path_factory.mktemp("yolo")
    data = squares(folder / "data")
    detector = import_ultralytics().YOLO("yolov8n.yaml", verbose=False)

    def follow_faster(trainer: Any) -> None:  # so few steps are none for running means
        for part in trainer.model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.momentum = 0.1

    detector.add_callback("on_train_start", follow_faster)
    schedule = {"epochs": 60, "optimizer": "AdamW", "lr0": 0.006, "lrf": 0.1, "warmup_epochs": 0, "close_mosaic": 0}
    unchanged = dict.fromkeys(("mosaic", "scale", "translate", "fliplr", "hsv_h", "hsv_s", "hsv_v", "erasing"), 0)
    plain = {"workers": 0, "device": "cpu", "amp": False, "plots": False, "verbose": False, "val": False, "seed": 0}
    where = {"data": str(data), "project": str(folder), "name": "run"}
    detector.train(imgsz=64, batch=8, **schedule, **unchanged, **plain, **where)
    return data, folder / "run" / "weights" / "last.pt"


@pytest.mark.slow
def test_detection_end_to_end(run: Run, saved: Saved, trained: tuple[Path, Path]) -> None:
    data, weights = trained
    arguments = ("-k", "detection", f"--weights=squares={weights}", f"--images={data}", "--quality", "--imgsz=64")
    result = run(*arguments, "--batch=1", "--iters=3", "--benchmark-json=out.json")
    result.assert_outcomes(passed=1)
    info = only_info(saved)
    asked = {"data": str(data), "imgsz": 64, "batch": 8, "device": "cpu", "workers": 0, "plots": False}
    own = import_ultralytics().YOLO(str(weights)).val(**asked, verbose=False)
    square = import_ultralytics().YOLO(str(weights)).val(**asked, verbose=False, rect=False)
    assert (info["map50"], info["map50_95"]) == (float(own.box.map50), float(own.box.map))
    assert 0.01 < info["map50_95"] <= info["map50"] <= 1
    assert info["quality_data"].startswith("yolo:data.yaml:")
    # ultralytics pads images beyond the size that is timed, here to 96 px, unless it is told not to
    assert info["coco_ap"] == pytest.approx(float(square.box.map), abs=0.02)
    assert info["coco_ap"] != pytest.approx(info["map50_95"], abs=0.02)
    assert (info["quality_count"], len(info["quality_jackknife"]["coco_ap"])) == (8, 8)
    result.stdout.fnmatch_lines(["*map50*"])


@pytest.mark.slow
def test_detection_is_of_the_very_variant(run: Run, saved: Saved, trained: tuple[Path, Path]) -> None:
    """What ONNX Runtime runs has its own AP: the same in fp32, and not the eager model's in int8."""
    data, weights = trained
    arguments = ("-k", "detection", f"--weights=squares={weights}", f"--images={data}", "--quality", "--imgsz=64")
    variants = ("--runtime=eager,onnxruntime", "--precision=fp32,int8", "--baseline=none")
    run(*arguments, *variants, "--batch=3", "--iters=3", "--benchmark-json=out.json")
    found = {(info := each["extra_info"])["precision"] + "-" + info["runtime"]: info for each in saved().values()}
    assert set(found) == {"fp32-eager", "fp32-onnxruntime", "int8-onnxruntime"}
    eager, same, lower = (found[each]["coco_ap"] for each in ("fp32-eager", "fp32-onnxruntime", "int8-onnxruntime"))
    assert same == pytest.approx(eager, abs=1e-4)
    assert lower != eager
    assert found["int8-onnxruntime"]["map50_95"] is None
    assert any("ultralytics validates eager" in note for note in found["int8-onnxruntime"]["notes"])


@pytest.mark.slow
def test_detection_needs_a_data_set_with_a_val_split(
    run: Run, project: pytest.Pytester, trained: tuple[Path, Path]
) -> None:
    _, weights = trained
    (project.path / "bad.yaml").write_text("train: images\nnames: {0: square}\n")
    arguments = ("-k", "detection", f"--weights=squares={weights}", "--quality", "--imgsz=64", "--batch=1")
    result = run(*arguments, "--images=bad.yaml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*bad.yaml'*has no 'val' entry*"])
