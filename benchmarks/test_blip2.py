"""BLIP-2: what seeing, reading the prompt and writing 20 tokens cost.

Every run writes exactly 20 tokens, so that every run does the same work. Add a shape: --batch / --imgsz.
"""

from __future__ import annotations

import pytest

from fixtures.models.blip2 import NEW_TOKENS

pytestmark = pytest.mark.family("blip2")


def test_image_part(model, image_batches, measure) -> None:
    """ViT, Q-Former and projection: (batch, 3, imgsz, imgsz) -> (batch, 32, 2560)."""
    tokens = measure(model.image_part, image_batches)
    assert tokens.shape[:2] == (image_batches.batch, model.module.config.num_query_tokens)


def test_prefill(model, generated, measure, batch) -> None:
    """The language model reads 32 image tokens and the start token: -> scores of the first new one."""
    prompt_tokens = model.module.config.num_query_tokens + 1
    scores = measure(model.prefill, generated(model.image_tokens), unit="tokens", units_per_sample=prompt_tokens)
    assert scores.shape == (batch, model.module.config.text_config.vocab_size)


def test_generate(model, image_batches, measure) -> None:
    """End to end, from the image to 20 tokens by greedy search, with the time to the first one."""
    tokens = measure(
        model.generate,
        image_batches,
        unit="tokens",
        units_per_sample=NEW_TOKENS,
        first_token_ms=model.first_token_ms,
    )
    assert len(tokens) == image_batches.batch
    prompt_tokens = model.module.config.num_query_tokens + 1
    assert tokens.shape[1] in (NEW_TOKENS, prompt_tokens + NEW_TOKENS)  # transformers may return the prompt too
