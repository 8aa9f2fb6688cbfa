"""A pipeline of one's own against another: equal work has a ratio, anything else has a name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from fixtures.cases.own import OwnModelError
from fixtures.cases.pipeline_modules import parse_modules
from fixtures.models.modules import PipelineOfYours, Seen, passes_of
from tests.conftest import Run, Saved, no_traceback

COMMON = """
import torch
from torch import nn

class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(48, 48)

    def forward(self, latents, timestep, text):
        return torch.tanh(self.mix(latents.flatten(1)).view_as(latents) + text[:, None, None, None] + timestep / 1000)

class Pipe:
    "Takes prompts, runs prompts and empty prompts as one batch, as diffusers does."

    def __init__(self, seed=0, guided=True):
        torch.manual_seed(seed)
        self.unet, self.guided = Denoiser(), guided

    def __call__(self, prompts, num_inference_steps=50, generator=None):
        latents = torch.randn(len(prompts), 3, 4, 4, generator=generator)
        text = torch.tensor([float(len(prompt)) / 50 for prompt in prompts])
        for timestep in torch.linspace(1000, 0, num_inference_steps + 1)[:-1]:
            if self.guided:
                both = self.unet(torch.cat([latents, latents]), timestep, torch.cat([0 * text, text]))
                empty, full = both.chunk(2)
                latents = latents - 0.1 * (empty + 7.5 * (full - empty))
            else:
                latents = latents - 0.1 * self.unet(latents, timestep, text)
        return torch.sigmoid(latents)
"""

HEAD = "import torch\nfrom common import Pipe\n\ndef load():\n    return Pipe()\n"
INFERENCE = HEAD + "\ndef inference(pipe, prompts, num_inference_steps, generator):\n    "
CANDIDATES = {
    "honest": HEAD,
    "direct": INFERENCE + "return pipe(prompts, num_inference_steps, generator)",
    "half": HEAD.replace("return Pipe()", "pipe = Pipe(); pipe.unet.to(torch.float64).to(torch.float32); return pipe"),
    "serial": INFERENCE + "return torch.cat([pipe([p], num_inference_steps, generator) for p in prompts])",
    "twenty": INFERENCE + "return pipe(prompts, 20, generator)",
    "own_seed": INFERENCE + "return pipe(prompts, num_inference_steps, torch.Generator().manual_seed(0))",
    "reseeds": INFERENCE + "return pipe(prompts, num_inference_steps, generator.manual_seed(0))",
    "draws": INFERENCE + "torch.rand(1, generator=generator)\n    "
    "return pipe(prompts, num_inference_steps, torch.Generator().manual_seed(0))",
    "shifted": INFERENCE + "torch.rand(1, generator=generator)\n    "
    "return pipe(prompts, num_inference_steps, generator)",
    "unguided": HEAD.replace("Pipe()", "Pipe(guided=False)"),
    "retrained": HEAD.replace("Pipe()", "Pipe(seed=1)"),
    "chunks": INFERENCE + "half = len(prompts) // 2\n    "
    "return torch.cat([pipe(p, num_inference_steps, generator) for p in (prompts[:half], prompts[half:])])",
    "smaller": INFERENCE + "return pipe(prompts, num_inference_steps, generator)[..., ::2, ::2]",
    "later": INFERENCE + "pipe.done = getattr(pipe, 'done', False) or generator.initial_seed() == 43\n    "
    "return pipe(prompts, 1 if pipe.done and generator.initial_seed() == 42 else num_inference_steps, generator)",
    "busy": INFERENCE + "torch.set_num_threads(3)\n    return pipe(prompts, num_inference_steps, generator)",
    "compiled": HEAD.replace(
        "return Pipe()", "pipe = Pipe(); pipe.unet = torch.compile(pipe.unet, backend='eager'); return pipe"
    ),
    "fewer": INFERENCE + "return pipe(prompts, num_inference_steps, generator)[:-1]",
    "threads": HEAD.replace("return", "torch.set_num_threads(torch.get_num_threads() + 1)\n    return"),
    "hidden": "class Pipe:\n    def __call__(self, prompts, num_inference_steps, generator):\n        import torch\n"
    "        return torch.rand(len(prompts), 3, 4, 4, generator=generator)\n\ndef load():\n    return Pipe()\n",
}


pytestmark = pytest.mark.usefixtures("in_one_process")


@pytest.fixture
def compare(run: Run, saved: Saved, project: pytest.Pytester) -> Any:
    """Runs one candidate against the honest one: the run, and the candidate's record."""
    project.makepyfile(common=COMMON, base=HEAD)

    def compared(name: str, *options: str) -> tuple[pytest.RunResult, dict[str, Any]]:
        project.makepyfile(**{name: CANDIDATES[name]})
        modules = (f"--candidate={name}.py", "--baseline-module=base.py")
        rounds = ("--steps=10", "--warmup=1", "--iters=4", "--max-seconds=5", "--benchmark-json=out.json")
        result = run("-k", "candidate", *modules, *rounds, *options)
        assert result.ret == 0
        no_traceback(result)
        return result, saved()[f"test_generate[{name}-own-b4]"]["extra_info"]

    return compared


@pytest.mark.parametrize("name", ["honest", "direct", "half", "compiled"])
def test_equal_work_has_a_ratio_with_its_interval(compare: Any, name: str) -> None:
    result, info = compare(name)
    assert info["speedup_unequal"] == []
    assert info["speedup_low"] < info["speedup"] < info["speedup_high"]
    assert (info["steps"], info["baseline_steps"], info["denoiser_calls"], info["denoiser_rows"]) == (10, 10, 10, 8)
    assert (info["agreement_count"], info["agreement_cosine_min"]) == (16, pytest.approx(1))
    result.stdout.fnmatch_lines(["*speed-up over base*", f"{name} *"])


def seldom(*case: str) -> Any:
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("serial", "runs serially: 40 model calls of 2 rows for a batch of 4 prompts"),
        ("twenty", "ignores num_inference_steps: asked for 10, did 20"),
        seldom("own_seed", "does not draw from the generator it is given: its seed is its own"),
        seldom("reseeds", "reseeds the generator: given seed 42, left with 0"),
        seldom("draws", "its images do not depend on the generator's seed"),
        ("shifted", "starts from other noise than the baseline"),
        seldom("chunks", "runs serially: 20 model calls of 4 rows for a batch of 4 prompts"),
        seldom("smaller", "images (4, 3, 4, 4) -> (4, 3, 2, 2)"),
        seldom("later", "10 model calls when it was looked at, 1 later"),
        seldom("busy", "a call changes the threads"),
        seldom("unguided", "rows of model calls a step 8 -> 4"),
        seldom("retrained", "other weights: unet.mix.weight"),
        seldom("fewer", "returns 3 images for 4 prompts"),
        seldom("threads", "threads"),
        ("hidden", "its model calls cannot be counted"),
    ],
)
def test_unequal_work_is_named_and_has_no_ratio(compare: Any, name: str, said: str) -> None:
    result, info = compare(name)
    assert (info["speedup"], info["speedup_low"], info["speedup_high"], info["size_ratio"]) == (None,) * 4
    assert info["speedup_samples_ms"] == []
    assert any(said in reason for reason in info["speedup_unequal"])
    (row,) = [line for line in result.outlines if line.startswith(f"{name} ") and "unequal" in line]
    assert "…" not in row
    result.stdout.fnmatch_lines([f"*{name}: not the same work: *{said}*"])


def test_fewer_steps_as_asked_are_shown_as_what_they_are(compare: Any) -> None:
    result, info = compare("honest", "--candidate-steps=5")
    assert info["speedup_unequal"] == []
    assert (info["steps"], info["baseline_steps"], info["denoiser_calls"]) == (5, 10, 5)
    assert info["speedup_low"] < info["speedup"] < info["speedup_high"]
    result.stdout.fnmatch_lines(
        ["honest * at 5 of 10 steps*", "honest: 5 steps against 10, as asked: not the same work"]
    )


def test_images_are_compared_with_the_references(compare: Any, project: pytest.Pytester) -> None:
    project.makepyfile(reference=HEAD.replace("Pipe()", "Pipe(guided=False)"))
    _, info = compare("honest", "--reference-module=reference.py")
    assert info["speedup"] is not None
    assert info["agreement_cosine_min"] < 0.999


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("load = 1", "must define load() -> pipe"),
        ("def load():\n    raise ValueError('no weights')", "load() raised ValueError at broken.py:2: no weights"),
        ("import nothing_there\ndef load(): ...", "raised ModuleNotFoundError while it was imported"),
    ],
)
def test_a_module_that_cannot_be_used_fails_in_one_line(
    run: Run, project: pytest.Pytester, content: str, said: str
) -> None:
    project.makepyfile(common=COMMON, base=HEAD, broken=content)
    result = run("-k", "candidate and broken", "--candidate=broken.py", "--baseline-module=base.py", "--iters=3")
    result.assert_outcomes(errors=1)
    no_traceback(result)
    result.stdout.fnmatch_lines([f"*--candidate: *{said}*"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"candidate": ["a.py"]}, "--baseline-module: needed too"),
        ({"baseline_module": "a.py"}, "--candidate: needed too"),
        ({"candidate": ["a.py"], "baseline_module": "b.py"}, "--baseline-module: no Python file"),
        ({"candidate": ["a.txt"], "baseline_module": "a.py"}, "--candidate: no Python file"),
    ],
)
def test_half_a_comparison_is_told(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    (tmp_path / "a.py").write_text("load = print")
    with pytest.raises(OwnModelError, match=said):
        parse_modules(given.get, 10, None, tmp_path)


def test_steps_of_a_candidate_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OwnModelError, match="--candidate-steps: belongs to --candidate"):
        parse_modules({}.get, 10, 5, tmp_path)


def test_two_modules_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "pipe.py").write_text("load = print")
    given: dict[str, Any] = {"candidate": ["new/pipe.py"], "baseline_module": "old/pipe.py"}
    assert [module.name for module in parse_modules(given.get, 10, None, tmp_path)] == [
        "baseline-pipe",
        "candidate-pipe",
    ]


class Multi:
    """A scheduler that takes two calls a step but for the last, and equal timesteps for them, as Heun's does."""

    num_inference_steps = 4
    timesteps = (9.0, 6.0, 6.0, 3.0, 3.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("asked", "timesteps", "done"),
    [
        (4, Multi.timesteps, 4),
        (2, Multi.timesteps, 4),  # the scheduler was told another number
        (4, Multi.timesteps[:4], 3),  # the loop ended early
        (4, (), None),  # nobody can tell
    ],
)
def test_steps_are_the_schedulers_and_not_the_calls(asked: int, timesteps: tuple[float, ...], done: int | None) -> None:
    pipe = SimpleNamespace(unet=nn.Identity(), scheduler=Multi())
    model = PipelineOfYours(pipe, None, "r", asked, Path())
    assert model._steps_done(Seen(rows=[2] * 7, timesteps=list(timesteps))) == done


@pytest.mark.parametrize(
    ("timesteps", "passes"), [([9, 6, 6, 3], 1), ([9, 9, 6, 6], 1), ([9, 6, 3, 9, 6, 3], 2), ([9, 9, 9], 1), ([], 0)]
)
def test_a_loop_over_prompts_begins_again(timesteps: list[float], passes: int) -> None:
    assert passes_of(timesteps) == passes


def test_what_else_a_pipe_calls_is_not_taken_for_its_denoiser() -> None:
    """Parts of unknown names are all watched; the one called most often is the denoiser, the others have no steps."""

    class Words(nn.Module):
        def forward(self, tokens: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
            return tokens * scale

    class Dit(nn.Module):
        def forward(self, latents: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
            return latents * 0.9 + timestep

    class Pipe:
        def __init__(self) -> None:
            self.words, self.dit = Words(), Dit()

        def __call__(self, prompts: list[str], num_inference_steps: int, generator: torch.Generator) -> torch.Tensor:
            self.words(torch.ones(1, 2), torch.tensor(77.0))
            latents = torch.randn(len(prompts), 3, 2, 2, generator=generator)
            for step in range(num_inference_steps):
                latents = self.dit(latents, torch.tensor(float(step)))
            return latents

    model = PipelineOfYours(Pipe(), None, "r", 5, Path())
    model.to(torch.device("cpu"))
    model.observe(model.generate, (["a", "b"], 42))
    assert model.faults() == []
    assert model.seen is not None
    assert model.seen.timesteps == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert model.seen.noise is not None
    assert model.seen.noise.shape == (2, 3, 2, 2)
