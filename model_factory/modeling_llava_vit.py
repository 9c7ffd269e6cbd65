# SPDX-License-Identifier: Apache-2.0
"""LlavaViT: a vision transformer with 3-D rotary positions, for images and videos, dense or with chosen patches.

Shape legend: B batch, C channels, T frames, H and W pixels, N patches of the whole input (frame by frame, rows, then
columns), L tokens kept (L = N unless `visible_indices` chooses), E hidden size, A attention heads, D = E / A head size.
"""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils import is_flash_attn_2_available, logging

from .configuration_llava_vit import LlavaViTConfig, check_sizes

logger = logging.get_logger(__name__)

# A residual video keeps this many patches, or all of them where it has fewer.
RESIDUAL_TOKENS = 2048


def _wide(tensor: Tensor) -> Tensor:
    """`tensor` in float32, or in float64 if it is float64 already."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


class LlavaViTRMSNorm(nn.Module):
    """Root-mean-square norm over the last axis, of size `hidden_size`; `eps` is added to the mean square.

    Source: Zhang and Sennrich, 2019 (arXiv:1910.07467).
    """

    def __init__(self, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Normalise `hidden_states` [..., E]; shape and dtype stay. The weight is applied before casting back."""
        wide = _wide(hidden_states)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (self.weight * wide).to(hidden_states.dtype)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, eps={self.eps}"


def _build_norm(config: LlavaViTConfig) -> nn.Module:
    if config.layer_norm_type == "layer_norm":
        return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
    return LlavaViTRMSNorm(config.hidden_size, eps=config.layer_norm_eps)


class LlavaViTVideoRope(nn.Module):
    """Rotary frequencies for time, height and width, as three non-persistent float32 buffers.

    With half = D / 2 and unit = half / 16, `inv_freq_t` has 4·unit entries, `inv_freq_h` and `inv_freq_w` 6·unit each.
    Entry i of n is rope_theta^-(i/n), in radians per grid step.

    Source: Su et al., 2021 (arXiv:2104.09864), split over three axes.
    """

    def __init__(self, config: LlavaViTConfig) -> None:
        super().__init__()
        unit = config.hidden_size // config.num_attention_heads // 2 // 16
        self.theta = float(config.rope_theta)
        for axis, size in (("t", 4 * unit), ("h", 6 * unit), ("w", 6 * unit)):
            self.register_buffer(f"inv_freq_{axis}", torch.empty(size, dtype=torch.float32), persistent=False)
        self.reset_buffers()

    @torch.no_grad()
    def reset_buffers(self) -> None:
        """Fill the three buffers in place. Computed on the CPU, so that every device holds the same numbers."""
        for buffer in self.buffers():
            exponents = torch.arange(len(buffer), dtype=torch.float32, device="cpu") / len(buffer)
            buffer.copy_(1.0 / self.theta**exponents)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LlavaViTVideoRope":
        # `model.half()` would round the frequencies and `model.to_empty()` would leave them unset: keep them float32
        # and fill them again, on whatever device they were moved to.
        super()._apply(fn, recurse)
        for name, buffer in self.named_buffers():
            setattr(self, name, buffer.to(torch.float32))
        self.reset_buffers()
        return self

    def forward(self, positions: Tensor, grid: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """Cosines and sines [B or 1, L, D], float32 whatever the model's dtype, of the tokens at `positions`.

        `positions` are int64 indices [B or 1, L] into the flattened `grid` of (frames, rows, columns).
        """
        _, rows, columns = grid
        times = positions // (rows * columns)
        heights = positions // columns % rows
        widths = positions % columns
        axes = ((times, self.inv_freq_t), (heights, self.inv_freq_h), (widths, self.inv_freq_w))
        phases = torch.cat([index.to(torch.float32)[..., None] * inv_freq for index, inv_freq in axes], dim=-1)
        phases = torch.cat([phases, phases], dim=-1)
        return phases.cos(), phases.sin()


def _rotate_pairs(states: Tensor) -> Tensor:
    """(x0, x1, x2, x3, …) → (-x1, x0, -x3, x2, …) over the last axis."""
    return torch.stack((-states[..., 1::2], states[..., 0::2]), dim=-1).flatten(-2)


def apply_rotary(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys [B, A, L, D] by tables [B or 1, L, D]; the result has the dtype of `states`.

    The two numbers of a neighbouring pair meet different phases here, because the table is concatenated with itself
    and not interleaved. So this is not a true rotation; trained checkpoints depend on it. Do not mend it.

    Source: the released LlavaViT checkpoints.
    """
    cos = cos.to(states.dtype).unsqueeze(1)
    sin = sin.to(states.dtype).unsqueeze(1)
    return states * cos + _rotate_pairs(states) * sin


def eager_attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, Tensor]:
    """Attention as plain arithmetic: softmax(q·kᵀ · scaling)·v. The softmax runs in at least float32.

    Takes query, key and value [B, A, L, D], an additive mask or None, and the probability of dropping a weight while
    `module.training`. Returns the attended values [B, L, A, D] and the weights [B, A, L, L] in the dtype of `query`.

    Source: Vaswani et al., 2017 (arXiv:1706.03762), in the form of transformers' attention interface.
    """
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = F.softmax(_wide(scores), dim=-1).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2), weights


class LlavaViTEmbeddings(nn.Module):
    """Cut frames into square patches and project each to a token."""

    def __init__(self, config: LlavaViTConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size, bias=False
        )

    def forward(self, video: Tensor) -> Tensor:
        """Embed `video` [B, C, T, H, W], cast to the weight's dtype; returns [B, N, E], frame by frame."""
        batch = video.shape[0]
        frames = video.transpose(1, 2).flatten(0, 1).to(self.patch_embedding.weight.dtype)
        tokens = self.patch_embedding(frames).flatten(2).transpose(1, 2)
        return tokens.reshape(batch, -1, tokens.shape[-1])


class LlavaViTAttention(nn.Module):
    """Multi-head self-attention over all tokens, with rotary positions on queries and keys."""

    def __init__(self, config: LlavaViTConfig) -> None:
        super().__init__()
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = False
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def _interface(self, query: Tensor, output_attentions: bool) -> Callable:
        """The attention function for this call: only eager can hand out its weights."""
        name = self.config._attn_implementation or "sdpa"
        if output_attentions or name == "eager":
            return eager_attention_forward
        if name == "flash_attention_2" and not _flash_runs(query):
            logger.warning_once("flash_attention_2 needs its package and half precision on a GPU; using sdpa instead.")
            name = "sdpa"
        return ALL_ATTENTION_FUNCTIONS[name]

    def forward(
        self, hidden_states: Tensor, cos: Tensor, sin: Tensor, output_attentions: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend over `hidden_states` [B, L, E] with tables [B or 1, L, D]; returns [B, L, E] and weights or None."""
        heads = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden_states).view(heads).transpose(1, 2)
        key = self.k_proj(hidden_states).view(heads).transpose(1, 2)
        value = self.v_proj(hidden_states).view(heads).transpose(1, 2)
        query, key = apply_rotary(query, cos, sin), apply_rotary(key, cos, sin)
        attended, weights = self._interface(query, output_attentions)(
            self,
            query,
            key,
            value,
            None,
            scaling=self.scaling,
            dropout=self.config.attention_dropout if self.training else 0.0,
            is_causal=False,
        )
        attended = attended.reshape(hidden_states.shape).contiguous()
        return self.out_proj(attended), weights if output_attentions else None


def _flash_runs(query: Tensor) -> bool:
    half = query.dtype in (torch.float16, torch.bfloat16)
    return half and query.device.type != "cpu" and is_flash_attn_2_available()


class LlavaViTMLP(nn.Module):
    """Two linear layers with the configured activation between them; [..., E] to [..., E]."""

    def __init__(self, config: LlavaViTConfig) -> None:
        super().__init__()
        self.activation_fn = ACT2FN[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.fc2(self.activation_fn(self.fc1(hidden_states)))


class LlavaViTEncoderLayer(GradientCheckpointingLayer):
    """Pre-norm residual block: attention, then MLP."""

    def __init__(self, config: LlavaViTConfig) -> None:
        super().__init__()
        self.layer_norm1 = _build_norm(config)
        self.self_attn = LlavaViTAttention(config)
        self.layer_norm2 = _build_norm(config)
        self.mlp = LlavaViTMLP(config)

    def forward(
        self, hidden_states: Tensor, cos: Tensor, sin: Tensor, output_attentions: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        attended, weights = self.self_attn(self.layer_norm1(hidden_states), cos, sin, output_attentions)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.layer_norm2(hidden_states)), weights


class LlavaViTEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: LlavaViTConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([LlavaViTEncoderLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(
        self,
        hidden_states: Tensor,
        cos: Tensor,
        sin: Tensor,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> tuple[Tensor, tuple[Tensor, ...] | None, tuple[Tensor, ...] | None]:
        """Run every layer on [B, L, E]; returns the last state, the layers + 1 states and the weights of each layer.

        What was not asked for is None, and nothing is kept for it.
        """
        states: list[Tensor] = [hidden_states]
        attentions: list[Tensor] = []
        for layer in self.layers:
            hidden_states, weights = layer(hidden_states, cos, sin, output_attentions)
            if output_hidden_states:
                states.append(hidden_states)
            if output_attentions:
                attentions.append(weights)
        return (
            hidden_states,
            tuple(states) if output_hidden_states else None,
            tuple(attentions) if output_attentions else None,
        )


class LlavaViTPoolingHead(nn.Module):
    """One learned query attends to all tokens; a residual MLP follows."""

    def __init__(self, config: LlavaViTConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.norm = LlavaViTRMSNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = LlavaViTMLP(config)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Pool [B, L, E] to [B, E]."""
        probe = self.probe.expand(hidden_states.shape[0], -1, -1)
        pooled = self.attention(probe, hidden_states, hidden_states, need_weights=False)[0]
        pooled = pooled + self.mlp(self.norm(pooled))
        return pooled[:, 0]


def _check_pixels(pixel_values: Tensor, config: LlavaViTConfig) -> None:
    """Raise ValueError, with the fix, for pixels that the patch embedding cannot cut."""
    if not isinstance(pixel_values, Tensor) or not pixel_values.is_floating_point():
        came = pixel_values.dtype if isinstance(pixel_values, Tensor) else type(pixel_values).__name__
        raise ValueError(
            f"pixel_values is {came}; expected a floating-point tensor. Normalise the images with the model's mean and "
            "standard deviation first."
        )
    shape = tuple(pixel_values.shape)
    if len(shape) not in (4, 5):
        raise ValueError(
            f"pixel_values has shape {shape}; expected (batch, channels, height, width) for images or (batch, channels,"
            " frames, height, width) for videos. Add the batch axis of a single image with pixel_values.unsqueeze(0)."
        )
    if shape[1] != config.num_channels:
        raise ValueError(
            f"pixel_values has {shape[1]} channels on axis 1 of shape {shape}; expected num_channels = "
            f"{config.num_channels}. Move the channels to axis 1, before the frames of a video."
        )
    height, width, patch = *shape[-2:], config.patch_size
    if height % patch or width % patch or 0 in shape[2:]:
        fit = " x ".join(str(max(patch, round(side / patch) * patch)) for side in (height, width))
        raise ValueError(
            f"pixel_values has shape {shape}; expected at least one frame, and height and width that are positive "
            f"multiples of patch_size = {patch}. Resize or pad the frames, for example to {fit}."
        )


def _check_visible(visible: Tensor, pixel_shape: tuple[int, ...]) -> None:
    """Raise ValueError, with the fix, for visible_indices of the wrong kind. Values are not read: that would sync."""
    batch, frames, height, width = pixel_shape[0], *pixel_shape[2:]
    if not isinstance(visible, Tensor) or visible.ndim not in (2, 5):
        came = f"shape {tuple(visible.shape)}" if isinstance(visible, Tensor) else f"type {type(visible).__name__}"
        raise ValueError(
            f"visible_indices has {came}; expected a tensor (batch, kept) of patch indices, or a residual video "
            "(batch, 1, frames, height, width). Give one row of indices per input."
        )
    shape = tuple(visible.shape)
    if visible.ndim == 5 and shape != (batch, 1, frames, height, width):
        raise ValueError(
            f"visible_indices is a residual video of shape {shape}; expected {(batch, 1, frames, height, width)} to "
            "match pixel_values. Use one channel and the size of the pixels."
        )
    if visible.ndim == 2 and visible.dtype != torch.int64:
        raise ValueError(
            f"visible_indices is {visible.dtype}; expected torch.int64 patch indices. Convert them with "
            "visible_indices.long()."
        )
    if visible.ndim == 2 and (shape[0] != batch or shape[1] == 0):
        raise ValueError(
            f"visible_indices has shape {shape}; expected ({batch}, kept) with kept > 0 to match the batch of "
            "pixel_values. Repeat one row for all inputs with visible_indices.expand(batch, -1)."
        )


def residual_to_indices(residual: Tensor, patch_size: int, limit: int = RESIDUAL_TOKENS) -> Tensor:
    """Choose the patches of a residual video in which most happens.

    A patch's score is its sum of absolute values, taken in float64 (float32 on devices without it) so that the order
    of summation cannot change the choice. Of equal scores the lower index wins.

    Takes `residual` [B, 1, T, H, W] of any real dtype and unit, H and W multiples of `patch_size` pixels. Returns patch
    indices [B, min(limit, N)], int64, ascending in each row.

    Source: the residual-video input of the released LlavaViT checkpoints.
    """
    dtype = torch.float32 if residual.device.type == "mps" else torch.float64
    pixels = residual.squeeze(1).to(dtype).abs()
    rows = pixels.unflatten(3, (-1, patch_size)).unflatten(2, (-1, patch_size))
    scores = rows.transpose(3, 4).flatten(4).sum(-1).flatten(1)
    order = torch.sort(scores, dim=-1, descending=True, stable=True).indices
    return order[:, :limit].sort(dim=-1).values


class LlavaViTPreTrainedModel(PreTrainedModel):
    """What transformers needs to know: initialisation, loading, attention backends, gradient checkpointing."""

    config_class = LlavaViTConfig
    base_model_prefix = "llava_vit"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["LlavaViTEncoderLayer", "LlavaViTPoolingHead"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True  # the name that older releases read
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialise one module in place. torch's own functions leave loaded weights alone under transformers 5."""
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, LlavaViTRMSNorm):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.MultiheadAttention):
            module._reset_parameters()
        elif isinstance(module, LlavaViTPoolingHead):
            nn.init.normal_(module.probe)
        elif isinstance(module, LlavaViTVideoRope):
            module.reset_buffers()  # transformers 5 builds on the meta device and leaves them unset

    def _check_and_adjust_attn_implementation(self, attn_implementation: str | None, *args, **kwargs) -> str:
        """Fall back to sdpa, with one warning, where a flash attention that transformers knows cannot run."""
        try:
            return super()._check_and_adjust_attn_implementation(attn_implementation, *args, **kwargs)
        except (ImportError, ValueError):
            known = attn_implementation in ALL_ATTENTION_FUNCTIONS.valid_keys()
            if not known or not attn_implementation.startswith("flash_attention"):
                raise
            logger.warning_once(f"{attn_implementation} is not available here; using sdpa instead.")
            return "sdpa"

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        return True


class LlavaViTModel(LlavaViTPreTrainedModel):
    """The whole model: patches, encoder and, where `config.use_head` says so, final norm and pooling head.

    Args:
        config: Shape and arithmetic.

    Raises:
        ValueError: The sizes in `config` do not fit together; the message says which and how to mend them.

    Source: the released LlavaViT checkpoints, whose state dict names and shapes this model has.
    """

    def __init__(self, config: LlavaViTConfig) -> None:
        check_sizes(config)
        super().__init__(config)
        self.embeddings = LlavaViTEmbeddings(config)
        self.layernorm_pre = _build_norm(config)
        self.encoder = LlavaViTEncoder(config)
        self.video_rope = LlavaViTVideoRope(config)
        if config.use_head:
            self.layernorm_post = _build_norm(config)
            self.head = LlavaViTPoolingHead(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The module that turns pixels into tokens."""
        return self.embeddings

    def forward(
        self,
        pixel_values: Tensor,
        visible_indices: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[Tensor, ...]:
        """Encode images or videos.

        Args:
            pixel_values: Normalised pixels, floating point: images (B, C, H, W) or videos (B, C, T, H, W). H and W are
                any positive multiples of `patch_size`. Cast to the dtype of the weights.
            visible_indices: Which patches to keep. Either int64 (B, L): indices into the N patches, counted frame by
                frame, row by row; kept in the given order, repeats allowed, positions following the index. Or a
                residual video (B, 1, T, H, W) of any real dtype: the 2048 patches (or all, if fewer) with the largest
                sums of absolute values are kept, in ascending order. None keeps all.
            output_attentions: Whether to return the attention weights. Such a call is computed by the eager backend,
                whichever is configured, because the others have no weights to return. Default: the configuration's.
            output_hidden_states: Whether to return the states between layers. Default: the configuration's.
            return_dict: False returns a tuple of the fields that are not None. Default: the configuration's.

        Returns:
            BaseModelOutputWithPooling with, in the dtype of the weights:
            `last_hidden_state` (B, L, E), normed where `use_head`, else the raw output of the last layer;
            `pooler_output` (B, E), or None without head;
            `hidden_states`, layers + 1 tensors (B, L, E): the input of every layer and the last layer's raw output;
            `attentions`, one (B, A, L, L) per layer: the weights after softmax and dropout.

        Raises:
            ValueError: An input has a wrong rank, size or dtype; the message says what came, what was expected and the
                fix.
            RuntimeError: On the CPU, an index outside 0 … N - 1. Other devices report it in their own way.

        Source: the released LlavaViT checkpoints.
        """
        if output_attentions is None:
            output_attentions = self.config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if return_dict is None:
            return_dict = self.config.return_dict

        hidden_states, cos, sin = self._embed(pixel_values, visible_indices)
        hidden_states, states, attentions = self.encoder(
            self.layernorm_pre(hidden_states), cos, sin, output_attentions, output_hidden_states
        )
        pooled = None
        if self.config.use_head:
            hidden_states = self.layernorm_post(hidden_states)
            pooled = self.head(hidden_states)
        output = BaseModelOutputWithPooling(
            last_hidden_state=hidden_states, pooler_output=pooled, hidden_states=states, attentions=attentions
        )
        return output if return_dict else output.to_tuple()

    def _embed(self, pixel_values: Tensor, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Checked inputs to the tokens kept [B, L, E] and their rotary tables [B or 1, L, D]."""
        _check_pixels(pixel_values, self.config)
        video = pixel_values if pixel_values.ndim == 5 else pixel_values.unsqueeze(2)
        patch = self.config.patch_size
        grid = (video.shape[2], video.shape[3] // patch, video.shape[4] // patch)
        if visible is not None:
            _check_visible(visible, tuple(video.shape))
        tokens = self.embeddings(video)
        if visible is None:
            return tokens, *self.video_rope(torch.arange(tokens.shape[1], device=tokens.device)[None], grid)
        if visible.ndim == 5:
            visible = residual_to_indices(visible, patch)
        tokens = tokens.gather(1, visible[..., None].expand(-1, -1, tokens.shape[-1]))
        return tokens, *self.video_rope(visible, grid)


__all__ = ["LlavaViTModel", "LlavaViTPreTrainedModel"]
