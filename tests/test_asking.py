"""How a model is asked for its quality: after it was timed, whatever it returns, and by a judge that is the same."""

from __future__ import annotations

import pytest
import torch

from fixtures.models.clip import Clip
from tests.conftest import Run, Saved, info_of
from tests.test_candidate import COMMON, HEAD
from tests.test_quality import clip_with_words, csv_of
from tests.tiny import images_in

TOLD = """
import torch
from torch import nn

class Told(nn.Module):
    '''Writes down how many images each call sees, and returns them in a nest.'''
    def __init__(self, nested):
        super().__init__()
        self.weight, self.nested = nn.Parameter(torch.ones(1)), nested

    def forward(self, pixels):
        with open("calls.txt", "a") as stream:
            stream.write(f"{len(pixels)} ")
        scores = torch.stack([pixels.mean((1, 2, 3)), self.weight - pixels.mean((1, 2, 3))], 1)
        return (scores, {"whole": pixels.mean()}) if self.nested else scores

def plain():
    return Told(False)

def nested():
    return Told(True)

def shapes(predict, rows):
    scores, others = predict([rows[0][0]])
    assert others["whole"].shape == ()
    return float(len(scores))
"""


def test_quality_is_asked_when_everything_was_measured(run: Run, project: pytest.Pytester) -> None:
    """Before, it would compile what is timed, and warm its first call: four images come last, not first."""
    project.makepyfile(own=TOLD)
    csv_of(project, "label", "0", "0", "1", "1")
    arguments = ("-k", "classification and plain", "--model=own.py:plain", "--labels=labels.csv", "--batch=1")
    run(*arguments, "--warmup=1", "--iters=3").assert_outcomes(passed=1)
    calls = (project.path / "calls.txt").read_text().split()
    assert calls.count("4") == 1
    assert calls.index("4") > 4  # the first call, memory, the warm-up and three rounds


def ask_for_shapes(run: Run, saved: Saved, project: pytest.Pytester, runtime: str) -> None:
    """Of one image a row, also where a batch of two was filled up; what is no row of it stays as it is."""
    project.makepyfile(own=TOLD)
    arguments = ("-k", "own_metric and nested", "--model=own.py:nested", "--metric=own.py:shapes", "--batch=2")
    forms = (f"--runtime={runtime}", "--baseline=none", "--iters=3", "--benchmark-json=out.json")
    run(*arguments, *forms).assert_outcomes(passed=1)
    assert info_of(saved)["own_metric"] == 1.0


def test_a_metric_of_ones_own_gets_what_the_model_returns(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    ask_for_shapes(run, saved, project, "eager")


@pytest.mark.slow
def test_so_it_does_of_a_compiled_one(runtimes: None, run: Run, saved: Saved, project: pytest.Pytester) -> None:
    ask_for_shapes(run, saved, project, "compile")


def test_of_several_captions_an_image_the_images_count(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    clip_with_words(project.path / "tiny-clip")
    rows = [f"{name},{text} {name[:1]}" for name in images_in(project.path) for text in ("a dark", "a grey")]
    (project.path / "captions.csv").write_text("\n".join(["image,caption", *rows]) + "\n")
    arguments = ("-k", "retrieval", "--weights=tiny-clip", "--captions=captions.csv", "--batch=1", "--iters=3")
    run(*arguments, "--benchmark-json=out.json").assert_outcomes(passed=1)
    assert info_of(saved)["quality_count"] == 4
    assert len(info_of(saved)["quality_jackknife"]["recall_at_1_image_to_text"]) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("pipelines", "in_one_process")
def test_who_judges_images_is_not_changed_by_who_draws_them(
    run: Run, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline that switches something for the whole process draws with it, and CLIP looks without."""
    clip_with_words(project.path / "tiny-clip")
    drawing = (
        "print('drawn with', torch.backends.cudnn.benchmark)\n    return pipe(prompts, num_inference_steps, generator)"
    )
    switched = HEAD.replace("return Pipe()", "torch.backends.cudnn.benchmark = True\n    return Pipe()")
    inference = f"\ndef inference(pipe, prompts, num_inference_steps, generator):\n    {drawing}\n"
    inference += "    return pipe(prompts, num_inference_steps, generator)\n"
    project.makepyfile(common=COMMON, base=HEAD, switched=switched + inference)
    encode, seen = Clip.encode_image, []

    def looked(self: Clip, pixels: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cudnn.benchmark)
        return encode(self, pixels)

    monkeypatch.setattr(Clip, "encode_image", looked)
    modules = ("--candidate=switched.py", "--baseline-module=base.py", "--steps=2", "--quality")
    asked = ("-k", "clip_score and switched", "--weights=tiny-clip", "--batch=4", "--iters=3", "-s")
    result = run(*modules, *asked)
    result.assert_outcomes(passed=1)
    assert "drawn with True" in result.stdout.str()
    assert "drawn with False" not in result.stdout.str()
    assert seen
    assert not any(seen)
