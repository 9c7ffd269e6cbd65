"""initialisation: the statistics of the observer, and the comparison of two of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from verify.checks import initialisation
from verify.observer.initialisation import described, digest
from verify.report import Verdict

Draw = Callable[[torch.Generator, int], torch.Tensor]


def normal(std: float = 0.02, mean: float = 0.0) -> Draw:
    return lambda random, size: torch.empty(size).normal_(mean, std, generator=random)


def uniform(width: float) -> Draw:
    return lambda random, size: torch.empty(size).uniform_(-width, width, generator=random)


def laplace(random: torch.Generator, size: int) -> torch.Tensor:
    x = torch.rand(size, generator=random) - 0.5
    return -0.02 * x.sign() * torch.log1p(-2 * x.abs())


def sparse(share: float) -> Draw:
    return lambda random, size: normal()(random, size) * (torch.rand(size, generator=random) > share)


def constant(value: float) -> Draw:
    return lambda random, size: torch.full((size,), value)


@pytest.fixture
def compare(job, traces):
    def run(left: torch.Tensor, right: torch.Tensor, steady: bool = True):
        sides = []
        for tensor in (left, right):
            constant = steady and bool((tensor == tensor.flatten()[0]).all())
            again = described(tensor, None)["digest"] if constant else "another"
            about: dict[str, Any] = {"name": "w", "shape": list(tensor.shape), "dtype": "float32"}
            parameter = {**about, **described(tensor, again)}
            sides.append({"initialisation": {"parameters": [parameter], "modules": [], "location": None}})
        (outcome,) = initialisation.compare(job(), *traces(*sides))
        return outcome

    return run


@pytest.mark.parametrize(
    ("left", "right", "size", "what"),
    [
        (normal(), normal(0.03), 256, "spread"),
        (normal(), normal(0.021), 65_536, "spread"),
        (normal(), normal(mean=0.02), 1024, "mean"),
        (normal(), uniform(0.02 * 3**0.5), 4096, "kurtosis"),
        (normal(), sparse(0.1), 4096, "zeros"),
        (constant(0.0), constant(1e-5), 4, "value"),
        (constant(1.0), constant(2.0), 1, "value"),
        (constant(0.1), normal(), 8, "spread"),
        (normal(), constant(float("nan")), 8, "kind"),
    ],
)
def test_another_distribution_is_found(compare, left, right, size, what):
    random = torch.Generator().manual_seed(0)
    outcome = compare(left(random, size), right(random, size))
    assert outcome.verdict == Verdict.DIFFERENT
    assert {f.details["what"] for f in outcome.findings} & {what, "spread"}


@pytest.mark.parametrize("size", [1, 2, 64, 65, 1024, 20_000])
@pytest.mark.parametrize("draw", [normal(), uniform(0.1), laplace, sparse(0.3), constant(0.1)])
def test_another_draw_of_one_distribution_is_equal(compare, draw, size):
    random = torch.Generator().manual_seed(size)
    for _ in range(20):
        outcome = compare(draw(random, size), draw(random, size), steady=False)
        assert outcome.findings == []
        assert (outcome.compared, outcome.skipped) in ([(1, False)] if size >= 64 else [(1, False), (0, True)])


def drawn(seed: int, *shape: int, fill: str = "normal_", **limits: float) -> torch.Tensor:
    return getattr(torch.empty(shape), fill)(generator=torch.Generator().manual_seed(seed), **limits)


def changed(tensor: torch.Tensor, change: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    change(tensor)
    return tensor


def initialised(init: Callable[..., torch.Tensor], *shape: int, **limits: float) -> torch.Tensor:
    """What one of torch's initialisations makes, which draw from the one generator that all share."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return init(torch.empty(shape), **limits)


SQUARE = (128, 128)


@pytest.mark.parametrize(
    ("left", "right", "what"),
    [
        (
            drawn(0, *SQUARE, fill="uniform_"),
            changed(drawn(1, *SQUARE, fill="uniform_"), lambda x: x[0, :1].fill_(3.0)),
            "largest",
        ),
        (drawn(0, 256, 256), initialised(torch.nn.init.trunc_normal_, 256, 256, a=-3.0, b=3.0), "largest"),
        (drawn(0, *SQUARE), changed(drawn(1, *SQUARE), lambda x: x[:60, 0].fill_(1.0)), "ones"),
        (drawn(0, *SQUARE), changed(drawn(1, *SQUARE), lambda x: x[:64].copy_(x[64:].clone())), "repeats"),
        (drawn(0, *SQUARE), initialised(torch.nn.init.orthogonal_, *SQUARE) * 128**0.5, "rows"),
    ],
)
def test_what_moments_do_not_show_is_found(compare, left, right, what):
    for sides in ((left, right), (right, left)):
        (finding,) = compare(*sides, steady=False).findings
        assert finding.details["what"] == what


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: drawn(seed, 64, 300),
        lambda seed: drawn(seed, 300, 64, fill="uniform_"),
        lambda seed: drawn(seed, 64, 64, fill="log_normal_"),
        lambda seed: drawn(seed, 64, 64).bfloat16().float(),
        lambda seed: drawn(seed, 64, 64).clamp(-1, 1),
        lambda seed: drawn(seed, 64, 64).mul(5).round(),
        lambda seed: drawn(seed, 8, 16) * torch.logspace(-3, 0, 8)[:, None],
        lambda seed: drawn(seed, 64, 4, 4, 4) + 1,
        lambda seed: torch.linalg.qr(drawn(seed, 96, 96))[0],
    ],
)
def test_another_draw_of_one_structure_is_equal(compare, make):
    for seed in range(20):
        assert compare(make(seed), make(seed + 1000), steady=False).findings == []


def test_what_cannot_be_judged_does_not_count_and_is_told(compare):
    random = torch.Generator().manual_seed(0)
    few = compare(normal()(random, 8), normal()(random, 8), steady=False)
    assert (few.compared, few.skipped) == (0, True)
    assert few.reason.startswith("1 parameters differ in size, hold too few drawn values")
    sizes = compare(normal()(random, 800), normal()(random, 900), steady=False)
    assert (sizes.compared, sizes.skipped) == (0, True)


def test_values_that_are_equal_to_the_bit_need_no_statistics(compare):
    odd = torch.tensor([0.0, float("inf"), float("nan")])
    assert compare(odd, odd.clone()).verdict == Verdict.EQUAL


def test_a_constant_is_one_whatever_its_sum_rounds_to():
    found = described(torch.full((1000,), 0.1), None)
    assert described(torch.full((1000,), 0.1), found["digest"])["steady"]
    assert found["lowest"] == found["highest"]
    assert not described(torch.full((1000,), 0.1), "another")["steady"]


@pytest.fixture
def tabled(job, traces):
    """The outcome for one parameter that no seed changes, unless a side's is drawn."""

    def run(left: torch.Tensor, right: torch.Tensor, drawn: bool = False, **changes: Any):
        sides = []
        for name, tensor, again in (("a", left, False), ("c" if changes else "a", right, drawn)):
            about = {"name": name, "shape": list(tensor.shape), "dtype": "float32"}
            parameter = {**about, **described(tensor, "another" if again else digest(tensor))}
            answer = {"parameters": [parameter], "modules": [], "location": None}
            sides.append({"initialisation": (answer, {} if again else {name: tensor.numpy()})})
        (outcome,) = initialisation.compare(job(**changes), *traces(*sides))
        return outcome

    return run


ANGLES = torch.arange(16.0)[:, None] * 10_000 ** -(torch.arange(8.0) / 8)


def test_a_table_that_no_seed_changes_is_compared_by_value(tabled):
    halves, turns = torch.cat([ANGLES.sin(), ANGLES.cos()], 1), torch.stack([ANGLES.sin(), ANGLES.cos()], 2).flatten(1)
    outcome = tabled(halves, turns)  # of one mean, spread and shape
    assert [(f.subject, f.verdict) for f in outcome.findings] == [("a", Verdict.DIFFERENT)]
    rounded = tabled(halves, halves + 2.0**-23)
    assert (rounded.verdict, rounded.compared) == (Verdict.EQUAL, 1)
    rules = [{"candidate": "c", "reference": "a", "transpose": True}]
    assert tabled(halves, halves.T.contiguous() + 2.0**-23, mapping={"parameters": rules}).verdict == Verdict.EQUAL


def test_a_table_is_no_drawn_parameter(tabled):
    random = torch.Generator().manual_seed(0)
    table = normal()(random, 4096)
    (finding,) = tabled(table, normal()(random, 4096), drawn=True).findings
    assert (finding.measured, finding.allowed) == ("drawn", "not drawn")


def test_empty_and_complex_parameters_aredescribed():
    assert described(torch.empty(0), None)["count"] == 0
    assert described(torch.zeros(3, dtype=torch.complex64), None)["zeros"] == 6


def test_the_mapping_aligns_names_and_passes_over_what_is_joined(job, traces):
    def side(**values: torch.Tensor) -> dict[str, Any]:
        parameters = [
            {"name": n, "shape": list(v.shape), "dtype": "float32", **described(v, described(v, None)["digest"])}
            for n, v in values.items()
        ]
        return {"initialisation": {"parameters": parameters, "modules": [], "location": None}}

    rules = [{"candidate": "c", "reference": "a", "transpose": True}, {"candidate": "qk", "reference": ["q", "k"]}]
    left = side(a=torch.zeros(4, 2), q=torch.zeros(2, 2), k=torch.zeros(2, 2))
    right = side(c=torch.ones(2, 4), qk=torch.ones(4, 2))
    (outcome,) = initialisation.compare(job(mapping={"parameters": rules}), *traces(left, right))
    assert [f.subject for f in outcome.findings] == ["a"]
    assert outcome.compared == 1
