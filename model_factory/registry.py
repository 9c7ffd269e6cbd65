# SPDX-License-Identifier: Apache-2.0
"""The variants of LlavaViT by name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .vit_preview_v0_hf import LlavaViTModel

# What a variant sets; everything else is the configuration's default. Source: the released checkpoints.
VARIANTS: dict[str, dict[str, Any]] = {
    "hf_llava_vit_small_ln": {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "patch_size": 16,
    },
    "hf_llava_vit_base_ln": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "patch_size": 16,
    },
    "hf_llava_vit_large_ln": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
    "hf_llava_vit_huge_ln": {
        "hidden_size": 1536,
        "intermediate_size": 4608,
        "num_hidden_layers": 27,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
    "hf_llava_vit_giant_ln": {
        "hidden_size": 1536,
        "intermediate_size": 6144,
        "num_hidden_layers": 40,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
}


def list_models() -> list[str]:
    """The registered names, smallest model first."""
    return list(VARIANTS)


def create_model(name: str, **overrides: Any) -> LlavaViTModel:
    """Build a randomly initialised model.

    Args:
        name: A name from `list_models()`.
        **overrides: Configuration values that replace the variant's, for example `use_head=False`, or
            `attn_implementation="eager"`, or `dtype=torch.bfloat16`.

    Returns:
        The model on torch's default device, in training mode, in float32 unless `dtype` or torch's default dtype says
        otherwise.

    Raises:
        ValueError: No such name, or no such configuration value (the message gives the nearest ones), or values that
            do not fit together.

    Source: `VARIANTS`.
    """
    if name not in VARIANTS:
        raise ValueError(_unknown("model", name, VARIANTS))

    from .vit_preview_v0_hf import LlavaViTConfig, LlavaViTModel  # here, so that listing names needs no torch

    accepted = {key for key in LlavaViTConfig().to_dict() if not key.startswith("_")} | {"attn_implementation"}
    for key in overrides:
        if key not in accepted:
            raise ValueError(_unknown("configuration value", key, accepted))
    return LlavaViTModel._from_config(LlavaViTConfig(**{**VARIANTS[name], **overrides}))


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    near = get_close_matches(str(name), list(known), n=3, cutoff=0.4) or sorted(known)
    return f"There is no {what} {name!r}. Did you mean {' or '.join(repr(match) for match in near)}?"
