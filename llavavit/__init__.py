# SPDX-License-Identifier: Apache-2.0
"""LlavaViT: a vision transformer for images and videos, as published on the Hub."""

from .configuration_llava_vit import LlavaViTConfig
from .modeling_llava_vit import LlavaViTModel, LlavaViTPreTrainedModel

__all__ = ["LlavaViTConfig", "LlavaViTModel", "LlavaViTPreTrainedModel"]
