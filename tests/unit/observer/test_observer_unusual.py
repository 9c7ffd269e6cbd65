"""Copies and other weights, other devices, modes, what is left of the process."""

from __future__ import annotations

import contextlib
import inspect
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from verify.observer import copies, devices, forward, leftover, modes, signature, state, structure
from verify.observer.build import Builder
from verify.observer.faults import Unusable


class Plain(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.fc = nn.Linear(width, width)
        self.register_buffer("table", torch.arange(width) * 0.1, persistent=False)

    def forward(self, x, twice=False):
        y = self.fc(x) + self.table
        return {"y": y * 2 if twice else y}


class Captured(Plain):
    def __init__(self, width=3):
        super().__init__(width)
        layer = self.fc
        self.layer = lambda x: layer(x)

    def forward(self, x, twice=False):
        return {"y": self.layer(x) + self.table}


class Kept(Plain):
    def forward(self, x, twice=False):
        self.first = getattr(self, "first", None)
        if self.first is None:
            self.first = self.fc.weight.detach().clone()
        return {"y": x @ self.first.T + self.table}


class Recorded(Plain):
    def forward(self, x, twice=False):
        self.last = self.fc(x)
        return {"y": self.last + self.table}


class Normed(Plain):
    def __init__(self, width=3):
        super().__init__(width)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated, and in use
            nn.utils.weight_norm(self.fc)


class Frozen(Plain):
    def __init__(self, width=3):
        super().__init__(width)
        self.fc.requires_grad_(False)


class Catching(Plain):
    def forward(self, x, twice=False):
        y = self.fc(x)
        try:
            return {"y": y + torch.ones(3)}
        except Exception:
            return {"y": y}


class Left(Plain):
    def __init__(self, width=3):
        super().__init__(width)
        del self.table
        self.table = torch.arange(width) * 0.1


class Unplaced(Plain):
    def forward(self, x, twice=False):
        return {"y": self.fc(x) * torch.ones(x.shape[-1])}


class Numpy(Plain):
    def forward(self, x, twice=False):
        return {"y": self.fc(x) + torch.from_numpy(x.numpy())}


class Reading(Plain):
    def forward(self, x, twice=False):
        return {"y": self.fc(x) if x.sum().item() > 0 else self.fc(-x)}


class Placing(Plain):
    def forward(self, x, twice=False):
        return {"y": self.fc(x) * torch.ones(x.shape[-1]).to(x.device) + torch.tensor(2.0)}


class Halving(Plain):
    def train(self, mode=True):
        super().train(mode)
        self.fc.eval()

    def half(self):
        super().half()


class Joining(Plain):
    def eval(self):
        if self.fc.weight.sum() > 0:
            self.joined = True
        return super().eval()


class Packing(Plain):
    def forward(self, x, twice=False):
        lengths = torch.ones(len(x), dtype=torch.int64)
        packed = nn.utils.rnn.pack_padded_sequence(self.fc(x)[:, None], lengths, batch_first=True)
        return {"y": packed.data}


class Narrow(Plain):
    def state_dict(self):
        return super().state_dict()


class Builtin(Plain):
    act = staticmethod(nn.functional.gelu)

    def helper(self):
        return self

    def gone(self):
        return self


class Emptied(Builtin):
    helper = None
    gone = ()


class Setting(Plain):
    def __init__(self, width=3):
        super().__init__(width)
        torch.set_float32_matmul_precision("high")


CLASSES = (Plain, Captured, Kept, Left, Unplaced, Numpy, Reading, Placing, Halving, Setting)
CLASSES += (Catching, Frozen, Joining, Normed, Packing, Recorded, Narrow, Builtin, Emptied)


@pytest.fixture
def builder_of(tmp_path, monkeypatch):
    """A builder of one of these classes."""
    monkeypatch.setitem(sys.modules, "unit_unusual", SimpleNamespace(**{kind.__name__: kind for kind in CLASSES}))

    def make(kind: type[nn.Module]) -> Builder:
        return Builder(
            {
                "role": "reference", "path": str(tmp_path), "seed": 0, "device": "cpu", "scratch": str(tmp_path),
                "kwargs": {}, "renames": {"config": {}, "inputs": {}}, "config": None,
                "model": f"unit_unusual:{kind.__name__}", "factory": None,
            }
        )  # fmt: skip

    return make


@pytest.fixture
def ask(builder_of, tmp_path):
    save_file({"x": torch.linspace(-1, 2, 6).reshape(2, 3)}, str(tmp_path / "in"))

    def run(operation, kind, **changes):
        args = {"values": {"width": 3}, "arithmetic": "fp64", "arguments": {}, "inputs": str(tmp_path / "in")}
        return operation(builder_of(kind), {**args, "nudged": False, **changes})

    return run


def test_outputs_follow_the_weights_of_a_copy_and_of_the_model(ask):
    found = ask(copies.observe, Plain)["arrays"]
    assert list(found) == ["first/y", "copied/y", "assigned/y", "original/y", "loaded/y"]
    assert torch.equal(found["copied/y"], found["first/y"])
    assert torch.equal(found["original/y"], found["first/y"])
    assert torch.equal(found["assigned/y"], found["loaded/y"])
    assert not torch.allclose(found["loaded/y"], found["first/y"])


def test_a_layer_in_a_closure_and_a_weight_that_is_kept_show(ask):
    right = ask(copies.observe, Plain)["arrays"]
    captured = ask(copies.observe, Captured)["arrays"]
    assert torch.equal(captured["loaded/y"], right["loaded/y"])
    assert torch.equal(captured["assigned/y"], right["first/y"])
    kept = ask(copies.observe, Kept)["arrays"]
    assert torch.equal(kept["loaded/y"], kept["first/y"])


def test_no_copy_is_asked_of_a_model_whose_weights_torch_makes_anew(ask):
    with pytest.raises(Unusable, match="WeightNorm"):
        ask(copies.observe, Normed)


def test_a_table_that_is_a_frozen_parameter_keeps_its_values(ask):
    found = ask(copies.observe, Frozen)["arrays"]
    assert torch.equal(found["loaded/y"], found["first/y"])


def test_nothing_is_left_of_other_weights_or_of_a_recorded_pass(builder_of, tmp_path, monkeypatch):
    builder = builder_of(Plain)
    save_file({"x": torch.ones(2, 3)}, str(tmp_path / "in"))
    args = {
        "values": {"width": 3},
        "arithmetic": "fp64",
        "arguments": {},
        "nudged": False,
        "inputs": str(tmp_path / "in"),
    }
    before = {k: v.clone() for k, v in forward.prepared(builder, args).model.state_dict().items()}
    copies.observe(builder, args)
    after = forward.prepared(builder, args).model.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    for kind in (Kept, Recorded):
        kept = builder_of(kind)
        model = forward.prepared(kept, args).model
        with contextlib.suppress(RuntimeError):  # torch copies nothing that was recorded
            copies.observe(kept, args)
        assert forward.prepared(kept, args).model is not model
    monkeypatch.setattr(copies, "MOST", 2)
    with pytest.raises(Unusable, match="12 parameters are too many to be copied"):
        copies.observe(builder, args)


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (Plain, None),
        (Placing, None),
        (Packing, None),
        (Left, "add"),
        (Catching, None),
        (Unplaced, "mul"),
        (Numpy, "numpy"),
    ],
)
def test_tensors_that_stay_on_the_cpu_are_seen(ask, kind, operation):
    found = ask(devices.observe, kind)
    assert (found["mixed"] and found["mixed"]["operation"]) == operation
    assert found["stopped"] == ""


def test_a_pass_that_reads_a_value_is_not_followed(ask):
    found = ask(devices.observe, Reading)
    assert found["mixed"] is None
    assert "meta tensors" in found["stopped"]


def test_methods_of_its_own_are_looked_at(builder_of):
    values = {"width": 3}
    lost = {"train": False, "eval": False, "half": False}
    for kind, left, chained in ((Plain, [], {}), (Halving, ["fc"], lost)):
        builder = builder_of(kind)
        model = builder.outlined(values)[0]
        found = modes.told(builder, model, values)
        assert found == {"left": {"train": left, "eval": []}, "chained": chained}
        assert model.training


def test_a_method_that_needs_values_says_nothing_of_modes(builder_of):
    builder = builder_of(Joining)
    found = modes.told(builder, builder.outlined({"width": 3})[0], {"width": 3})
    assert found == {"left": {"train": []}, "chained": {"train": True}}


def test_a_state_dict_that_no_larger_model_can_ask_for_is_told(builder_of):
    found = state.observe(builder_of(Narrow), {"values": {"width": 3}})
    assert found["lost"] == {}
    ((key, what),) = found["nested"].items()
    assert (key, what.partition(": ")[0]) == (state.WHOLE, "cannot be saved in a larger model")
    assert state.observe(builder_of(Plain), {"values": {"width": 3}})["nested"] == {}


@pytest.mark.parametrize(
    ("kind", "names"), [(Builtin, ["act", "forward", "gone", "helper"]), (Emptied, ["act", "forward"])]
)
def test_methods_that_do_not_say_what_they_take(builder_of, monkeypatch, kind, names):
    monkeypatch.setattr(signature.locate, "owns", lambda kind, root: kind.__module__ == __name__)
    found = {m["name"]: m for m in signature.observe(builder_of(kind), {"values": {"width": 3}})["methods"]}
    assert sorted(found) == names
    assert (found["act"]["kind"], found["act"]["arguments"]) == ("static method", None)


def test_a_class_as_a_default_is_told_without_its_module():
    def call(kind=Plain, count=1, needed=inspect.Parameter):
        raise AssertionError

    defaults = [signature._default(p) for p in inspect.signature(call).parameters.values()]
    assert defaults == ["Plain", "1", "Parameter"]


def test_what_a_constructor_sets_is_told(builder_of):
    builder, before = builder_of(Setting), torch.get_float32_matmul_precision()
    try:
        found = structure.making(builder, {"values": {"width": 3}})
    finally:
        torch.set_float32_matmul_precision(before)
    assert found == {"import": {}, "construction": {"the precision of float32 products": f"{before} -> high"}}


def test_a_precision_that_torch_has_no_name_of_is_told(monkeypatch):
    def mixed():
        raise RuntimeError("you have used mix of the legacy and new APIs")

    found, before = dict[str, str](), torch.get_float32_matmul_precision()
    with monkeypatch.context() as later, leftover.noting(found):
        later.setattr(torch, "get_float32_matmul_precision", mixed)
        assert leftover._precision() == leftover.BY_BACKEND
        with leftover.watching() as left:
            torch.autograd.set_detect_anomaly(True)
        assert list(left) == ["anomaly detection"]
        monkeypatch.setitem(leftover.SETTINGS, "the precision of float32 products", lambda: leftover.BY_BACKEND)
    assert found == {"the precision of float32 products": f"{before} -> {leftover.BY_BACKEND}"}


def test_whether_determinism_only_warns_is_put_back():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with leftover.watching() as left:
            torch.use_deterministic_algorithms(True)
        assert list(left) == ["deterministic algorithms"]
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_threads_may_be_chosen_once():
    found: dict[str, str] = {}
    threads = torch.get_num_threads()
    with leftover.noting(found):
        torch.set_num_threads(threads + 1)
    torch.set_num_threads(threads)
    assert found == {}


def test_what_a_call_writes_into_the_configuration_is_told_and_put_back():
    config, found = SimpleNamespace(kind="sdpa", sizes=[1]), dict[str, str]()
    with leftover.configuration(config, found):
        config.kind, config.sizes, config.more = "eager", [2], 1
    assert found == {"the configuration's kind": "'sdpa' -> 'eager'"}
    assert config.kind == "sdpa"
    with leftover.configuration(None, found):
        pass


def test_entries_that_are_no_longer_plain_and_nan_are_compared():
    config, found = SimpleNamespace(scale=1.0, eps=float("nan")), dict[str, str]()
    with leftover.configuration(config, found):
        config.scale = torch.ones(2)
    assert list(found) == ["the configuration's scale"]
    assert config.scale == 1.0


def test_what_setting_an_entry_sets_besides_is_put_back():
    class Config:
        kind, _flag = None, False

        @property
        def flag(self):
            return self._flag

        @flag.setter
        def flag(self, value):
            self._flag, self.kind = value, "eager"

        refusing = property(lambda self: 0)

    model = nn.Identity()
    model.config = Config()
    with forward._configured(model, {"flag": True, "unknown": 1, "refusing": 1}) as could:
        assert could == {"flag"}
        assert (model.config.flag, model.config.kind) == (True, "eager")
    assert (model.config.flag, model.config.kind) == (False, None)


@pytest.mark.parametrize("how", structure.MOVES)
def test_what_a_move_leaves(builder_of, how):
    found = structure.moved(builder_of(Plain), {"values": {"width": 3}, "how": how})
    (table,) = (b for b in found["buffers"] if b["name"] == "table")
    assert table["dtype"] == {"empty": "float32"}.get(how, how)
    assert bool(found["arrays"]["table"].isnan().all()) == (how == "empty")


def test_arguments_come_by_place(ask):
    seen = []

    class Model(nn.Module):
        def forward(self, x, first=1, second=2, *, third=3):
            seen.append((first, second, third))

    inputs = {"x": torch.zeros(1), "second": 5, "third": 6}
    ordered, named = forward.by_place_all(Model(), inputs)
    assert (ordered[1:], named) == ([1, 5], {"third": 6})
    assert forward.by_place_all(Model(), {"second": 5}) == forward.placed(Model(), {"second": 5})
    assert not torch.equal(
        *(ask(forward.observe, Plain, by_place=True, arguments={"twice": t})["arrays"]["y"] for t in (False, True))
    )
