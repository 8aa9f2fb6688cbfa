"""Stable Diffusion: the published architecture, stages that add up, steps from one place, pipelines from folders."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.cases.family import Build
from fixtures.measure.complexity import count
from fixtures.models.diffusion import FAMILY, Diffusion
from tests.conftest import Run, Saved, no_traceback

pytestmark = pytest.mark.usefixtures("pipelines")
TINY = {
    "unet": {
        "sample_size": 8,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": 32,
    },
    "vae": {"block_out_channels": (32,), "latent_channels": 4, "sample_size": 8},
    "text": {
        "vocab_size": 100,
        "bos_token_id": 98,
        "eos_token_id": 99,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "projection_dim": 32,
    },
}


def tiny(steps: int = 3, seed: int = 42) -> Diffusion:
    from fixtures.cases.family import Spec

    model = FAMILY.load(Spec("tiny", 8, 2, config=TINY), Build(seed, torch.float32, time.perf_counter, steps))
    model.to(torch.device("cpu"))
    assert isinstance(model, Diffusion)
    return model


def request(model: Diffusion, batch: int = 2, imgsz: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return model.requests(imgsz)(batch, torch.Generator().manual_seed(0))


def on_meta(index: int) -> Diffusion:
    with torch.device("meta"):
        model = FAMILY.load(FAMILY.specs[index], Build(42, torch.float32, time.perf_counter, 20))
    assert isinstance(model, Diffusion)
    return model


@pytest.mark.slow
def test_the_architecture_is_that_of_stable_diffusion() -> None:
    """Parameters as published: denoiser, image decoder and encoder, text encoder."""
    module = on_meta(1).module
    params = {name: sum(p.numel() for p in part.parameters()) for name, part in module.items()}
    assert params == {"text_encoder": 123_060_480, "unet": 859_520_964, "vae": 83_653_863}


@pytest.mark.slow
def test_flops_are_those_of_the_parts() -> None:
    """Twenty steps on prompt and empty prompt together, as `FlopCounterMode` counts one; the decoder once an image."""
    model = on_meta(1)
    tokens, noise = torch.zeros(1, 77, dtype=torch.int64, device="meta"), torch.zeros(1, 4, 64, 64, device="meta")
    cost = count(model, model.generate, (tokens, noise), {})
    text = 2 * 77 * 12 * (4 * 768**2 + 2 * 768 * 3072) * 2 + 2 * 12 * 2 * 2 * 77 * 77 * 768
    assert cost.flops == pytest.approx(20 * 1606.54688256e9 + 2514.518933504e9 + text, rel=1e-6)


@torch.inference_mode()
def test_images_are_finite_seeded_and_tell_prompts_apart() -> None:
    model, same, other = tiny(), tiny(), tiny(seed=1)
    inputs = request(model)
    images = model.generate(*inputs)
    assert images.shape == (2, 3, 8, 8)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert torch.equal(images, same.generate(*inputs))
    assert torch.equal(images, model.generate(*inputs))  # nothing of one call is left for the next
    assert not torch.equal(images, other.generate(*inputs))
    tokens, noise = inputs
    assert not torch.equal(images, model.generate(tokens.flip(0), noise))


@torch.inference_mode()
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_steps_come_from_one_place(steps: int) -> None:
    model = tiny(steps)
    model.generate(*request(model, batch=3))
    assert model.denoiser_calls == [6] * steps


@pytest.mark.slow
def test_a_whole_run_by_stage(run: Run, saved: Saved) -> None:
    options = ("-k", "diffusion", "--batch=1,2", "--steps=2", "--imgsz=64", "--iters=3", "--warmup=1")
    result = run(*options, "--benchmark-json=out.json")
    assert result.ret == 0
    no_traceback(result)
    found = saved()
    assert sorted(found) == ["test_generate[sd-small-fp32-b1-64]", "test_generate[sd-small-fp32-b2-64]"]
    for batch, (_, benchmark) in enumerate(sorted(found.items()), 1):
        info = benchmark["extra_info"]
        assert (info["steps"], info["denoiser_calls"], info["denoiser_rows"]) == (2, 2, 2 * batch)
        assert (info["scheduler"], info["throughput_unit"]) == ("DDIMScheduler", "images/s")
        parts = [info[f"stage_{name}_ms"] for name in ("text_encoder", "denoising", "decoder", "other")]
        assert min(parts) > 0  # stages of the very calls that were timed
        assert sum(parts) == pytest.approx(info["latency_mean_ms"], rel=1e-9)
        assert info["latency_per_sample_ms"] == pytest.approx(info["latency_p50_ms"] / batch)
    result.stdout.fnmatch_lines(["stages: generate sd-small fp32 b2 64, DDIMScheduler, 2 calls of 4 rows*"])
    result.stdout.fnmatch_lines(
        ["*ms a batch ms an image*", "denoising, 2 steps*", "whole, mean*100.0 %*", "whole, min*"]
    )


@pytest.mark.slow
@pytest.mark.usefixtures("runtimes")
def test_variants_of_a_pipeline_run_its_denoiser(run: Run, saved: Saved) -> None:
    options = ("-k", "diffusion", "--batch=1", "--steps=2", "--imgsz=64", "--iters=4", "--warmup=1")
    result = run(*options, "--runtime=eager,openvino", "--precision=fp32,int8", "--benchmark-json=out.json")
    assert result.ret == 0
    found = {name: benchmark["extra_info"] for name, benchmark in saved().items()}
    info = found["test_generate[sd-small-fp32-b1-64-openvino]"]
    assert info["agreement_cosine_min"] > 0.99
    assert info["speedup"] is not None
    assert info["compile_s"] > 0
    assert info["denoiser_calls"] == 2
    assert "test_generate[sd-small-int8-b1-64-openvino]" not in found
    result.stdout.fnmatch_lines(["*int8 of openvino needs calibrated ranges*"])


@pytest.mark.slow
def test_a_pipeline_from_a_folder(run: Run, saved: Saved, project: pytest.Pytester) -> None:
    """What `save_pretrained` wrote, with the scheduler that it was saved with."""
    from diffusers import PNDMScheduler

    pipe = tiny().pipe
    pipe.scheduler = PNDMScheduler(skip_prk_steps=True)
    pipe.save_pretrained(project.path / "mine")
    options = ("-k", "diffusion", "--weights=mine", "--batch=1", "--steps=4", "--iters=3", "--benchmark-json=out.json")
    result = run(*options)
    assert result.ret == 0
    info = saved()["test_generate[mine-fp32-b1-8]"]["extra_info"]
    assert info["weights"].startswith("file:mine:")
    assert (info["scheduler"], info["steps"], info["denoiser_calls"]) == ("PNDMScheduler", 4, 5)


def test_a_damaged_pipeline_is_one_line(run: Run, project: pytest.Pytester) -> None:
    pipe = tiny().pipe
    pipe.save_pretrained(project.path / "mine")
    next((project.path / "mine" / "unet").glob("*.safetensors")).write_bytes(b"no tensors")
    result = run("-k", "diffusion", "--weights=mine", "--batch=1", "--iters=3")
    result.assert_outcomes(errors=1)
    no_traceback(result)
    result.stdout.fnmatch_lines(["*--weights: *mine' cannot be loaded: *"])


def test_full_size_is_asked_for(run: Run) -> None:
    assert "sd-1.5-fp32-b1-512" in run("--collect-only", "-q", "-k", "diffusion", "--full-size").stdout.str()
    small = run("--collect-only", "-q", "-k", "diffusion").stdout.str()
    assert "sd-small-fp32-b4-128" in small
    assert "sd-1.5" not in small


def test_prompts_are_tokens_where_there_is_a_tokenizer(tmp_path: Path) -> None:
    """The fixed list, in an order drawn from the seed; the same prompts whatever the model."""
    model = tiny()
    asked: list[list[str]] = []

    class Tokenizer:
        model_max_length = 77

        def __call__(self, texts: list[str], **_: Any) -> Any:
            asked.append(texts)
            return type("Encoding", (), {"input_ids": torch.ones(len(texts), 77, dtype=torch.int64)})

    model.pipe.tokenizer = Tokenizer()
    for _ in range(2):
        model.requests(8)(3, torch.Generator().manual_seed(5))
    assert asked[0] == asked[1]
    assert len(set(asked[0])) == 3


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers', of numpy 2
@torch.inference_mode()
def test_the_generator_is_reseeded_alike_for_each_batch() -> None:
    """A scheduler that draws noise at each step starts from the same seed every time."""
    from diffusers import EulerAncestralDiscreteScheduler

    model = tiny()
    model.pipe.scheduler = EulerAncestralDiscreteScheduler()
    inputs = request(model)
    assert torch.equal(model.generate(*inputs), model.generate(*inputs))


@torch.inference_mode()
def test_a_copy_that_shares_the_pipeline_runs_its_own_denoiser() -> None:
    """Else a runtime's denoiser would also run on the eager side of a comparison."""
    model = tiny()
    eager, called = copy.copy(model), []
    own = model.denoise
    model.denoise = lambda *args: called.append(1) or own(*args)  # type: ignore[method-assign, func-returns-value]
    inputs = request(model)
    model.generate(*inputs)
    assert len(called) == 3
    eager.generate(*inputs)
    assert len(called) == 3
