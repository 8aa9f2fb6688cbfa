"""Models as small as they can be, and images for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TINY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, pixels):
        return self.convolution(pixels).mean((2, 3))

class Five(nn.Module):
    '''Two images, tokens, a mask and a scale.'''
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 8)
        self.linear = nn.Linear(8, 16)

    def forward(self, image, depth, tokens, mask, scale):
        assert tokens.dtype == torch.int64 and mask.dtype == torch.bool
        words = self.linear(self.embedding(tokens)).mean(1) * scale
        return words + image.mean((1, 2, 3))[:, None] + depth.mean((1, 2, 3))[:, None] + mask.float().mean()

def net():
    return Net()

def five():
    def make_inputs(batch, imgsz, generator):
        return (
            torch.rand(batch, 3, imgsz, imgsz, generator=generator),
            torch.rand(batch, 1, imgsz, imgsz, generator=generator),
            torch.randint(0, 100, (batch, 12), generator=generator),
            torch.ones(batch, 12, dtype=torch.bool),
            torch.rand(batch, 1, generator=generator),
        )
    return Five(), make_inputs
"""


def small_clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    text = {"vocab_size": 100, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(
        text_config={**text, "num_attention_heads": 2, "eos_token_id": 99},
        vision_config={**vision, "num_attention_heads": 2},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)


def small_blip2() -> Any:
    """Images of 28 px, 4 query tokens, a vocabulary of 50."""
    import torch
    from transformers import Blip2Config, Blip2ForConditionalGeneration

    from fixtures.cases.family import Build
    from fixtures.models.huggingface import build_random

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    queries = {**vision, "encoder_hidden_size": 16}
    text = {"model_type": "opt", "vocab_size": 50, "hidden_size": 16, "ffn_dim": 16, "num_hidden_layers": 1}
    config = Blip2Config(
        vision_config={**vision, "image_size": 28, "patch_size": 14},
        qformer_config=queries,
        text_config={**text, "num_attention_heads": 2, "word_embed_proj_dim": 16, "max_position_embeddings": 64},
        num_query_tokens=4,
        image_token_index=49,
    )
    return build_random(Blip2ForConditionalGeneration, config, Build(42, torch.float32, lambda: 0.0))


def images_in(folder: Path, count: int = 4) -> list[str]:
    """Grey images 0.png, 1.png … of 16 px, each 20 lighter than the one before."""
    names = [f"{index}.png" for index in range(count)]
    for index, name in enumerate(names):
        Image.fromarray(np.full((16, 16, 3), 20 * index, np.uint8)).save(folder / name)
    return names


def small_sam(folder: Path) -> None:
    """Images of 64 px."""
    import torch
    from transformers import SamConfig, SamModel

    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "global_attn_indexes": [0]}
    sizes = {"image_size": 64, "patch_size": 16}
    decoder = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 16}
    torch.manual_seed(0)
    config = SamConfig(
        vision_config={**vision, **sizes, "output_channels": 32, "mlp_dim": 16, "num_pos_feats": 16},
        prompt_encoder_config={**sizes, "hidden_size": 32, "image_embedding_size": 4},
        mask_decoder_config={**decoder, "iou_head_hidden_dim": 16},
    )
    SamModel(config).save_pretrained(folder)
