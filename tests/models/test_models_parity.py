# SPDX-License-Identifier: Apache-2.0
"""The two implementations are one function: float64, shared weights in generic position."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Both sides take cos and sin from the same float32 phases, so nothing narrower than float64 separates them. Measured
# differences are near 1e-14; a float32 step anywhere would show as 1e-8.
TOLERANCE = 1e-12


def draw(*shape, seed=7):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def indices(*shape, below, seed=3):
    return torch.randint(below, shape, generator=torch.Generator().manual_seed(seed))


VIDEO = (2, 3, 3, 4, 6)  # 3 frames of 2 x 3 patches of side 2: 18 patches
CASES = {
    "image": (draw(2, 3, 6, 6), None),
    "non-square": (draw(1, 3, 4, 10), None),
    "prime grid": (draw(1, 3, 14, 10), None),
    "constant": (torch.full((1, 3, 6, 8), 0.5, dtype=torch.float64), None),
    "faint": (draw(1, 3, 6, 8) * 1e-3, None),
    "video": (draw(*VIDEO), None),
    "video of one frame": (draw(2, 3, 1, 4, 6), None),
    "sorted subset": (draw(*VIDEO), torch.tensor([[0, 4, 7, 17], [1, 2, 15, 16]])),
    "permutation": (draw(*VIDEO), torch.stack([torch.arange(18).flip(0), torch.arange(18).roll(5)])),
    "duplicates": (draw(*VIDEO), torch.tensor([[5, 5, 5, 2], [17, 0, 17, 0]])),
    "one row for all": (draw(*VIDEO), torch.tensor([[8, 1, 11]]).expand(2, -1)),
    "image subset": (draw(2, 3, 6, 8), indices(2, 5, below=12)),
    "residual, all kept": (draw(*VIDEO), draw(2, 1, 3, 4, 6, seed=9)),
    "residual of an image": (draw(2, 3, 4, 6), draw(2, 1, 1, 4, 6, seed=9)),
    "residual, bytes": (draw(*VIDEO), indices(2, 1, 3, 4, 6, below=256).to(torch.uint8)),
}
OUTPUTS = {"output_hidden_states": True, "output_attentions": True}


def assert_same(hub, factory, where=""):
    assert type(hub) is type(factory), where
    if isinstance(hub, dict):
        assert list(hub.keys()) == list(factory.keys()), where
        hub, factory = hub.to_tuple(), factory.to_tuple()
    if isinstance(hub, tuple):
        assert len(hub) == len(factory) > 0, where
        for index, (one, other) in enumerate(zip(hub, factory, strict=True)):
            assert_same(one, other, f"{where}[{index}]")
        return
    assert (hub.dtype, hub.shape) == (factory.dtype, factory.shape), where
    assert 0 < hub.abs().max() < float("inf"), where
    worst = ((hub - factory).abs().max() / hub.abs().max()).item()
    assert worst <= TOLERANCE, f"{where}: relative difference {worst:.1e}"


@pytest.fixture(scope="module", params=["layer_norm", "rms_norm"])
def norm(request):
    return request.param


@pytest.fixture(scope="module", params=[True, False], ids=["head", "no head"])
def models(request, pair, norm):
    return pair(layer_norm_type=norm, use_head=request.param, rope_theta=500.0, layer_norm_eps=1e-3)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_outputs_agree(models, case, backend):
    pixels, visible = CASES[case]
    for model in vars(models).values():
        model.config._attn_implementation = backend
    hub, factory = (
        model(pixels, visible, output_hidden_states=True, output_attentions=backend == "eager")
        for model in vars(models).values()
    )
    assert_same(hub, factory)
    assert len(hub.hidden_states) == 3
    assert (hub.pooler_output is not None) == models.hub.config.use_head


@torch.no_grad()
def test_the_norm_after_the_encoder_is_not_in_the_hidden_states(models):
    for model in vars(models).values():
        output = model(*CASES["image"], output_hidden_states=True)
        raw = torch.equal(output.last_hidden_state, output.hidden_states[-1])
        assert raw == (not model.config.use_head)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 92, 94), (3, 54, 56)])
@torch.no_grad()
def test_residual_video_beyond_the_limit(pair, frames, height, width):
    models = pair(num_hidden_layers=1)
    pixels, residual = draw(1, 3, frames, height, width), draw(1, 1, frames, height, width, seed=9)
    assert frames * height * width // 4 > 2048
    hub, factory = (model(pixels, residual) for model in vars(models).values())
    assert hub.last_hidden_state.shape == (1, 2048, 64)
    assert_same(hub, factory)


@torch.no_grad()
def test_tuple_output_drops_what_was_not_asked_for(models):
    head = models.hub.config.use_head
    for flags, fields in (({}, 1 + head), ({"output_hidden_states": True}, 2 + head), (OUTPUTS, 3 + head)):
        hub, factory = (model(*CASES["video"], return_dict=False, **flags) for model in vars(models).values())
        assert len(hub) == fields
        assert_same(hub, factory)


@torch.no_grad()
def test_configured_outputs_are_honoured(pair):
    models = pair(output_hidden_states=True, return_dict=False)
    hub, factory = (model(*CASES["image"]) for model in vars(models).values())
    assert len(hub) == 3
    assert_same(hub, factory)


def test_gradients_agree(models):
    grads = []
    for model in vars(models).values():
        model.zero_grad()
        pixels = CASES["duplicates"][0].clone().requires_grad_()
        output = model(pixels, CASES["duplicates"][1])
        target = output.last_hidden_state if output.pooler_output is None else output.pooler_output
        (target * draw(*target.shape)).sum().backward()
        grads.append((pixels.grad, *(p.grad for _, p in model.named_parameters() if p.grad.abs().max() > 1e-12)))
    # The only weight without influence is the key bias of the pooling head, which shares a tensor with others.
    assert len(grads[0]) == 1 + len(list(models.hub.parameters()))
    assert_same(*grads)


def test_dropout_draws_the_same_mask(pair):
    models = pair(attention_dropout=0.5, attn_implementation="eager")
    outputs = []
    for model in vars(models).values():
        model.train()
        torch.manual_seed(1)
        outputs.append(model(*CASES["video"], **OUTPUTS))
        model.eval()
    assert_same(*outputs)
    assert (outputs[0].attentions[0] == 0).any()
    assert not torch.equal(models.hub(*CASES["video"]).pooler_output, outputs[0].pooler_output)


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@torch.no_grad()
def test_no_dropout_outside_training(pair, backend):
    plain = pair(attn_implementation=backend)
    dropped = pair(attn_implementation=backend, attention_dropout=0.5)
    for name, model in vars(dropped).items():
        assert torch.equal(model(*CASES["image"]).pooler_output, getattr(plain, name)(*CASES["image"]).pooler_output)
        model.train()
        assert not torch.equal(model(*CASES["image"]).pooler_output, model(*CASES["image"]).pooler_output)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@torch.no_grad()
def test_half_precision_errs_alike(pair, norm, dtype, backend):
    models = pair(layer_norm_type=norm, attn_implementation=backend)
    pixels, visible = CASES["sorted subset"]
    for model in vars(models).values():
        model.to(dtype)
    exact = pair(layer_norm_type=norm)
    exact.hub.load_state_dict(models.hub.state_dict())  # the rounded weights, in float64
    truth = exact.hub(pixels.to(dtype).double(), visible).pooler_output
    errors = [(model(pixels, visible).pooler_output.double() - truth).norm() for model in vars(models).values()]
    assert 0.5 < errors[0] / errors[1] < 2.0
    assert errors[0] / truth.norm() < 0.1


@torch.no_grad()
def test_meta_device(side, build):
    with torch.device("meta"):
        model = build(side)
        assert model(torch.empty(1, 3, 4, 4)).pooler_output.is_meta
    assert {t.device.type for t in (*model.parameters(), *model.buffers())} == {"meta"}


class ReadsBack(TorchDispatchMode):
    """Notes operations that would make the host wait for an accelerator."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in (
            "_local_scalar_dense",
            "nonzero",
            "masked_select",
            "unique_dim",
            "_unique2",
        ):
            self.seen.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("case", ["image", "video", "permutation", "residual, all kept"])
@torch.no_grad()
def test_forward_never_waits_for_the_device(models, case):
    for model in vars(models).values():
        with ReadsBack() as mode:
            model(*CASES[case], output_hidden_states=True, output_attentions=True)
        assert mode.seen == []


@torch.no_grad()
def test_compiles_to_one_graph(side, build):
    model = build(side, use_head=True)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for name in ("video", "permutation", "residual, all kept"):
        pixels, visible = CASES[name]
        assert torch.equal(compiled(pixels, visible).pooler_output, model(pixels, visible).pooler_output)
