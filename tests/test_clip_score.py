"""How well images show what was asked for: closed forms, what is refused, and whole runs on random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fixtures.inputs.prompts import PROMPTS
from fixtures.progress import Progress
from fixtures.quality.evaluate import CannotAnswerError
from fixtures.quality.pictures import clip_score
from tests.conftest import Run, Saved
from tests.test_candidate import COMMON, HEAD
from tests.test_quality import clip_with_words

ASKED = ["red", "green", "blue", "black"]
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "black": (-1, -1, -1)}


class Eye:
    """A CLIP whose space is colour: an image is its mean, a text the colour that it names."""

    model: Any
    progress = Progress(None)

    def __init__(self) -> None:
        self.model = self

    def pixels(self, images: list[np.ndarray]) -> torch.Tensor:
        assert all(image.dtype == np.uint8 and image.shape == (4, 6, 3) for image in images)
        return torch.stack([torch.from_numpy(image).permute(2, 0, 1) for image in images]).float() / 255

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3))

    def of_texts(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([COLOURS[text] for text in texts]).float()


def painted(*colours: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(colours)[:, :, None, None].expand(-1, -1, 4, 6)


def test_the_score_is_a_hundred_times_the_cosine_and_never_below_0() -> None:
    """Red as asked, yellow for green, red for blue, grey for the opposite of grey: 100, 71, 0, 0."""
    drawn = {"red": (1.0, 0, 0), "green": (0.5, 0.5, 0), "blue": (1.0, 0, 0), "black": (0.5, 0.5, 0.5)}
    calls = []

    def draw(prompts: list[str], seed: int) -> torch.Tensor:
        calls.append((prompts, seed))
        return painted(*(drawn[prompt] for prompt in prompts))

    found = clip_score(Eye(), draw, ASKED, batch=3, seed=42)  # type: ignore[arg-type]
    assert calls == [(ASKED[:3], 42), (ASKED[3:], 43)]
    scores = np.array([100, 100 / np.sqrt(2), 0, 0])
    assert found.clip_score == pytest.approx(scores.mean(), rel=1e-5)
    left_out = [np.delete(scores, index).mean() for index in range(4)]
    assert found.quality_jackknife["clip_score"] == pytest.approx(left_out, rel=1e-5)


@pytest.mark.parametrize("drawn", [torch.zeros(2, 3, 4), torch.zeros(1, 3, 4, 6), torch.zeros(2, 4, 4, 6), ["image"]])
def test_what_is_no_image_a_prompt_is_told(drawn: Any) -> None:
    with pytest.raises(CannotAnswerError, match=r"images of \(prompts, 3, height, width\), 2 of them, got "):
        clip_score(Eye(), lambda prompts, seed: drawn, ASKED[:2], batch=2, seed=0)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.usefixtures("pipelines")
def test_a_pipeline_with_random_weights_only_as_a_trial(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    clip_with_words(project.path / "tiny-clip")
    asked = ("-k", "clip_score", "--quality", "--weights=tiny-clip", "--steps=1", "--imgsz=32", "--batch=4")
    refused = run(*asked)
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*--quality: sd-small has random weights, whose quality means nothing*"])
    run(*asked, "--allow-random-weights", "--iters=3", "--benchmark-json=out.json").assert_outcomes(passed=1)
    (found,) = saved().values()
    info = found["extra_info"]
    assert 0 <= info["clip_score"] <= 100
    assert info["quality_count"] == len(PROMPTS)
    assert info["quality_data"].startswith("prompts:16 batch 4 by tiny-clip file:")


@pytest.mark.slow
@pytest.mark.usefixtures("pipelines")
def test_it_stands_beside_the_speed_up_of_ones_own_pipelines(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    """Fewer steps as asked: no equal work, and what that costs is seen."""
    clip_with_words(project.path / "tiny-clip")
    project.makepyfile(common=COMMON, base=HEAD, fewer=HEAD)
    modules = ("--candidate=fewer.py", "--baseline-module=base.py", "--steps=6", "--candidate-steps=2")
    asked = ("-k", "clip_score or candidate", "--quality", "--weights=tiny-clip", "--batch=4", "--iters=3")
    result = run(*modules, *asked, "--benchmark-json=out.json")
    result.assert_outcomes(passed=4, skipped=1)  # the built-in pipeline has random weights
    scores = {
        name.partition("[")[2].partition("-")[0]: each["extra_info"]["clip_score"]
        for name, each in saved().items()
        if "clip_score" in name
    }
    assert set(scores) == {"base", "fewer"}
    assert scores["base"] != scores["fewer"]
    result.stdout.fnmatch_lines(["*quality drop*", "*quality drop: clip_score on 16 items*"])
    assert "cannot run beside it" not in result.stdout.str()  # the processes that alternate are asked for it too
