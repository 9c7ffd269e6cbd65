"""What is recorded of functions that devices do in different steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from verify.observer.operations import Plan, Recorder

torch.manual_seed(0)
QUERY, KEY, VALUE = torch.randn(3, 2, 3, 7, 8, dtype=torch.float64)
WEIGHT = torch.randn(8, dtype=torch.float64)


def recorded(root, call, plan=None):
    """What a call gives, and of each operation the name, how many values it reads and makes, and its scalars."""
    recorder = Recorder(nn.Identity(), {}, str(root), plan or Plan(), {})
    try:
        with recorder:
            output = call()
    finally:
        recorder.remove()
    told = [
        (name, len(read), len(made), scalars) for name, read, made, _, _, scalars, _ in recorder.graph()["operations"]
    ]
    recorder.arrays()
    return output, told


@pytest.fixture(params=["fused", "in parts"])
def backend(request):
    """Whether a CPU does attention in one operation, or in float64 what a GPU does."""
    before = torch.backends.cuda.flash_sdp_enabled()
    torch.backends.cuda.enable_flash_sdp(request.param == "fused")
    yield
    torch.backends.cuda.enable_flash_sdp(before)


def test_attention_is_one_operation_however_it_is_done_and_however_it_is_asked_for(backend, tmp_path):
    asked = (
        lambda: F.scaled_dot_product_attention(QUERY, KEY, VALUE),
        lambda: F.scaled_dot_product_attention(QUERY, KEY, value=VALUE, attn_mask=None, scale=8**-0.5, is_causal=False),
    )
    for call in asked:
        output, told = recorded(tmp_path, call)
        assert told == [
            ("aten.scaled_dot_product_attention.default", 3, 1, [None, 0.0, False, 1 / math.sqrt(8), False])
        ]
        torch.testing.assert_close(output, call(), rtol=1e-13, atol=0)


def test_a_mask_is_read_and_what_follows_is_recorded_again(backend, tmp_path):
    mask = torch.ones(7, 7, dtype=torch.bool).tril()
    _, told = recorded(tmp_path, lambda: F.scaled_dot_product_attention(QUERY, KEY, VALUE, mask) + 1)
    assert [name for name, *_ in told] == ["aten.scaled_dot_product_attention.default", "aten.add.Tensor"]
    assert told[0][1] == 4


def test_what_attention_reads_and_gives_can_be_replaced(backend, tmp_path):
    def call():
        return F.scaled_dot_product_attention(QUERY, KEY, VALUE)

    zeros = torch.zeros_like(VALUE)
    fed, _ = recorded(tmp_path, call, Plan(feed={(0, 2): zeros}))
    given, _ = recorded(tmp_path, call, Plan(replace={3: torch.ones_like(VALUE)}))
    assert not fed.any()
    assert (given == 1).all()


def test_attention_that_raises_leaves_what_follows_recorded(tmp_path):
    def call():
        with pytest.raises(RuntimeError):
            F.scaled_dot_product_attention(QUERY, WEIGHT[:3].expand(2, 3, 7, 3), VALUE)
        return QUERY + 1

    assert recorded(tmp_path, call)[1][-1][0] == "aten.add.Tensor"


def test_gradients_reach_what_attention_reads(backend, tmp_path):
    query = QUERY.clone().requires_grad_()
    output, _ = recorded(tmp_path, lambda: F.scaled_dot_product_attention(query, KEY, VALUE))
    (found,) = torch.autograd.grad(output.square().sum(), query)
    (wanted,) = torch.autograd.grad(F.scaled_dot_product_attention(query, KEY, VALUE).square().sum(), query)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)


def test_attention_under_a_transform_is_seen_where_it_is_plain(tmp_path):
    call = torch.vmap(F.scaled_dot_product_attention)
    output, told = recorded(tmp_path, lambda: call(QUERY, KEY, VALUE))
    torch.testing.assert_close(output, F.scaled_dot_product_attention(QUERY, KEY, VALUE), rtol=1e-12, atol=1e-15)
    assert told


NORMS = {
    "functional": lambda x: F.rms_norm(x, (8,), WEIGHT.to(x.dtype), 1e-3),
    "torch": lambda x: torch.rms_norm(x, [8], WEIGHT.to(x.dtype), 1e-3),
    "plain": lambda x: F.rms_norm(x, (7, 8)),
    "module": nn.RMSNorm(8, eps=1e-3, dtype=torch.float64),
}


@pytest.mark.parametrize("name", list(NORMS))
def test_an_rms_norm_in_float64_is_done_in_its_parts(name, tmp_path):
    output, told = recorded(tmp_path, lambda: NORMS[name](QUERY))
    torch.testing.assert_close(output, NORMS[name](QUERY), rtol=1e-13, atol=1e-15)
    steps = [n.split(".")[1] for n, *_ in told]
    assert steps == ["pow", "mean", "add_", "rsqrt", "mul", "mul"][: 5 if name == "plain" else 6]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_an_rms_norm_whose_rounding_counts_stays_what_it_is(dtype, tmp_path):
    x = QUERY.to(dtype)
    output, _ = recorded(tmp_path, lambda: NORMS["functional"](x))
    assert torch.equal(output, NORMS["functional"](x))


@pytest.mark.parametrize("shape", [(4,), ()], ids=str)
def test_what_torch_refuses_of_an_rms_norm_is_refused(shape, tmp_path):
    with pytest.raises(RuntimeError):
        recorded(tmp_path, lambda: F.rms_norm(QUERY, shape))


def test_attention_of_several_heads_holds_the_one_operation(backend, tmp_path):
    attention = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64).eval()
    x = QUERY[0]
    output, told = recorded(tmp_path, lambda: attention(x, x, x, need_weights=False)[0])
    names = [name for name, *_ in told]
    assert names.count("aten.scaled_dot_product_attention.default") == 1
    assert not any("softmax" in name or "_scaled_dot" in name for name in names)
    torch.testing.assert_close(output, attention(x, x, x, need_weights=False)[0], rtol=1e-12, atol=1e-15)
    assert F.scaled_dot_product_attention is torch._C._nn.scaled_dot_product_attention


class Doubling(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        given = super().__torch_function__(func, types, args, kwargs or {})
        return given * 2 if func is F.scaled_dot_product_attention else given


def test_a_tensor_that_does_attention_in_its_own_way_goes_on_doing_so(tmp_path):
    query = QUERY.as_subclass(Doubling)
    output, _ = recorded(tmp_path, lambda: F.scaled_dot_product_attention(query, KEY, VALUE))
    plain = F.scaled_dot_product_attention(QUERY, KEY, VALUE)
    torch.testing.assert_close(
        output.as_subclass(torch.Tensor), F.scaled_dot_product_attention(query, KEY, VALUE).as_subclass(torch.Tensor)
    )
    assert not torch.allclose(output.as_subclass(torch.Tensor), plain)
