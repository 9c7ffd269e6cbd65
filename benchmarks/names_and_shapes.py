"""The check that people write by hand, re-created plainly as a baseline: names, shapes, and a forward pass of each side.

Two models with random weights of their own, base variant, one 448 x 448 batch of two; nothing is compared by value.
Run by `main_job.py`; useful alone only to see what such a script prints.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from llavavit.configuration_llava_vit import LlavaViTConfig as HubConfig
from llavavit.modeling_llava_vit import LlavaViTModel as HubModel
from model_factory.vit_preview_v0_hf import LlavaViTConfig as TrainingConfig
from model_factory.vit_preview_v0_hf import LlavaViTModel as TrainingModel

BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "patch_size": 16,
    "num_channels": 3,
    "image_size": 448,
}


def main() -> int:
    """0 where names, shapes and output shapes agree, else 1."""
    training = TrainingModel(TrainingConfig(**BASE)).eval()
    hub = HubModel(HubConfig(**BASE)).eval()
    left = {name: tuple(p.shape) for name, p in training.state_dict().items()}
    right = {name: tuple(p.shape) for name, p in hub.state_dict().items()}
    same = left == right
    print(f"{len(left)} and {len(right)} entries; names and shapes {'agree' if same else 'differ'}")
    images = torch.randn(2, 3, 448, 448)
    with torch.no_grad():
        a, b = training(pixel_values=images), hub(pixel_values=images)
    for name in ("last_hidden_state", "pooler_output"):
        print(f"{name}: {tuple(a[name].shape)} and {tuple(b[name].shape)}")
        same = same and a[name].shape == b[name].shape
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
