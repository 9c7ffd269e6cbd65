"""How a side's model is named, built and filled."""

from __future__ import annotations

import re
import sys

import pytest
import torch
from torch import nn

from verify.observer.build import Builder, parameters_on_meta, resolve
from verify.observer.faults import ImportFailed, Unresolved, Unusable
from verify.weights import draw

SOURCE = """
import functools
import torch
from torch import nn

class Config:
    def __init__(self, width=4, **kw):
        self.width = width

class Model(nn.Module):
    def __init__(self, config, scale=1.0):
        super().__init__()
        self.fc = nn.Linear(config.width, config.width)
        self.tied = nn.Linear(config.width, config.width, bias=False)
        self.tied.weight = self.fc.weight
        self.norm = nn.LayerNorm(config.width)
        self.frozen = nn.Parameter(torch.zeros(3), requires_grad=False)
        self.register_buffer("table", torch.arange(3) * 0.1, persistent=False)
        self.register_buffer("count", torch.tensor(7))
        self.scale = scale

class Copies(Model):
    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("copy", self.fc.weight.detach().clone())

class Whole(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n = nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)

class Lazy(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc = nn.LazyLinear(4)

class Complex(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.c = nn.Parameter(torch.ones(2, dtype=torch.complex64))

class Reads(Model):
    def __init__(self, config):
        super().__init__(config)
        self.first = self.fc.weight[0, 0].item()

class Holds(Model):
    def __init__(self, config):
        super().__init__(config)
        self.held = [self.fc.weight, self.norm.weight, self.frozen]
        self.scaled = functools.partial(torch.mul, other=self.norm.weight)
        self.norm.weight.register_hook(lambda grad: 3 * grad)
        self.norm.weight.register_post_accumulate_grad_hook(lambda weight: setattr(weight, "seen", weight.seen + 1))
        self.norm.weight.seen = 0
        self.cells = nn.LSTM(2, 2)
        self.cells.weight_hh_l0.register_hook(lambda grad: 3 * grad)

class Keeps(Model):
    def __init__(self, config):
        super().__init__(config)
        self.kept = torch.ones_like(self.fc.weight)

def make(width=4, extra=0):
    return Model(Config(width), scale=extra)

def nothing(config):
    return "no module"

def broken(config):
    raise RuntimeError("boom")
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with a package `unit_toy`, importable for the length of a test."""
    folder = tmp_path / "unit_toy"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "model.py").write_text(SOURCE)
    (folder / "lacks.py").write_text("import no_such_package_at_all\n")
    (folder / "breaks.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] == "unit_toy"]:
        del sys.modules[name]


@pytest.fixture
def builder(project):
    def make(name="Model", config="Config", **changes):
        settings = {
            "role": "candidate", "path": str(project), "seed": 0, "device": "cpu", "scratch": str(project), "kwargs": {},
            "renames": {"config": {}, "inputs": {}}, "config": config and f"unit_toy.model:{config}", "model": f"unit_toy.model:{name}", "factory": None,
        }  # fmt: skip
        return Builder({**settings, **changes})

    return make


def test_a_target_is_found(project):
    assert resolve("unit_toy.model:Model", str(project), "k").__name__ == "Model"
    assert resolve("unit_toy.model:Model.forward", str(project), "k") is nn.Module.forward


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("unit_toy.modle:Model", "there is no module 'unit_toy.modle'.*did you mean 'model'"),
        ("unit_tyo.model:Model", "there is no module 'unit_tyo'.*did you mean 'unit_toy'"),
        ("unit_toy.model:Modle", "unit_toy.model has no 'Modle'; did you mean 'Model'"),
        ("unit_toy.model:Model.forwrd", "has no 'Model.forwrd'; did you mean 'forward'"),
    ],
)
def test_a_wrong_target_is_told_with_the_nearest(project, target, told):
    with pytest.raises(Unresolved, match="candidate") as error:
        resolve(target, str(project), "candidate.model")
    assert re.search(told, str(error.value))


@pytest.mark.parametrize(("module", "cause"), [("lacks", ModuleNotFoundError), ("breaks", ZeroDivisionError)])
def test_a_module_that_raises_is_no_wrong_target(project, module, cause):
    with pytest.raises(ImportFailed) as error:
        resolve(f"unit_toy.{module}:X", str(project), "k")
    assert isinstance(error.value.__cause__, cause)


def test_an_outline_has_parameters_on_meta_and_real_buffers(builder):
    model, note = builder().outline({})
    assert note == ""
    assert all(p.is_meta for p in model.parameters())
    assert model.table.tolist() == pytest.approx([0, 0.1, 0.2])
    assert model.tied.weight is model.fc.weight
    assert not model.frozen.requires_grad
    assert nn.Linear(2, 2).weight.device.type == "cpu"


@pytest.mark.parametrize(
    ("name", "told"), [("Copies", "a buffer was computed"), ("Keeps", "a buffer was computed"), ("Reads", "item")]
)
def test_a_model_that_reads_its_parameters_is_built_with_real_ones(builder, name, told):
    model, note = builder(name).outline({})
    assert not any(p.is_meta for p in model.parameters())
    assert note.startswith("built with real parameters (")
    assert re.search(told, note)


@pytest.mark.parametrize(("arithmetic", "dtype"), [("fp64", torch.float64), ("fp32", torch.float32)])
def test_a_built_model_holds_drawn_weights(builder, arithmetic, dtype):
    built = builder().built({"width": 4}, arithmetic)
    assert built.exact == (arithmetic == "fp64")
    model = built.model
    assert not model.training
    for name, parameter in model.named_parameters():
        assert parameter.dtype == dtype
        assert torch.equal(parameter, torch.from_numpy(draw(0, name, parameter.shape)).to(dtype))
    assert model.tied.weight is model.fc.weight
    assert not model.frozen.requires_grad
    assert model.table.dtype == dtype
    assert model.count.dtype == torch.int64
    if arithmetic == "fp64":
        assert model.table.tolist() == [0.0, 0.1, 0.2]


@pytest.mark.parametrize("native", [False, True])
def test_what_holds_a_parameter_holds_what_the_model_holds(builder, native):
    model = builder("Holds").built({"width": 4}, "fp32" if native else "fp64", native=native).model
    for held, own in zip(model.held, (model.tied.weight, model.norm.weight, model.frozen), strict=True):
        assert held is own
    weight = model.norm.weight
    assert isinstance(weight, nn.Parameter)
    assert weight.requires_grad
    drawn = torch.from_numpy(draw(0, "norm.weight", weight.shape)).to(weight.dtype)
    assert torch.equal(model.scaled(torch.ones(4, dtype=weight.dtype)), drawn)


def test_hooks_of_parameters_stay(builder):
    model = builder("Holds").built({"width": 4}, "fp64").model
    model.norm.weight.sum().backward()
    assert model.norm.weight.grad.tolist() == [3.0] * 4
    assert model.norm.weight.seen == 1
    cells = model.cells  # torch refers to these weakly
    cells(torch.ones(3, 2, dtype=torch.float64))[0].sum().backward()
    hooked, recurrent = cells.weight_hh_l0.grad.clone(), cells.weight_hh_l0
    cells.zero_grad()
    recurrent._backward_hooks.clear()
    cells(torch.ones(3, 2, dtype=torch.float64))[0].sum().backward()
    assert torch.allclose(hooked, 3 * recurrent.grad)


def test_one_model_is_held_at_a_time(builder):
    found = builder()
    first = found.built({"width": 4}, "fp64")
    assert found.built({"width": 4}, "fp64") is first
    assert found.built({"width": 8}, "fp64") is not first
    assert found.built({"width": 4}, "fp64") is not first
    held = found.built({"width": 4}, "fp64")
    found.release()
    assert found.built({"width": 4}, "fp64") is not held


def test_lines_are_noted_where_they_are_asked_for(builder):
    found = builder()
    traced = [found.built({"width": 4}, "fp64").model, found.outlined({"width": 4})[0]]
    for model in traced:
        assert found.origins.line(model, "fc")["file"].endswith("model.py")
        assert found.origins.line(model, "table")["file"].endswith("model.py")
    narrow = [
        found.built({"width": 4}, "bf16", native=True).model,
        found.built({"width": 4}, "fp64", through="bf16").model,
    ]
    assert [found.origins.line(model, "fc") for model in (*narrow, found.construct({"width": 4}))] == [None] * 3


def test_a_model_that_is_run_in_several_arithmetics_is_made_for_each(builder):
    found = builder()
    first = found.built({"width": 4}, "fp32", native=True, apart="fp32")
    assert found.built({"width": 4}, "fp32", native=True, apart="fp32") is first
    assert found.built({"width": 4}, "fp32", native=True, apart="autocast") is not first


def test_a_factory_is_called_with_values_and_kwargs(builder):
    settings = {"model": None, "factory": "unit_toy.model:make", "kwargs": {"extra": 5}}
    model = builder(config=None, **settings).construct({"width": 2})
    assert (model.fc.in_features, model.scale) == (2, 5)
    assert builder(config=None, **settings).config_class() is None


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("nothing", Unusable, "`candidate.model: unit_toy.model:nothing` gave a str; expected a torch.nn.Module"),
        ("Whole", Unusable, "parameter n is torch.int64; only floating point parameters can be drawn"),
        ("Lazy", Unusable, "parameter fc.weight has no shape before a first call, as torch's Lazy modules have none"),
        (
            "Complex",
            Unusable,
            "parameter c is torch.complex128; only floating point parameters can be drawn; keep its real",
        ),
        ("broken", RuntimeError, "boom"),
    ],
)
def test_what_cannot_be_built_is_told(builder, name, error, told):
    with pytest.raises(error, match=re.escape(told)):
        builder(name).built({}, "fp64")


def test_devices(builder):
    assert builder().device.type == "cpu"
    assert builder(device="auto").device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(Unusable, match=r"--device cuda: .* sees no CUDA device"):
            _ = builder(device="cuda").device


def test_a_patched_registration_is_put_back():
    before = nn.Module.register_parameter
    with pytest.raises(TypeError), parameters_on_meta():
        nn.Linear("no", "size")
    assert nn.Module.register_parameter is before
