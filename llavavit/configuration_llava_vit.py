# SPDX-License-Identifier: Apache-2.0
"""Configuration of LlavaViT."""

import os
from typing import Any

from transformers import PretrainedConfig

_AUTO_MAP = {
    "AutoConfig": "configuration_llava_vit.LlavaViTConfig",
    "AutoModel": "modeling_llava_vit.LlavaViTModel",
}


class LlavaViTConfig(PretrainedConfig):
    """Everything that fixes the shape and the arithmetic of a LlavaViT model.

    The defaults describe the base variant with 16-pixel patches.

    Args:
        hidden_size: Width of a token. Must be a multiple of `num_attention_heads`.
        intermediate_size: Width of the hidden layer of each MLP.
        num_hidden_layers: Number of encoder layers.
        num_attention_heads: Number of attention heads. `hidden_size / num_attention_heads` must be a multiple of
            32, because half of it is what the rotary positions split 4:6:6 over time, height and width.
        num_channels: Channels of the input images.
        image_size: Side in pixels of the images that the model was trained on. Informative: any multiple of
            `patch_size` runs.
        patch_size: Side in pixels of a square patch.
        hidden_act: Activation of the MLPs, a name in `transformers.activations.ACT2FN`; "gelu" is the exact (erf) one.
        layer_norm_eps: Epsilon of every norm, in units of variance.
        layer_norm_type: "layer_norm" or "rms_norm". The norm inside the pooling head is always an RMSNorm.
        attention_dropout: Probability of dropping an attention weight, in training only.
        initializer_range: Standard deviation of the initial linear and convolution weights.
        rope_theta: Base of the rotary frequencies.
        use_head: Whether the final norm and the attention-pooling head exist.
        **kwargs: Passed on to `PretrainedConfig`, for example `attn_implementation` or `output_hidden_states`.

    Raises:
        Nothing of its own: `LlavaViTModel` checks that the values fit together, after the last override.

    Source: the shapes of the released LlavaViT checkpoints.
    """

    model_type = "llava_vit"

    def __init__(
        self,
        hidden_size: int = 768,
        intermediate_size: int = 3072,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        num_channels: int = 3,
        image_size: int = 448,
        patch_size: int = 16,
        hidden_act: str = "gelu",
        layer_norm_eps: float = 1e-6,
        layer_norm_type: str = "layer_norm",
        attention_dropout: float = 0.0,
        initializer_range: float = 0.02,
        rope_theta: float = 10000.0,
        use_head: bool = True,
        **kwargs: Any,
    ) -> None:
        auto_map = kwargs.pop("auto_map", None) or {}
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_channels = num_channels
        self.image_size = image_size
        self.patch_size = patch_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.layer_norm_type = layer_norm_type
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.rope_theta = rope_theta
        self.use_head = use_head
        # The Auto classes read this attribute to find the code. What a checkpoint says wins over the default.
        self.auto_map = {**_AUTO_MAP, **auto_map}

    def __eq__(self, other: object) -> bool:
        """Whether both are configurations with equal attributes.

        Written out because transformers 5 turns subclasses into dataclasses, whose generated comparison would look
        only at the fields of the base class and call any two LlavaViT configurations equal.
        """
        return isinstance(other, PretrainedConfig) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]  # mutable, as in the base class

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Write `config.json`, always with an `auto_map` that names the two .py files of this package.

        A folder with that file, the weights, `configuration_llava_vit.py` and `modeling_llava_vit.py` then loads
        through `AutoModel.from_pretrained(folder, trust_remote_code=True)`. References of the form
        "repository--module.Class" lose their repository, which the saved folder must not depend on; entries of other
        Auto classes stay as they are.

        Args:
            save_directory: Folder to write to; created if absent.
            *args: Passed on to `PretrainedConfig.save_pretrained`.
            **kwargs: Passed on to `PretrainedConfig.save_pretrained`.

        Raises:
            AssertionError: `save_directory` is a file.

        Source: `PretrainedConfig.save_pretrained`.
        """
        saved = {**_AUTO_MAP, **(getattr(self, "auto_map", None) or {})}
        for auto_class in _AUTO_MAP:
            saved[auto_class] = saved[auto_class].split("--")[-1]
        self.auto_map = saved
        return super().save_pretrained(save_directory, *args, **kwargs)


def check_sizes(config: LlavaViTConfig) -> None:
    """Raise ValueError, with the fix, where the values of `config` do not fit together.

    Source: the rotary split of the released checkpoints.
    """
    if config.layer_norm_type not in ("layer_norm", "rms_norm"):
        raise ValueError(
            f"layer_norm_type is {config.layer_norm_type!r}; expected 'layer_norm' or 'rms_norm'. Choose one of them."
        )
    if config.hidden_size % config.num_attention_heads:
        raise ValueError(
            f"hidden_size is {config.hidden_size} and num_attention_heads is {config.num_attention_heads}; expected a "
            "hidden_size that divides by num_attention_heads. Change one of them."
        )
    head_size = config.hidden_size // config.num_attention_heads
    if head_size == 0 or head_size % 32:
        raise ValueError(
            f"hidden_size / num_attention_heads / 2 is {head_size / 2:g}; expected "
            "a multiple of 16, which the 3-D rotary positions split 4:6:6 over time, height and width. Choose a head "
            "size that is a multiple of 32."
        )


__all__ = ["LlavaViTConfig"]
