# SPDX-License-Identifier: Apache-2.0
"""Attention backends: which one runs, and what happens when one is not there."""

import sys
from types import SimpleNamespace

import pytest
import torch
from transformers import AttentionInterface

import llavavit
from model_factory import vit_preview_v0_hf

FALLBACK = "flash_attention_2 is not available here; using sdpa instead."
UNUSABLE = "flash_attention_2 needs its package and half precision on a GPU; using sdpa instead."
PIXELS = torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="flash attention may be there")


@pytest.fixture
def sdpa_calls(monkeypatch):
    """How often torch's fused attention ran."""
    calls, original = [], torch.nn.functional.scaled_dot_product_attention

    def spy(query, *args, **kwargs):
        calls.append(query.shape[-2])
        assert not kwargs.get("is_causal")
        return original(query, *args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return calls


@torch.no_grad()
def test_the_configured_backend_runs(side, build, sdpa_calls):
    model = build(side, use_head=False)
    assert model.config._attn_implementation == "sdpa"
    fused = model(PIXELS).last_hidden_state
    assert sdpa_calls == [6, 6]
    model.set_attn_implementation("eager")
    plain = model(PIXELS).last_hidden_state
    assert sdpa_calls == [6, 6]
    torch.testing.assert_close(fused, plain)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@torch.no_grad()
def test_attentions_come_from_eager_whatever_is_configured(side, build, sdpa_calls, backend):
    model = build(side, use_head=False, attn_implementation=backend)
    output = model(PIXELS, output_attentions=True)
    assert sdpa_calls == []
    assert [weights.shape for weights in output.attentions] == [(1, 2, 6, 6)] * 2
    torch.testing.assert_close(output.attentions[0].sum(-1), torch.ones(1, 2, 6))
    torch.testing.assert_close(output.last_hidden_state, model(PIXELS).last_hidden_state)
    assert model(PIXELS).attentions is None
    assert model.config._attn_implementation == backend


def constructed(side, build, path):
    return build(side, attn_implementation="flash_attention_2")


def from_config(side, build, path):
    return side.LlavaViTModel._from_config(build(side).config, attn_implementation="flash_attention_2")


def from_pretrained(side, build, path):
    build(side).save_pretrained(path)
    return side.LlavaViTModel.from_pretrained(path, attn_implementation="flash_attention_2")


def config_attribute(side, build, path):
    config = build(side).config
    config._attn_implementation = "flash_attention_2"
    return side.LlavaViTModel(config)


def set_afterwards(side, build, path):
    model = build(side)
    model.set_attn_implementation("flash_attention_2")
    return model


@without_cuda
@pytest.mark.parametrize("make", [constructed, from_config, from_pretrained, config_attribute, set_afterwards])
@torch.no_grad()
def test_missing_flash_attention_falls_back_with_one_warning(side, build, tmp_path, warnings_logged, make):
    for _ in range(2):
        model = make(side, build, tmp_path)
        assert model.config._attn_implementation == "sdpa"
        model(PIXELS)
    assert warnings_logged == [FALLBACK]


@torch.no_grad()
def test_flash_attention_set_behind_the_models_back(side, build, warnings_logged):
    model = build(side)
    expected = model(PIXELS).pooler_output
    model.config._attn_implementation = "flash_attention_2"
    for _ in range(2):
        assert torch.equal(model(PIXELS).pooler_output, expected)
        assert model.double()(PIXELS.double()).pooler_output.dtype == torch.float64
        model.float()
    assert warnings_logged == [UNUSABLE]


def test_unknown_backends_are_errors(side, build):
    with pytest.raises(ValueError, match="quantum"):
        build(side, attn_implementation="quantum")


def test_flash_attention_is_called_with_its_own_layout(monkeypatch):
    """The training side's call of the flash-attn package, which reads [batch, tokens, heads, head size]."""

    def flash_attn_func(q, k, v, *, dropout_p, softmax_scale, causal):
        assert (dropout_p, causal) == (0.25, False)
        return vit_preview_v0_hf.attend_eager(q, k, v, softmax_scale, 0.0)[0]

    monkeypatch.setitem(sys.modules, "flash_attn", SimpleNamespace(flash_attn_func=flash_attn_func))
    q, k, v = torch.randn(3, 2, 5, 2, 32, generator=torch.Generator().manual_seed(0)).unbind()
    expected, _ = vit_preview_v0_hf.attend_sdpa(q, k, v, 0.3, 0.0)
    torch.testing.assert_close(vit_preview_v0_hf.attend_flash(q, k, v, 0.3, 0.25)[0], expected)


def test_flash_attention_is_chosen_where_it_runs(monkeypatch):
    half = SimpleNamespace(is_cuda=True, dtype=torch.bfloat16)
    monkeypatch.setattr(vit_preview_v0_hf, "flash_installed", lambda: True)
    choose = vit_preview_v0_hf.choose_backend
    assert choose("flash_attention_2", half, False) is vit_preview_v0_hf.attend_flash
    assert choose("flash_attention_2", half, True) is vit_preview_v0_hf.attend_eager
    wide = SimpleNamespace(is_cuda=True, dtype=torch.float64)
    assert choose("flash_attention_2", wide, False) is vit_preview_v0_hf.attend_sdpa


def test_registered_backends_run_in_the_published_model(build):
    """The published model takes any function that transformers' attention interface knows."""
    seen = []

    def mine(module, query, key, value, attention_mask, **kwargs):
        seen.append((query.shape, kwargs["scaling"], kwargs["is_causal"], attention_mask))
        return llavavit.modeling_llava_vit.eager_attention_forward(module, query, key, value, None, kwargs["scaling"])

    AttentionInterface.register("test_models_backend", mine)
    model = build(llavavit, attn_implementation="test_models_backend")
    with torch.no_grad():
        torch.testing.assert_close(model(PIXELS).pooler_output, build(llavavit)(PIXELS).pooler_output)
    assert seen == [((1, 2, 6, 32), 32**-0.5, False, None)] * 2
