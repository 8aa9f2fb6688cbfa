"""Built-in models with random weights: what comes out is finite, seeded, and depends on what goes in."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from fixtures.cases.family import Build, families, family
from fixtures.inputs import synthetic
from fixtures.models.huggingface import fill_with_random_weights
from tests.tiny import small_blip2


def load(name: str, index: int = 0, seed: int = 42, dtype: torch.dtype = torch.float32) -> Any:
    chosen = family(name)
    model = chosen.load(chosen.specs[index], Build(seed, dtype, time.perf_counter))
    model.settle()
    return model


@pytest.mark.slow
@torch.inference_mode()
@pytest.mark.parametrize(("name", "index", "workload", "imgsz"), [
    ("clip", 0, "encode_image", 224), ("yolo", 0, "forward", 64), ("yolo", 1, "forward", 64)
])  # fmt: skip
def test_output_is_finite_seeded_and_tells_images_apart(name: str, index: int, workload: str, imgsz: int) -> None:
    """Activations that vanish on the way in would time a model that computes nothing, on denormals at worst."""
    model, again = load(name, index), load(name, index)
    pixels = model.preprocess([synthetic.render(0, 42), synthetic.render(1, 42)], imgsz)
    first, second = getattr(model, workload)(pixels)
    assert torch.isfinite(first).all()
    assert torch.equal(getattr(again, workload)(pixels)[0], first)
    assert (first - second).abs().max() > 1e-2 * first.abs().max()


@torch.inference_mode()
def test_captions_are_full_length_and_closed() -> None:
    model = load("clip")
    tokens = model.captions(4, torch.Generator().manual_seed(0))
    assert tokens.shape == (4, 77)
    assert (tokens[:, -1] == 49_407).all()
    assert (tokens[:, :-1] < 49_406).all()
    first, second = model.encode_text(tokens)[:2]
    assert (first - second).abs().max() > 1e-2 * first.abs().max()


@torch.inference_mode()
def test_masks_depend_on_the_point() -> None:
    model = load("sam")
    generator = torch.Generator().manual_seed(0)
    embeddings = model.embeddings(1, generator).expand(2, -1, -1, -1)
    masks = model.decode_masks(embeddings, model.points(2, generator))
    assert masks.shape == (2, 1, 3, 256, 256)
    assert torch.isfinite(masks).all()
    assert not torch.equal(masks[0], masks[1])


@torch.inference_mode()
def test_a_caption_has_exactly_twenty_tokens_and_a_first_one() -> None:
    """On a small BLIP-2: the length must not depend on whether the model says that it has finished."""
    from fixtures.models.blip2 import NEW_TOKENS, Blip2

    ticks = iter(range(100))
    module = small_blip2()
    model = Blip2(module, "random:42", lambda: float(next(ticks)))
    new = model.generate(torch.rand(2, 3, 28, 28))
    assert len(new) == 2
    assert new.shape[1] in (NEW_TOKENS, NEW_TOKENS + 5)  # with the prompt of 4 + 1, or without
    assert model.first_token_ms == [1000.0]
    assert model.image_part(torch.rand(2, 3, 56, 56)).shape == (2, 4, 16)  # positions interpolated
    assert model.prefill(model.image_tokens(2, torch.Generator().manual_seed(0))).shape == (2, 50)


def test_every_family_names_its_models_once() -> None:
    names = [spec.name for chosen in families() for spec in chosen.specs]
    assert len(set(names)) == len(names)
    assert {chosen.name for chosen in families()} == {"blip2", "clip", "custom", "diffusion", "modules", "sam", "yolo"}


def test_preprocessing_is_the_models_own() -> None:
    """A grey image has a known answer: CLIP's mean and deviation, YOLO's [0, 1]."""
    import numpy as np

    grey = np.full((300, 300, 3), 102, dtype=np.uint8)
    clip = load("clip").preprocess([grey], 224)
    assert clip[0, :, 5, 5].tolist() == pytest.approx(
        [(0.4 - 0.48145466) / 0.26862954, (0.4 - 0.4578275) / 0.26130258, (0.4 - 0.40821073) / 0.27577711], abs=1e-4
    )
    yolo = load("yolo").preprocess([grey], 64)
    assert yolo[0, :, 32, 32].tolist() == pytest.approx([0.4] * 3)


def test_no_two_layers_of_random_weights_are_equal() -> None:
    """Runtimes keep equal layers once, and then read them from the cache."""
    layers = torch.nn.ModuleList([torch.nn.Linear(64, 64) for _ in range(3)])
    fill_with_random_weights(layers, 42)
    weights = [layer.weight for layer in layers]
    assert not any(torch.equal(weights[i], weights[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    again = torch.nn.ModuleList([torch.nn.Linear(64, 64) for _ in range(3)])
    fill_with_random_weights(again, 42)
    assert torch.equal(again[2].weight, weights[2])
