"""What a dispatch mode hands on does what it does without the mode."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from verify.observer import dispatched
from verify.observer.arithmetic import exact
from verify.observer.operations import Plan, Recorder
from verify.observer.origins import Origins
from verify.observer.randomness import Injected


class Inner(nn.Module):
    def forward(self, x):
        return torch.where(x > 0.25, torch.tanh(x) * 2.0, x / 3) + torch.exp(-x * x)


@contextlib.contextmanager
def recorded(root):
    recorder = Recorder(nn.Identity(), {}, str(root), Plan(), {})
    try:
        with recorder:
            yield
    finally:
        recorder.remove()


MODES = {
    "exact": lambda root: exact(True),
    "origins": lambda root: Origins(str(root)).recording(),
    "recorder": recorded,
    "injected": lambda root: Injected(0, str(root)),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("mode", list(MODES))
def test_a_graph_that_is_traced_under_a_mode_is_the_module(mode, tmp_path):
    x = torch.linspace(-1, 1, 30, dtype=torch.float64).reshape(5, 6)
    with MODES[mode](tmp_path):
        traced = torch.jit.trace(Inner(), torch.ones(5, 6))  # which runs the graph too, to check it
        runs = [traced(x) for _ in range(3)]
    for found in runs:
        assert torch.allclose(found, Inner()(x), rtol=1e-14)


class Plain(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return dispatched.run(func, args, kwargs)


@pytest.mark.parametrize(
    ("operation", "args", "dtype"),
    [
        (torch.ops.aten.view.default, (2.0, []), torch.float64),
        (torch.ops.aten.clone.default, (3,), torch.int64),
        (torch.ops.aten.clone.default, (True,), torch.bool),
    ],
)
def test_a_number_that_must_be_a_tensor_becomes_one(operation, args, dtype):
    found = dispatched.run(operation, args)
    assert found.dtype == dtype
    assert found.item() == args[0]


def test_a_number_that_an_operation_takes_stays_one():
    """As a tensor it would have another say in the type of the result."""
    found = dispatched.run(torch.ops.aten.mul.Tensor, (torch.ones(2, dtype=torch.int64), 0.5), {})
    assert found.dtype == torch.get_default_dtype()
    with Plain():
        assert (torch.ones((), dtype=torch.float32) * 0.5).dtype == torch.float32
