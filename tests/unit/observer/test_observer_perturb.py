"""Each fault of a live module changes what it says, and leaves names, attributes and classes as they were."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from verify.observer import perturb, reached
from verify.selftest.modules import HARMLESS
from verify.selftest.run import LIVE_KINDS


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.batch = nn.BatchNorm1d(4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x + self.second(self.first(x).sin())
        return self.dropout(self.batch(self.norm(y)))


X = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def whole():
    yield
    nn.Module.__call__ = perturb._original


def told(model: nn.Module) -> tuple:
    """What looks at a model can see of it."""
    modules = [(path, type(m), sorted(vars(m))) for path, m in model.named_modules()]
    return modules, [n for n, _ in model.named_parameters()], model.state_dict().keys()


def outcomes(model: Model) -> list[torch.Tensor | None]:
    """Outputs in eval mode, twice, in train mode, buffers after it, and gradients."""
    model.eval()
    x = X.to(model.first.weight.dtype).clone().requires_grad_()
    found: list[torch.Tensor | None] = [model(x), model(x)]
    (found[0] * torch.arange(12).view(3, 4)).sum().backward()  # type: ignore[operator]
    found += [x.grad, *(p.grad for p in model.parameters())]
    torch.manual_seed(2)
    found.append(model.train()(x.detach()))
    return [*found, *model.buffers()]


def same(a: list[torch.Tensor | None], b: list[torch.Tensor | None]) -> bool:
    return all((x is None) == (y is None) and (x is None or bool(torch.equal(x, y))) for x, y in zip(a, b, strict=True))


OPEN = {"setting-changed", "buffer-persistence", "parameters-tied", "parameter-untied", "parameter-frozen-live"}
PLACES = {
    "modules-swapped": {"path": "second", "other": "first"},
    "layer-shared": {"path": "second", "other": "first"},
    "always-evaluating": {"path": ""},
    "always-training": {"path": ""},
    "setting-hidden": {"path": "norm", "name": "eps", "value": 0.1},
    "buffer-coarse": {"path": "batch", "name": "running_var"},
    "buffer-scaled": {"path": "batch", "name": "running_var"},
    "buffer-reversed": {"path": "batch", "name": "running_var"},
    "buffer-hidden": {"path": "batch", "name": "running_var"},
    "buffer-drifts": {"path": "batch", "name": "running_var"},
}


@pytest.mark.parametrize("kind", sorted(set(LIVE_KINDS) - OPEN - {"output-positions-rolled"}))
def test_a_hidden_fault_moves_numbers_and_nothing_else(kind):
    plain, faulty = Model(), Model()
    for model in (plain, faulty):
        model.batch.running_var.copy_(torch.tensor([0.3, 0.7, 1.1, 1.9]))
    name = {"name": "weight"} if kind.startswith("parameter") else {}
    perturb.apply(faulty, {"kind": kind, "path": "first", **name, **PLACES.get(kind, {})})
    assert told(faulty) == told(plain)
    assert not same(outcomes(faulty), outcomes(plain)), kind


@pytest.mark.parametrize("kind", HARMLESS)
def test_a_harmless_change_moves_nothing(kind):
    plain, changed = Model().double(), Model().double()
    perturb.apply(changed, {"kind": kind, "path": "first"})
    assert told(changed) == told(plain)
    for a, b in zip(outcomes(changed), outcomes(plain), strict=True):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, atol=1e-12), "another layout may round otherwise"


def test_positions_are_rolled_where_there_are_some():
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer)
    x = torch.randn(2, 3, 4)
    before = model(x)
    perturb.apply(model, {"kind": "output-positions-rolled", "path": "0"})
    assert torch.equal(model(x), before.roll(1, 1))


def test_open_faults_show():
    model = Model()
    perturb.apply(model, {"kind": "setting-changed", "path": "norm", "name": "eps", "value": 0.5})
    assert model.norm.eps == 0.5
    perturb.apply(model, {"kind": "parameter-frozen-live", "path": "first", "name": "weight"})
    assert not model.first.weight.requires_grad
    perturb.apply(model, {"kind": "parameters-tied", "path": "second", "name": "weight", "other": "first.weight"})
    assert model.second.weight is model.first.weight
    perturb.apply(model, {"kind": "parameter-untied", "path": "second", "name": "weight"})
    assert model.second.weight is not model.first.weight
    perturb.apply(model, {"kind": "buffer-persistence", "path": "batch", "name": "running_var"})
    assert "batch.running_var" not in model.state_dict()


def test_a_model_without_the_place_is_left_alone():
    model = Model()
    for fault in (
        {"kind": "output-negated", "path": "third"},
        {"kind": "parameter-scaled", "path": "first", "name": "gain"},
        {"kind": "layer-shared", "path": "first", "other": "third.deep"},
    ):
        perturb.apply(model, fault)
    assert same(outcomes(model), outcomes(Model()))


def test_every_kind_that_is_chosen_can_be_made():
    assert set(LIVE_KINDS) | set(HARMLESS) == set(perturb.BY_KIND)


def test_lines_of_a_folder_that_ran_are_noted(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def f(x):\n    if x:\n        return 1\n    return 2\n")
    sys.path.insert(0, str(tmp_path))
    before = sys.gettrace(), threading.gettrace()
    try:
        reached.watch([str(tmp_path)])
        import own

        own.f(0)
    finally:
        sys.settrace(before[0])
        threading.settrace(before[1])
        sys.path.remove(str(tmp_path))
        del sys.modules["own"]

    builder = SimpleNamespace(settings={"path": str(tmp_path)})
    found = reached.observe(builder, {})
    assert [line for line in found["lines"]["own.py"] if line] == [1, 2, 4]
    assert "torch" in found["modules"]
    assert "own" not in found["modules"]
