"""The same draws whoever asks for them and however; and again where activations are computed again."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from verify.observer.randomness import Injected


def drawn(make, seed=0):
    with Injected(seed, "/nowhere") as mode:
        result = make()
    return result, mode.draws


def test_every_way_to_drop_drops_the_same():
    x = torch.ones(4, 6, dtype=torch.float64)
    ways = [
        lambda: F.dropout(x, 0.25),
        lambda: x * torch.empty_like(x).bernoulli_(0.75) / 0.75,
        lambda: x * torch.bernoulli(torch.full_like(x, 0.75)) / 0.75,
        lambda: x * (torch.rand_like(x) + 0.75).floor() / 0.75,
        lambda: x * (torch.empty_like(x).uniform_() + 0.75).floor() / 0.75,
    ]
    results = [drawn(way)[0] for way in ways]
    assert 0 < int((results[0] == 0).sum()) < 24
    assert all(torch.allclose(results[0], other, rtol=1e-15) for other in results[1:])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])  # 0.5 is what the operation itself would take
def test_every_rate_is_heeded(rate):
    x = torch.ones(4000, dtype=torch.float64)
    kept, draws = drawn(lambda: F.dropout(x, rate))
    assert [d["keep"] for d in draws] in ([pytest.approx(1 - rate)], [])
    assert (kept != 0).double().mean() == pytest.approx(1 - rate, abs=0.03)


def test_draws_are_told_with_size_and_probability():
    _, draws = drawn(lambda: (F.dropout(torch.ones(3, 5), 0.25), torch.rand(7)))
    assert [(d["size"], d["keep"]) for d in draws] == [(15, 0.75), (7, None)]


def test_order_between_sizes_does_not_matter_and_places_of_one_size_differ():
    (a, b), _ = drawn(lambda: (torch.rand(3), torch.rand(4)))
    (d, c), _ = drawn(lambda: (torch.rand(4), torch.rand(3)))
    assert torch.equal(a, c)
    assert torch.equal(b, d)
    (one, two), _ = drawn(lambda: (torch.rand(4), torch.rand(4)))
    assert not torch.equal(one, two)


def test_another_seed_draws_otherwise():
    assert not torch.equal(drawn(lambda: torch.rand(9))[0], drawn(lambda: torch.rand(9), seed=1)[0])


@pytest.mark.parametrize(
    ("make", "mean", "spread"), [(lambda: torch.randn(20_000), 0, 1), (lambda: torch.empty(20_000).normal_(3, 2), 3, 2)]
)
def test_normal_draws_are_normal(make, mean, spread):
    x = drawn(make)[0].double()
    assert abs(x.mean() - mean) < 0.05 * spread
    assert abs(x.std() - spread) < 0.05 * spread
    assert abs((x - mean).abs().lt(spread).double().mean() - 0.6827) < 0.02


def test_what_is_computed_again_draws_the_same_again():
    x = torch.ones(50, dtype=torch.float64, requires_grad=True)

    def gradient(again):
        step = (
            (lambda v: checkpoint(lambda u: F.dropout(u, 0.5) * u, v, use_reentrant=False))
            if again
            else (lambda v: F.dropout(v, 0.5) * v)
        )
        return drawn(lambda: torch.autograd.grad((step(x) * step(x)).sum(), x)[0])[0]

    assert torch.equal(gradient(False), gradient(True))


def test_what_forgets_the_generators_state_draws_others():
    x = torch.ones(50, dtype=torch.float64, requires_grad=True)

    def forgets():
        y = checkpoint(lambda u: F.dropout(u, 0.5) * u, x, use_reentrant=False, preserve_rng_state=False)
        return torch.autograd.grad(y.sum(), x)[0]

    def keeps():
        return torch.autograd.grad((F.dropout(x, 0.5) * x).sum(), x)[0]

    assert not torch.equal(drawn(forgets)[0], drawn(keeps)[0])


def test_dropout_in_eval_draws_nothing():
    x = torch.ones(5)
    result, draws = drawn(lambda: F.dropout(x, 0.5, training=False))
    assert torch.equal(result, x)
    assert draws == []


def test_an_unknown_random_operation_is_seeded_and_told():
    first, draws = drawn(lambda: torch.randperm(40))
    assert torch.equal(first, drawn(lambda: torch.randperm(40))[0])
    assert [d["op"] for d in draws] == ["randperm"]


WRITTEN_OUT = {
    "at least": lambda x, p: x * (torch.rand_like(x) >= p),
    "less, divided": lambda x, p: (torch.rand_like(x) < 1 - p) / (1 - p) * x,
    "less, copied": lambda x, p: (torch.rand_like(x) < 1 - p).float().mul_(x),
    "at most": lambda x, p: x * torch.rand_like(x).le(1 - p).to(x.dtype),
    "not less": lambda x, p: x * ~(torch.rand_like(x) < p),
    "one less": lambda x, p: x * (1 - (torch.rand_like(x) < p).to(x.dtype)),
    "not, twice": lambda x, p: x.masked_fill(~(torch.rand_like(x) < 1 - p), 0.0),
    "a tensor is more": lambda x, p: x * (torch.tensor(1 - p) > torch.rand_like(x)),
    "a full tensor is more": lambda x, p: x * (torch.full_like(x, 1 - p) > torch.rand_like(x)),
    "of another dtype": lambda x, p: x * (torch.rand_like(x).float() < 1 - p),
    "filled": lambda x, p: x.masked_fill(torch.rand_like(x) < p, 0.0),
    "filled in place": lambda x, p: x.clone().masked_fill_(torch.rand_like(x) > 1 - p, 0.0),
    "where more": lambda x, p: torch.where(torch.rand_like(x) > 1 - p, 0.0, 1 / (1 - p)),
    "where less": lambda x, p: torch.where(torch.rand_like(x) < 1 - p, x, 0.0),
    "in place less": lambda x, p: x * torch.rand_like(x).lt_(1 - p) / (1 - p),
    "in place at most, scaled in place": lambda x, p: x * torch.rand_like(x).le_(1 - p).div_(1 - p),
    "in place at least": lambda x, p: torch.rand_like(x).ge_(p).mul_(x),
    "in place, drawn in place": lambda x, p: x * torch.empty_like(x).uniform_().gt_(p),
    "in place, one less": lambda x, p: x * (1 - torch.rand_like(x).lt_(p)),
    "in place, filled": lambda x, p: x.masked_fill(torch.rand_like(x).lt_(p).bool(), 0.0),
    "in place, a tensor is more": lambda x, p: x * torch.full_like(x, 1 - p).gt_(torch.rand_like(x)),
    "rounded down": lambda x, p: x * (torch.rand_like(x) + (1 - p)).floor() / (1 - p),
    "rounded down in place": lambda x, p: x * torch.rand_like(x).add_(1 - p).floor_(),
    "rounded down, one less": lambda x, p: x * (1 - (torch.rand_like(x) + p).floor()),
    "rounded down, not": lambda x, p: x * ~(p + torch.rand_like(x)).floor_().bool(),
    "rounded down, filled": lambda x, p: x.masked_fill((torch.rand_like(x) + p).floor().bool(), 0.0),
}


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.6, 0.75])
@pytest.mark.parametrize("way", WRITTEN_OUT)
def test_a_mask_that_is_written_out_drops_what_the_library_drops(way, rate):
    x = torch.ones(1000, dtype=torch.float64)
    kept = drawn(lambda: F.dropout(x, rate))[0] != 0
    assert torch.equal(drawn(lambda: WRITTEN_OUT[way](x, rate))[0] != 0, kept)
    assert not torch.equal(drawn(lambda: WRITTEN_OUT[way](x, rate + 0.05))[0] != 0, kept)
    with Injected(0, "/nowhere", even=True):
        assert bool((WRITTEN_OUT[way](x, rate) != 0).all())


@pytest.mark.parametrize(
    "make",
    [
        lambda x: (torch.rand_like(x) * 0.5).lt_(0.75),
        lambda x: torch.rand_like(x).mul_(0.5).lt_(0.375),
        lambda x: torch.rand_like(x).mul_(0.5) < 0.625,
        lambda x: torch.rand_like(x).mul_(0.5).add_(0.75).floor_(),
        lambda x: (torch.rand_like(x) + 0.25).mul_(2.0).floor_(),
        lambda x: torch.rand_like(x).add_(1.25).floor_(),
        lambda x: torch.rand_like(x) + 0.25,
        lambda x: torch.rand_like(x).lt_(1.5),
    ],
)
def test_other_arithmetic_of_uniform_numbers_is_done_as_it_is(make):
    x = torch.empty(1000, dtype=torch.float64)
    uniform, _ = drawn(lambda: torch.rand_like(x))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch, "rand_like", lambda _: uniform.clone())
        expected = make(x)
    assert torch.equal(drawn(lambda: make(x))[0], expected)


def test_what_is_drawn_for_inference_alone_is_drawn_too():
    def inference():
        with torch.inference_mode():
            return torch.rand(9), torch.rand(9) < 0.75

    values, mask = drawn(inference)[0]
    assert torch.equal(values, drawn(lambda: torch.rand(9))[0])
    assert mask.dtype == torch.bool
