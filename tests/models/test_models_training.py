# SPDX-License-Identifier: Apache-2.0
"""Initialisation, gradients and gradient checkpointing."""

import math
from unittest.mock import patch

import pytest
import torch

import llavavit
from model_factory import vit_preview_v0_hf

STD = 0.05


@pytest.fixture(params=["layer_norm", "rms_norm"])
def fresh(request, side, build):
    return build(side, hidden_size=256, intermediate_size=384, layer_norm_type=request.param, initializer_range=STD)


def assert_normal(tensor, std):
    """Mean and standard deviation within five standard errors, and tails that a uniform draw has not."""
    count = tensor.numel()
    assert abs(tensor.mean()) < 5 * std / math.sqrt(count)
    assert abs(tensor.std() / std - 1) < 5 / math.sqrt(2 * count)
    assert tensor.abs().max() > 2.2 * std


def test_initialisation(fresh):
    assert_normal(fresh.head.probe, 1.0)
    attention = fresh.head.attention
    bound = math.sqrt(6 / (256 + 3 * 256))  # Xavier, as nn.MultiheadAttention does it
    assert attention.in_proj_weight.abs().max() <= bound
    assert abs(attention.in_proj_weight.std() / (bound / math.sqrt(3)) - 1) < 0.02
    checked = {"head.probe", "head.attention.in_proj_weight"}
    for name, parameter in fresh.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        elif name not in checked:
            assert_normal(parameter, STD)


def test_one_seed_gives_both_sides_the_same_weights(build):
    hub, factory = (build(module).state_dict() for module in (llavavit, vit_preview_v0_hf))
    assert all(torch.equal(hub[name], factory[name]) for name in hub)


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def train_step(model, **flags):
    """One training step's outputs and gradients, dropout included."""
    model.train()
    model.zero_grad()
    torch.manual_seed(3)
    output = model(draw(2, 3, 2, 4, 4), torch.tensor([[1, 6, 2], [0, 0, 7]]), **flags)
    sum((tensor * draw(*tensor.shape)).sum() for tensor in output[:2]).backward()
    return output, {name: p.grad.clone() for name, p in model.named_parameters()}


def enable(model, **kwargs):
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=kwargs or None)
    assert any(getattr(module, "gradient_checkpointing", False) for module in model.modules())


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("kwargs", [{}, {"use_reentrant": True}, {"use_reentrant": False}], ids=str)
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
def test_gradient_checkpointing_changes_no_number(side, build, kwargs, backend):
    model = build(side, attention_dropout=0.3, attn_implementation=backend)
    runs = []
    model.encoder.layers[0].mlp.fc1.register_forward_hook(lambda *_: runs.append(1))
    plain, plain_grads = train_step(model)
    assert len(runs) == 1
    enable(model, **kwargs)
    saved, saved_grads = train_step(model)
    assert len(runs) == 3  # once forward, once more in the backward pass
    assert all(torch.equal(one, other) for one, other in zip(plain[:2], saved[:2], strict=True))
    assert all(torch.equal(plain_grads[name], saved_grads[name]) for name in plain_grads)
    assert all(grad.abs().max() > 0 for grad in plain_grads.values())

    model.gradient_checkpointing_disable()
    runs.clear()
    train_step(model)
    assert len(runs) == 1


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing:FutureWarning")
def test_checkpointed_calls_still_return_everything(side, build):
    model = build(side)
    enable(model)
    output, _ = train_step(model, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3
    assert len(output.attentions) == 2
    model.eval()
    with torch.no_grad():
        assert model(draw(1, 3, 4, 4)).pooler_output.shape == (1, 64)


@pytest.mark.filterwarnings("ignore:.gradient_checkpointing:FutureWarning")
def test_checkpointing_with_a_frozen_patch_embedding(side, build):
    """Re-entrant checkpointing needs an input that asks for gradients; `enable_input_require_grads` provides it."""
    model = build(side)
    for part in (model.embeddings, model.layernorm_pre):
        part.requires_grad_(False)
    enable(model, use_reentrant=True)
    model.enable_input_require_grads()
    model.train()
    model(draw(1, 3, 4, 4)).pooler_output.sum().backward()
    assert model.encoder.layers[0].self_attn.q_proj.weight.grad.abs().max() > 0


def test_masked_training_projects_only_what_it_keeps(build):
    """The training side chooses patches before the projection."""
    model, rows = build(vit_preview_v0_hf), []
    linear = torch.nn.functional.linear
    with patch.object(vit_preview_v0_hf.F, "linear", lambda x, *rest: (rows.append(x.shape[1]), linear(x, *rest))[1]):
        model.embeddings(draw(1, 3, 1, 8, 8), torch.tensor([[3, 4, 5]]))
    assert rows == [3]
