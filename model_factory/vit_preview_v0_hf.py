# SPDX-License-Identifier: Apache-2.0
"""LlavaViT, preview v0: the implementation that training runs.

One file, sharing no code with the published package. It differs from it on purpose where training gains: patches are
chosen before they are projected, so that masked training pays only for what it keeps; the rotary tables of the grid
are built once and rows are selected from them; queries, keys and values stay in the layout that flash attention reads.

Axes: b batch, c channels, t frames, n patches of the grid, k patches kept, h heads, d head size, e hidden size.
"""

import importlib.util
from functools import cache, partial
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import logging

LOG = logging.get_logger(__name__)

# Patches that a residual video keeps.
RESIDUAL_KEEP = 2048
BACKENDS = ("eager", "sdpa", "flash_attention_2")


class LlavaViTConfig(PretrainedConfig):
    """Shape and arithmetic of the model; the defaults are the base variant.

    Args:
        hidden_size, intermediate_size: Widths of a token and of the hidden layer of an MLP.
        num_hidden_layers, num_attention_heads: Depth and heads; hidden_size / heads must be a multiple of 32.
        num_channels, patch_size: Image channels; side of a patch in pixels.
        image_size: Side of the training images in pixels; informative, other sizes run.
        hidden_act: Activation of the MLPs; "gelu" is exact.
        layer_norm_eps, layer_norm_type: Epsilon of all norms; "layer_norm" or "rms_norm".
        attention_dropout: Probability of dropping an attention weight while training.
        initializer_range: Standard deviation of fresh linear and convolution weights.
        rope_theta: Base of the rotary frequencies.
        use_head: Build the final norm and the pooling head.
        **kwargs: For `PretrainedConfig`.

    Raises nothing itself; the model checks the values. Source: the released checkpoints.
    """

    model_type = "llava_vit"

    def __init__(
        self,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        num_channels=3,
        image_size=448,
        patch_size=16,
        hidden_act="gelu",
        layer_norm_eps=1e-6,
        layer_norm_type="layer_norm",
        attention_dropout=0.0,
        initializer_range=0.02,
        rope_theta=10000.0,
        use_head=True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size, self.intermediate_size = hidden_size, intermediate_size
        self.num_hidden_layers, self.num_attention_heads = num_hidden_layers, num_attention_heads
        self.num_channels, self.image_size, self.patch_size = num_channels, image_size, patch_size
        self.hidden_act = hidden_act
        self.layer_norm_eps, self.layer_norm_type = layer_norm_eps, layer_norm_type
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.rope_theta = rope_theta
        self.use_head = use_head

    def __eq__(self, other):
        # transformers 5 would generate a comparison that ignores every value of this class.
        return isinstance(other, PretrainedConfig) and vars(self) == vars(other)

    __hash__ = None


def require(condition: bool, message: str) -> None:
    """Raise ValueError with `message` unless `condition`."""
    if not condition:
        raise ValueError(message)


class Grid(NamedTuple):
    """Patches per axis."""

    frames: int
    rows: int
    columns: int


def read_pixels(pixel_values: torch.Tensor, config: LlavaViTConfig) -> tuple[torch.Tensor, Grid]:
    """Images [b, c, H, W] or videos [b, c, t, H, W], floating point, to a video and its grid; ValueError otherwise."""
    tensor = torch.is_tensor(pixel_values)
    require(
        tensor and pixel_values.is_floating_point(),
        f"pixel_values is {pixel_values.dtype if tensor else type(pixel_values).__name__}; expected a floating-point "
        "tensor. Normalise the images with the model's mean and standard deviation first.",
    )
    shape, patch = tuple(pixel_values.shape), config.patch_size
    require(
        pixel_values.ndim in (4, 5),
        f"pixel_values has shape {shape}; expected (batch, channels, height, width) for images or (batch, channels, "
        "frames, height, width) for videos. Add the batch axis of a single image with pixel_values.unsqueeze(0).",
    )
    require(
        shape[1] == config.num_channels,
        f"pixel_values has {shape[1]} channels on axis 1 of shape {shape}; expected num_channels = "
        f"{config.num_channels}. Move the channels to axis 1, before the frames of a video.",
    )
    video = pixel_values if pixel_values.ndim == 5 else pixel_values[:, :, None]
    (rows, row_rest), (columns, column_rest) = (divmod(side, patch) for side in shape[-2:])
    near = [max(1, round(side / patch)) * patch for side in shape[-2:]]
    require(
        row_rest == column_rest == 0 and rows * columns * video.shape[2] > 0,
        f"pixel_values has shape {shape}; expected at least one frame, and height and width that are positive "
        f"multiples of patch_size = {patch}. Resize or pad the frames, for example to {near[0]} x {near[1]}.",
    )
    return video, Grid(video.shape[2], rows, columns)


def read_visible(visible: torch.Tensor | None, video: torch.Tensor, patch: int) -> torch.Tensor | None:
    """Indices [b, k] or a residual video [b, 1, t, H, W] to indices [b, k]; ValueError for anything else."""
    if visible is None:
        return None
    tensor = torch.is_tensor(visible)
    came = f"shape {tuple(visible.shape)}" if tensor else f"type {type(visible).__name__}"
    require(
        tensor and visible.ndim in (2, 5),
        f"visible_indices has {came}; expected a tensor (batch, kept) of patch indices, or a residual video (batch, 1, "
        "frames, height, width). Give one row of indices per input.",
    )
    if visible.ndim == 5:
        expected = (video.shape[0], 1, *video.shape[2:])
        require(
            visible.shape == expected,
            f"visible_indices is a residual video of {came}; expected {expected} to match pixel_values. Use one "
            "channel and the size of the pixels.",
        )
        return mask_to_indices(residual_mask(visible, patch), RESIDUAL_KEEP)
    require(
        visible.dtype == torch.int64,
        f"visible_indices is {visible.dtype}; expected torch.int64 patch indices. Convert them with "
        "visible_indices.long().",
    )
    require(
        len(visible) == len(video) and visible.shape[1] > 0,
        f"visible_indices has {came}; expected ({len(video)}, kept) with kept > 0 to match the batch of pixel_values. "
        "Repeat one row for all inputs with visible_indices.expand(batch, -1).",
    )
    return visible


def residual_mask(residual: torch.Tensor, patch: int, keep: int = RESIDUAL_KEEP) -> torch.Tensor:
    """Mark the patches of a residual video that change most.

    Takes `residual` [b, 1, t, H, W] of any real dtype, H and W multiples of `patch` pixels. Returns bool [b, n], True
    where the sum of absolute values is among the `keep` largest (all, if fewer); ties go to the lower index.
    Raises RuntimeError if H or W is below `patch`. Source: masked video training of the released checkpoints.
    """
    # double precision, so that no order of summation can decide between two patches; MPS has none
    wide = torch.float32 if residual.device.type == "mps" else torch.float64
    patches = residual[:, 0].to(wide).abs().unfold(2, patch, patch).unfold(3, patch, patch)
    scores = patches.flatten(-2).sum(-1).flatten(1)
    best = scores.argsort(dim=1, descending=True, stable=True)[:, :keep]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, best, True)


def mask_to_indices(mask: torch.Tensor, keep: int) -> torch.Tensor:
    """Ascending indices int64 [b, k] of the True entries of `mask` [b, n], each row having k = min(keep, n) of them.

    A stable sort instead of `nonzero`, whose result size would have to be read back from the device.
    """
    return mask.byte().argsort(dim=1, descending=True, stable=True)[:, :keep]


def at_least_fp32(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, float32 for everything narrower."""
    return torch.float64 if dtype == torch.float64 else torch.float32


class RMSNorm(nn.Module):
    """x / rms(x) · weight over the last axis [..., e]; half precision is widened to float32 until after the weight."""

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        wide = at_least_fp32(x.dtype)
        return F.rms_norm(x.to(wide), self.weight.shape, self.weight.to(wide), self.eps).to(x.dtype)


def make_norm(config: LlavaViTConfig) -> nn.Module:
    """The norm that the configuration names."""
    kinds = {"layer_norm": nn.LayerNorm, "rms_norm": RMSNorm}
    return kinds[config.layer_norm_type](config.hidden_size, eps=config.layer_norm_eps)


class PatchEmbedder(nn.Module):
    """Project patches with the weight of a convolution, which holds it in the checkpoint's shape."""

    def __init__(self, config: LlavaViTConfig):
        super().__init__()
        side = config.patch_size
        self.side = side
        self.patch_embedding = nn.Conv2d(config.num_channels, config.hidden_size, side, stride=side, bias=False)

    def forward(self, video, visible=None):
        """Video [b, c, t, H, W] and indices [b, k] or None to tokens [b, k, e], in the dtype of the weight."""
        weight = self.patch_embedding.weight
        cut = video.unfold(3, self.side, self.side).unfold(4, self.side, self.side)  # b c t rows columns side side
        patches = cut.permute(0, 2, 3, 4, 1, 5, 6).flatten(4).flatten(1, 3)
        if visible is not None:
            patches = patches.gather(1, visible[:, :, None].expand(-1, -1, patches.shape[2]))
        return F.linear(patches.to(weight.dtype), weight.flatten(1))


class GridRope(nn.Module):
    """Rotary tables of a grid; the frequencies are float32 buffers that no checkpoint carries.

    d/2 phases per token: 4 parts of 16 turn with time, 6 with the row, 6 with the column, in radians.
    Source: arXiv:2104.09864, over three axes.
    """

    SHARES: ClassVar[dict[str, int]] = {"inv_freq_t": 4, "inv_freq_h": 6, "inv_freq_w": 6}

    def __init__(self, config: LlavaViTConfig):
        super().__init__()
        self.base = config.rope_theta
        self.unit = config.hidden_size // (32 * config.num_attention_heads)
        for name, share in self.SHARES.items():
            self.register_buffer(name, torch.empty(share * self.unit, dtype=torch.float32), persistent=False)
        self.refill()

    def refill(self):
        """Write base^-(i/size) into each buffer; the numbers come from the CPU, whatever the buffers' device."""
        for name, share in self.SHARES.items():
            size = share * self.unit
            steps = torch.arange(size, dtype=torch.float32, device="cpu").div_(size)
            getattr(self, name).data.copy_(torch.pow(float(self.base), steps).reciprocal_())

    def _apply(self, fn, recurse=True):
        # Conversions (`half`, `to`, `to_empty`) may move these buffers, never round or unset them.
        super()._apply(fn, recurse)
        for name in self.SHARES:
            self._buffers[name] = self._buffers[name].float()
        self.refill()
        return self

    def forward(self, grid: Grid, visible=None):
        """cos and sin, float32, [1, n, d], or [b, k, d] at the indices `visible` [b, k]."""
        phases = []
        for axis, (size, freq) in enumerate(zip(grid, self.buffers(), strict=True)):
            line = torch.outer(torch.arange(size, dtype=torch.float32, device=freq.device), freq)
            spread = [1, 1, 1, -1]
            spread[axis] = size
            phases.append(line.view(spread).expand(*grid, -1))
        table = torch.cat(phases * 2, dim=-1).flatten(0, 2)
        cos, sin = table.cos(), table.sin()
        if visible is None:
            return cos[None], sin[None]
        chosen = visible.flatten()
        return tuple(part.index_select(0, chosen).view(*visible.shape, -1) for part in (cos, sin))


def turn(x, cos, sin):
    """Apply rotary tables [b or 1, k, d] to queries or keys [b, k, h, d].

    NOT a rotation, on purpose: the members of a pair (2i, 2i+1) meet the phases 2i and 2i+1 of a table that repeats
    after d/2 entries, so their angles differ. The trained weights expect exactly this.
    """
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos_even, cos_odd = cos.to(x.dtype)[:, :, None].unflatten(-1, (-1, 2)).unbind(-1)
    sin_even, sin_odd = sin.to(x.dtype)[:, :, None].unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((even * cos_even - odd * sin_even, odd * cos_odd + even * sin_odd), dim=-1).flatten(-2)


# Attention backends take q, k, v [b, k, h, d] and return attended [b, k, h, d] and weights [b, h, k, k] or None.


def attend_eager(q, k, v, scale, dropout):
    """Explicit softmax, in at least float32."""
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * scale
    weights = scores.softmax(dim=-1, dtype=at_least_fp32(q.dtype)).to(q.dtype)
    weights = F.dropout(weights, dropout)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v), weights


def attend_sdpa(q, k, v, scale, dropout):
    """torch's fused attention."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale).transpose(1, 2), None


def attend_flash(q, k, v, scale, dropout):
    """The flash-attn package: half precision on a GPU."""
    from flash_attn import flash_attn_func

    return flash_attn_func(q, k, v, dropout_p=dropout, softmax_scale=scale, causal=False), None


@cache
def flash_installed() -> bool:
    """Whether flash-attn and a GPU are there."""
    return importlib.util.find_spec("flash_attn") is not None and torch.cuda.is_available()


def choose_backend(name: str | None, q: torch.Tensor, need_weights: bool):
    """The function for this call; what cannot run falls back to sdpa, and only eager can return weights."""
    if need_weights or name == "eager":
        return attend_eager
    if name == "flash_attention_2":
        if flash_installed() and q.is_cuda and q.dtype in (torch.float16, torch.bfloat16):
            return attend_flash
        LOG.warning_once("flash_attention_2 needs its package and half precision on a GPU; using sdpa instead.")
    return attend_sdpa


class RotaryAttention(nn.Module):
    """Self-attention with rotary positions."""

    def __init__(self, config: LlavaViTConfig):
        super().__init__()
        self.config = config
        width = config.hidden_size
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.add_module(name, nn.Linear(width, width))

    def forward(self, x, cos, sin, need_weights=False):
        """Tokens [b, k, e] and tables to tokens [b, k, e] and weights [b, h, k, k] or None."""
        split = (self.config.num_attention_heads, -1)
        q, k, v = (proj(x).unflatten(-1, split) for proj in (self.q_proj, self.k_proj, self.v_proj))
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        attend = choose_backend(self.config._attn_implementation, q, need_weights)
        mixed, weights = attend(q, k, v, q.shape[-1] ** -0.5, self.config.attention_dropout if self.training else 0.0)
        return self.out_proj(mixed.flatten(-2)), weights


class FeedForward(nn.Module):
    """Linear, activation, linear on [..., e]."""

    def __init__(self, config: LlavaViTConfig):
        super().__init__()
        self.act = F.gelu if config.hidden_act == "gelu" else ACT2FN[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: LlavaViTConfig):
        super().__init__()
        self.layer_norm1 = make_norm(config)
        self.self_attn = RotaryAttention(config)
        self.layer_norm2 = make_norm(config)
        self.mlp = FeedForward(config)

    def forward(self, x, cos, sin, need_weights=False):
        update, weights = self.self_attn(self.layer_norm1(x), cos, sin, need_weights)
        x = x + update
        return x + self.mlp(self.layer_norm2(x)), weights


class BlockStack(nn.Module):
    """All blocks; with gradient checkpointing on, training recomputes each in the backward pass."""

    def __init__(self, config: LlavaViTConfig):
        super().__init__()
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.gradient_checkpointing = False  # set by `gradient_checkpointing_enable`

    def forward(self, x, cos, sin, need_weights, need_states):
        """Tokens [b, k, e] to tokens, the states between blocks or None, the weights of each block or None."""
        states, attentions = [x], []
        for layer in self.layers:
            run = layer
            if self.gradient_checkpointing and self.training:
                run = partial(self._gradient_checkpointing_func, layer.__call__)
            x, weights = run(x, cos, sin, need_weights)
            if need_states:
                states.append(x)
            attentions.append(weights)
        return x, tuple(states) if need_states else None, tuple(attentions) if need_weights else None


class AttentionPool(nn.Module):
    """A learned probe attends to the tokens. nn.MultiheadAttention holds the weights; the arithmetic is here."""

    def __init__(self, config: LlavaViTConfig):
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, 1, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x):
        """Tokens [b, k, e] to [b, e]."""
        held, width = self.attention, x.shape[-1]
        heads = (held.num_heads, -1)
        (w_q, w_kv), (b_q, b_kv) = (p.split((width, 2 * width)) for p in (held.in_proj_weight, held.in_proj_bias))
        q = F.linear(self.probe, w_q, b_q).expand(len(x), -1, -1).unflatten(-1, heads)
        k, v = (part.unflatten(-1, heads) for part in F.linear(x, w_kv, b_kv).chunk(2, dim=-1))
        mixed, _ = attend_sdpa(q, k, v, q.shape[-1] ** -0.5, 0.0)
        pooled = held.out_proj(mixed.flatten(-2)).squeeze(1)
        return pooled + self.mlp(self.norm(pooled))


def check_config(config: LlavaViTConfig) -> None:
    """Raise ValueError for values that cannot make a model."""
    width, heads = config.hidden_size, config.num_attention_heads
    require(
        config.layer_norm_type in ("layer_norm", "rms_norm"),
        f"layer_norm_type is {config.layer_norm_type!r}; expected 'layer_norm' or 'rms_norm'. Choose one of them.",
    )
    require(
        width % heads == 0,
        f"hidden_size is {width} and num_attention_heads is {heads}; expected a hidden_size that divides by "
        "num_attention_heads. Change one of them.",
    )
    require(
        width >= heads and width // heads % 32 == 0,
        f"hidden_size / num_attention_heads / 2 is {width / heads / 2:g}; expected a multiple of 16, which the 3-D "
        "rotary positions split 4:6:6 over time, height and width. Choose a head size that is a multiple of 32.",
    )


class LlavaViTModel(PreTrainedModel):
    """The encoder that training runs, with the state dict names and shapes of the published model.

    Args:
        config: Shape and arithmetic. ValueError if its values do not fit together.

    `gradient_checkpointing_enable()` trades compute for memory and changes no number. Source: the released checkpoints.
    """

    config_class = LlavaViTConfig
    base_model_prefix = "llava_vit"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules: ClassVar[list[str]] = ["Block", "AttentionPool"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True  # its name before transformers 4.54

    def __init__(self, config: LlavaViTConfig):
        check_config(config)
        super().__init__(config)
        self.embeddings = PatchEmbedder(config)
        self.layernorm_pre = make_norm(config)
        self.encoder = BlockStack(config)
        self.video_rope = GridRope(config)
        if config.use_head:
            self.layernorm_post = make_norm(config)
            self.head = AttentionPool(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The patch projection."""
        return self.embeddings

    @torch.no_grad()
    def _init_weights(self, module):
        match module:
            case nn.Linear() | nn.Conv2d():
                nn.init.normal_(module.weight, std=self.config.initializer_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            case nn.LayerNorm() | RMSNorm():
                nn.init.ones_(module.weight)
                if hasattr(module, "bias"):
                    nn.init.zeros_(module.bias)
            case nn.MultiheadAttention():
                module._reset_parameters()  # its own initialisation; out_proj was done as a linear layer
            case AttentionPool():
                nn.init.normal_(module.probe)
            case GridRope():
                module.refill()  # loading on the meta device leaves these buffers unset

    def _check_and_adjust_attn_implementation(self, attn_implementation: str | None, *_: Any, **__: Any) -> str:
        """Resolve a backend's name: None is sdpa, a flash attention that cannot run is sdpa after one warning."""
        if attn_implementation is None:
            return "sdpa"
        if attn_implementation == "flash_attention_2" and flash_installed():
            return attn_implementation
        if attn_implementation in ("flash_attention_2", "flash_attention_3"):
            LOG.warning_once(f"{attn_implementation} is not available here; using sdpa instead.")
            return "sdpa"
        require(
            attn_implementation in BACKENDS,
            f"attn_implementation is {attn_implementation!r}; expected one of {', '.join(BACKENDS)}.",
        )
        return attn_implementation

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        return True

    def forward(
        self,
        pixel_values: torch.Tensor,
        visible_indices: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple[torch.Tensor, ...]:
        """Encode normalised images [b, c, H, W] or videos [b, c, t, H, W].

        Args:
            pixel_values: Floating point, H and W multiples of patch_size; cast to the weights' dtype.
            visible_indices: None for all patches; int64 [b, k], patches to keep in this order (frame by frame, row by
                row; repeats allowed); or a residual video [b, 1, t, H, W] that keeps its 2048 most changed patches.
            output_attentions: Return the attention weights. The call is then computed by the eager backend.
            output_hidden_states: Return the input of every layer and the last layer's output.
            return_dict: False for a tuple without the fields that are None.
            The last three default to the configuration.

        Returns:
            last_hidden_state [b, k, e], pooler_output [b, e] (None without head), hidden_states (layers + 1 of
            [b, k, e]) and attentions (one [b, h, k, k] per layer), in the weights' dtype.

        Raises:
            ValueError: A wrong shape or dtype; the message says what came, what was expected and the fix.
            RuntimeError: On the CPU, an index outside 0 … n - 1.

        Source: the released checkpoints.
        """
        need_weights = self.config.output_attentions if output_attentions is None else output_attentions
        need_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        as_dict = self.config.return_dict if return_dict is None else return_dict

        video, grid = read_pixels(pixel_values, self.config)
        visible = read_visible(visible_indices, video, self.config.patch_size)
        tokens = self.layernorm_pre(self.embeddings(video, visible))
        cos, sin = self.video_rope(grid, visible)
        tokens, states, attentions = self.encoder(tokens, cos, sin, need_weights, need_states)

        pooled = None
        if self.config.use_head:
            tokens = self.layernorm_post(tokens)
            pooled = self.head(tokens)
        output = BaseModelOutputWithPooling(
            last_hidden_state=tokens, pooler_output=pooled, hidden_states=states, attentions=attentions
        )
        return output if as_dict else output.to_tuple()


__all__ = ["LlavaViTConfig", "LlavaViTModel"]
