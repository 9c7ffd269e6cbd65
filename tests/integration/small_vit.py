"""A vision transformer that is built otherwise than LlavaViT: a table of positions that is resized, SwiGLU, a mask of keys,
layer scale, stochastic depth, and a head tied to an embedding. Not imported: written to both sides of a comparison."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PretrainedConfig, PreTrainedModel


class Config(PretrainedConfig):
    model_type = "small_vit"

    def __init__(
        self, width=16, heads=2, hidden=24, side=4, patch=4, kinds=5, layer_scale=0.1, drop_path=0.25, **kwargs
    ):
        super().__init__(**kwargs)
        self.width, self.heads, self.hidden, self.side, self.patch = width, heads, hidden, side, patch
        self.kinds, self.layer_scale, self.drop_path = kinds, layer_scale, drop_path


def drop_path(x, rate, training):
    if not training or rate == 0.0:
        return x
    keep = 1 - rate
    mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
    return x * mask / keep


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width))
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x, mask):
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = F.linear(x, self.qkv.weight, bias).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w12 = nn.Linear(config.width, 2 * config.hidden)
        self.w3 = nn.Linear(config.hidden, config.width)

    def forward(self, x):
        gate, up = self.w12(x).chunk(2, -1)
        return self.w3(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(config.width, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = Attention(config), SwiGLU(config)
        self.scale1, self.scale2 = (nn.Parameter(torch.full((config.width,), config.layer_scale)) for _ in range(2))
        self.rate = config.drop_path

    def forward(self, x, mask):
        x = x + drop_path(self.scale1 * self.attn(self.norm1(x), mask), self.rate, self.training)
        return x + drop_path(self.scale2 * self.mlp(self.norm2(x)), self.rate, self.training)


class Model(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.patch = nn.Conv2d(3, config.width, config.patch, stride=config.patch)
        self.kinds = nn.Embedding(config.kinds, config.width)
        self.pos = nn.Parameter(torch.zeros(1, 1 + config.side**2, config.width))
        self.blocks = nn.ModuleList([Block(config) for _ in range(2)])
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.head = nn.Linear(config.width, config.kinds, bias=False)
        self.head.weight = self.kinds.weight
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Embedding)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, Attention):
            nn.init.zeros_(module.q_bias)
            nn.init.zeros_(module.v_bias)
        elif isinstance(module, Block):
            nn.init.constant_(module.scale1, self.config.layer_scale)
            nn.init.constant_(module.scale2, self.config.layer_scale)
        elif isinstance(module, Model):
            nn.init.trunc_normal_(module.pos, std=0.02)

    def positions(self, h, w):
        side = self.config.side
        if (h, w) == (side, side):
            return self.pos
        grid = self.pos[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(h, w), mode="bicubic", align_corners=False, antialias=False)
        return torch.cat([self.pos[:, :1], grid.flatten(2).transpose(1, 2)], 1)

    def forward(self, pixel_values, kind, mask=None):
        x = self.patch(pixel_values)
        h, w = x.shape[-2:]
        x = torch.cat([self.kinds(kind)[:, None], x.flatten(2).transpose(1, 2)], 1) + self.positions(h, w)
        for block in self.blocks:
            x = block(x, mask)
        return {"tokens": self.norm(x), "kind": self.head(x[:, 0])}
