# SPDX-License-Identifier: Apache-2.0
"""Both implementations against arithmetic written out by hand, from the description alone, without torch's layers."""

import math

import numpy as np
import pytest
import torch

import llavavit.modeling_llava_vit as hub_code
import model_factory.vit_preview_v0_hf as factory_code

EPS = 1e-3


def phases_by_hand(t, h, w, head_dim, theta=10000.0):
    """One token's phases: 4, 6 and 6 parts of head_dim / 2 over time, height and width, then all of it once more."""
    unit = head_dim // 2 // 16
    out = []
    for position, size in ((t, 4 * unit), (h, 6 * unit), (w, 6 * unit)):
        out += [position * theta ** -(i / size) for i in range(size)]
    return out + out


def rotate_by_hand(x, t, h, w):
    """(x0, x1, …)·cos + (-x1, x0, …)·sin, for one head of one token."""
    phases, out = phases_by_hand(t, h, w, len(x)), []
    for i, phase in enumerate(phases):
        partner = -x[i + 1] if i % 2 == 0 else x[i - 1]
        out.append(x[i] * math.cos(phase) + partner * math.sin(phase))
    return out


@pytest.mark.parametrize("head_dim", [32, 64, 96])
def test_rotary_by_hand(head_dim):
    grid, tokens = (3, 5, 7), [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 4, 6), (1, 3, 2)]
    index = torch.tensor([[t * 35 + h * 7 + w for t, h, w in tokens]])
    x = torch.randn(len(tokens), head_dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.tensor([rotate_by_hand(row.tolist(), *token) for row, token in zip(x, tokens, strict=True)])

    sizes = {"hidden_size": head_dim * 2, "num_attention_heads": 2}
    hub_tables = hub_code.LlavaViTVideoRope(hub_code.LlavaViTConfig(**sizes))(index, grid)
    hub = hub_code.apply_rotary(x[None, None], *hub_tables)[0, 0]
    factory_rope = factory_code.GridRope(factory_code.LlavaViTConfig(**sizes))
    factory = factory_code.turn(x[None, :, None], *factory_rope(factory_code.Grid(*grid), index))[0, :, 0]
    # float32 cosines of phases up to 6 radians
    torch.testing.assert_close(hub, expected.double(), rtol=0, atol=5e-6)
    torch.testing.assert_close(factory, expected.double(), rtol=0, atol=5e-6)
    assert torch.equal(hub, factory)
    assert torch.equal(hub[0], x[0])  # position 0 is left alone


def test_positions_stay_exact_far_from_the_origin():
    """Half precision could not tell position 1001 from 1000."""
    grid, tokens = (2, 3, 1200), [(1, 2, 1000), (1, 2, 1001), (0, 0, 1199)]
    index = torch.tensor([[t * 3600 + h * 1200 + w for t, h, w in tokens]])
    expected = torch.tensor([phases_by_hand(*token, 32) for token in tokens], dtype=torch.float64)
    sizes = {"hidden_size": 32, "num_attention_heads": 1}
    hub = hub_code.LlavaViTVideoRope(hub_code.LlavaViTConfig(**sizes)).bfloat16()(index, grid)
    factory_rope = factory_code.GridRope(factory_code.LlavaViTConfig(**sizes)).bfloat16()
    factory = factory_rope(factory_code.Grid(*grid), index)
    for table, same, exact in zip(hub, factory, (expected.cos(), expected.sin()), strict=True):
        assert table.dtype == torch.float32
        assert torch.equal(table, same)
        torch.testing.assert_close(table[0].double(), exact, rtol=0, atol=3e-4)  # float32 phases up to 1199


def test_rotary_is_no_rotation():
    """A true rotation would keep the length of every pair; the repeated table does not."""
    x = torch.randn(1, 1, 35, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rope = hub_code.LlavaViTVideoRope(hub_code.LlavaViTConfig(hidden_size=32, num_attention_heads=1))
    turned = hub_code.apply_rotary(x, *rope(torch.arange(35)[None], (1, 5, 7)))
    lengths = [states.unflatten(-1, (-1, 2)).norm(dim=-1) for states in (x, turned)]
    assert not torch.allclose(*lengths)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rms_norm_in_half_precision_is_rounded_once(dtype):
    """Squares of 400 overflow float16, and a weight applied after rounding would round twice."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(64, 96, generator=generator) * 400).to(dtype)
    weight = (torch.randn(96, generator=generator) + 1).to(dtype)
    wide = x.double()
    expected = (wide / (wide.square().mean(-1, keepdim=True) + EPS).sqrt() * weight.double()).to(dtype)
    for norm in (hub_code.LlavaViTRMSNorm(96, EPS), factory_code.RMSNorm(96, EPS)):
        norm.to(dtype).weight.data = weight
        assert norm(x).dtype == dtype
        assert (norm(x) != expected).float().mean() < 0.001


def scores_by_hand(residual, patch):
    frames, height, width = len(residual), len(residual[0]), len(residual[0][0])
    return [
        sum(abs(residual[t][y + dy][x + dx]) for dy in range(patch) for dx in range(patch))
        for t in range(frames)
        for y in range(0, height, patch)
        for x in range(0, width, patch)
    ]


def both_choices(residual, patch, keep):
    mask = factory_code.residual_mask(residual, patch, keep)
    return (
        hub_code.residual_to_indices(residual, patch, keep).tolist(),
        factory_code.mask_to_indices(mask, keep).tolist(),
        [row.nonzero().flatten().tolist() for row in mask],
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int8, torch.uint8])
@pytest.mark.parametrize("keep", [1, 5, 11, 23, 24, 30])
def test_top_patches_by_hand(dtype, keep):
    generator = torch.Generator().manual_seed(keep)
    # few distinct values, so that many patches tie
    residual = torch.randint(0, 3, (2, 1, 2, 6, 8), generator=generator)
    residual = (residual if dtype == torch.uint8 else residual - 1).to(dtype)
    if dtype == torch.int8:
        residual[0, 0, 1, 5, 7] = -128  # whose absolute value does not fit its type
    expected = []
    for row in residual[:, 0].tolist():
        scores = scores_by_hand(row, 2)
        expected.append(sorted(sorted(range(24), key=lambda index: (-scores[index], index))[:keep]))
    assert any(len(set(scores_by_hand(row, 2))) < 24 for row in residual[:, 0].tolist())
    for choice in both_choices(residual, 2, keep):
        assert choice == expected


def test_top_patches_written_out():
    residual = torch.zeros(1, 1, 2, 2, 6)
    residual[0, 0, 0, :, 2:4] = torch.tensor([[-9.0, 0.0], [0.0, 0.0]])  # patch 1: 9, negative
    residual[0, 0, 0, :, 4:6] = 1.0  # patch 2: 4
    residual[0, 0, 1, :, 0:2] = -1.0  # patch 3: 4, ties with 2
    residual[0, 0, 1, :, 2:4] = torch.tensor([[5.0, -5.0], [0.0, 0.0]])  # patch 4: 10, sums to zero
    assert all(choice == [[1, 2, 4]] for choice in both_choices(residual, 2, 3))


def test_scores_are_summed_wide():
    """Patch 1 is ahead by less than a bfloat16 or float16 sum could tell."""
    residual = torch.ones(1, 1, 1, 16, 32, dtype=torch.float16) * 100
    residual[..., 31] += 0.125
    assert all(choice == [[1]] for choice in both_choices(residual, 16, 1))


class ByHand:
    """The forward pass of one image or video in numpy float64, head by head."""

    def __init__(self, model):
        self.weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
        self.config = model.config

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x, name, rms=False):
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias", 0.0)
        if not rms:
            x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + EPS) * weight + bias

    def mlp(self, x, name):
        hidden = self.linear(x, f"{name}.fc1")
        hidden = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        return self.linear(hidden, f"{name}.fc2")

    def attend(self, q, k, v):
        size, out = q.shape[-1] // self.config.num_attention_heads, []
        for start in range(0, q.shape[-1], size):
            head = slice(start, start + size)
            scores = np.exp(q[:, head] @ k[:, head].T / math.sqrt(size))
            out.append(scores / scores.sum(-1, keepdims=True) @ v[:, head])
        return np.concatenate(out, -1)

    def turn(self, x, tokens):
        heads = x.reshape(len(tokens), self.config.num_attention_heads, -1).tolist()
        turned = [[rotate_by_hand(head, *token) for head in row] for row, token in zip(heads, tokens, strict=True)]
        return np.array(turned).reshape(x.shape)

    def forward(self, video, visible):
        patch, rms = self.config.patch_size, self.config.layer_norm_type == "rms_norm"
        _, frames, height, width = video.shape
        grid = [(t, h, w) for t in range(frames) for h in range(height // patch) for w in range(width // patch)]
        tokens = [grid[index] for index in visible]
        kernel = self.weights["embeddings.patch_embedding.weight"]
        x = np.array(
            [
                [(video[:, t, h * patch : (h + 1) * patch, w * patch : (w + 1) * patch] * k).sum() for k in kernel]
                for t, h, w in tokens
            ]
        )
        x = self.norm(x, "layernorm_pre", rms)
        for i in range(self.config.num_hidden_layers):
            at = f"encoder.layers.{i}"
            y = self.norm(x, f"{at}.layer_norm1", rms)
            q, k, v = (self.linear(y, f"{at}.self_attn.{name}_proj") for name in "qkv")
            x = x + self.linear(self.attend(self.turn(q, tokens), self.turn(k, tokens), v), f"{at}.self_attn.out_proj")
            x = x + self.mlp(self.norm(x, f"{at}.layer_norm2", rms), f"{at}.mlp")
        x = self.norm(x, "layernorm_post", rms)
        return x, self.pool(x)

    def pool(self, x):
        weight, bias = (self.weights[f"head.attention.in_proj_{kind}"] for kind in ("weight", "bias"))
        inputs = (self.weights["head.probe"][0], x, x)
        q, k, v = (y @ w.T + b for y, w, b in zip(inputs, np.split(weight, 3), np.split(bias, 3), strict=True))
        a = self.linear(self.attend(q, k, v), "head.attention.out_proj")
        return (a + self.mlp(self.norm(a, "head.norm", rms=True), "head.mlp"))[0]


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
@torch.no_grad()
def test_whole_forward_by_hand(side, build, generic, norm):
    model = generic(build(side, layer_norm_type=norm, layer_norm_eps=EPS))
    video = torch.randn(1, 3, 2, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    visible = [11, 3, 3, 0, 7, 8, 1]
    tokens, pooled = ByHand(model).forward(video[0].numpy(), visible)
    output = model(video, torch.tensor([visible]))
    # by hand the cosines are float64, in the model float32
    torch.testing.assert_close(output.last_hidden_state[0], torch.from_numpy(tokens), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.pooler_output[0], torch.from_numpy(pooled), rtol=1e-5, atol=1e-5)
