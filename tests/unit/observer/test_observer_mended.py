"""Passes with a small change of the source: what it changes, that it ends with the pass, and what it must not do."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from verify.observer import mended, prints
from verify.observer.build import Builder
from verify.observer.modules import fingerprint

TEXT = """\
import time

import torch
from torch import nn


def moved(x, by=2.0):
    return x + by


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.scale = 3.0

    @torch.no_grad()
    def forward(self, x):
        y = self.inner(x) * self.scale
        return moved(y)
"""


@pytest.fixture
def side(tmp_path, request, monkeypatch) -> tuple[Builder, dict[str, object]]:
    name = f"mended_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(TEXT)
    monkeypatch.syspath_prepend(str(tmp_path))
    about = {
        "path": str(tmp_path), "role": "candidate", "config": "", "model": f"{name}:Net", "factory": "", "kwargs": {},
        "renames": {"config": {}, "inputs": {}}, "seed": 0, "device": "cpu",
    }  # fmt: skip
    save_file(
        {"x": torch.randn(2, 4, generator=torch.Generator().manual_seed(0)).double()}, tmp_path / "in.safetensors"
    )
    args = {
        "values": {"width": 4}, "arithmetic": "fp64", "arguments": {}, "inputs": str(tmp_path / "in.safetensors"),
        "recipes": {}, "nudged": False, "seconds": 5.0, "file": f"{name}.py",
    }  # fmt: skip
    return Builder(about), args


def edit(args: dict[str, object], old: str, new: str, name: str, *, making: bool = False) -> dict[str, object]:
    start = TEXT.index(old)
    first = {"moved": 7, "__init__": 12, "forward": 17}[name]
    return {
        "file": args["file"], "start": start, "end": start + len(old), "old": old, "new": new, "first": first,
        "name": name, "making": making,
    }  # fmt: skip


def run(side, *edits, **more) -> tuple[list[dict[str, object]], dict[str, torch.Tensor]]:
    builder, args = side
    answer = mended.observe(builder, {**args, "edits": list(edits), **more})
    return answer["tries"], answer["arrays"]


def value(side) -> torch.Tensor:
    """What the model gives as it is."""
    builder, args = side
    model = mended.prepared(builder, args).model
    return model(mended.load_inputs(args, mended.prepared(builder, args), builder)["x"])


def test_a_change_of_a_function_a_method_and_a_constructor_counts_for_its_pass_alone(side):
    plain = value(side)
    args = side[1]
    tries, arrays = run(
        side,
        edit(args, "x + by", "x - by", "moved"),
        edit(args, "* self.scale", "/ self.scale", "forward"),
        edit(args, "3.0", "6.0", "__init__", making=True),
    )
    assert [one["outputs"] for one in tries] == [["output"]] * 3
    inner = (plain - 2) / 3
    for index, wanted in enumerate((plain - 4, inner / 3 + 2, inner * 6 + 2)):
        torch.testing.assert_close(arrays[f"outputs.{index}"][0], torch.tensor(prints.vector(wanted)).double())
    assert torch.equal(value(side), plain)


def test_a_default_that_is_a_literal_changes_too(side):
    plain = value(side)
    _, arrays = run(side, edit(side[1], "by=2.0", "by=5.0", "moved"))
    torch.testing.assert_close(arrays["outputs.0"][0], torch.tensor(prints.vector(plain + 3)).double())
    assert torch.equal(value(side), plain)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("x + by", "x + nobody", "NameError"),
        ("x + by", "x +", "SyntaxError"),
        ("x + by", "[0][by:]", "TypeError"),
    ],
)
def test_a_change_that_breaks_the_pass_mends_nothing_and_harms_nothing(side, old, new, fault):
    plain = value(side)
    tries, arrays = run(side, edit(side[1], old, new, "moved"), edit(side[1], "x + by", "x * by", "moved"))
    assert tries[0] == {"fault": fault}
    assert set(arrays) == {"outputs.1"}
    assert torch.equal(value(side), plain)


def test_a_file_that_is_another_by_now_is_not_changed(side):
    builder, args = side
    value(side)
    Path(builder.settings["path"], args["file"]).write_text("# another\n" + TEXT)
    assert run(side, edit(args, "x + by", "x - by", "moved"))[0] == [{"fault": "Unchangeable"}]


def test_a_definition_that_no_function_is_of_cannot_be_changed(side):
    other = {**edit(side[1], "x + by", "x - by", "moved"), "name": "nobody"}
    assert run(side, other)[0] == [{"fault": "Unchangeable"}]


def test_a_change_that_makes_an_endless_loop_ends(side):
    began = time.monotonic()
    tries, _ = run(side, edit(side[1], "y = self", "while True: y = self", "forward"), seconds=0.5)
    assert tries == [{"fault": "Overtime"}]
    assert time.monotonic() - began < 30


def test_a_pass_ends_at_the_gate_unless_its_module_gives_what_it_should(side):
    args = side[1]
    inner = (value(side) - 2) / 3
    change = edit(args, "self.inner(x)", "self.inner(2 * x)", "forward")
    gate = {"path": "inner", "index": 0, "output": fingerprint(inner), "allowed": 1e-12}
    same = edit(args, "x + by", "x - by", "moved")
    assert [set(one) for one in run(side, change, same, gate=gate)[0]] == [{"fault"}, {"outputs", "shapes"}]
    assert run(side, change, gate=gate)[0] == [{"fault": "Unmended"}]


def test_a_pass_tells_nothing_unless_the_wanted_output_has_its_print(side):
    args = side[1]
    same, other = edit(args, "x + by", "x - -by", "moved"), edit(args, "x + by", "x - by", "moved")
    wanted = {"path": "output", "print": prints.vector(value(side)), "allowed": 1e-12}
    assert [set(one) for one in run(side, same, other, wanted=wanted)[0]] == [{"outputs", "shapes"}, {"fault"}]
    assert run(side, same, wanted={**wanted, "path": "other"})[0] == [{"fault": "Unmended"}]


def test_what_a_pass_leaves_in_the_model_is_undone_before_the_next(side):
    args = side[1]
    writes = edit(args, "self.inner(x)", "self.inner(x.mul_(1)); self.inner.weight.mul_(0)", "forward")
    keeps = edit(args, "self.inner(x)", "self.inner(x); self.scale = 0.0", "forward")
    same = edit(args, "x + by", "x - -by", "moved")
    right = prints.vector(value(side))
    tries, arrays = run(side, writes, same, keeps, same)
    assert [set(one) for one in tries] == [{"outputs", "shapes"}] * 4
    for index in (1, 3):
        assert arrays[f"outputs.{index}"][0].tolist() == right


@pytest.mark.parametrize(
    "does",
    [
        "open('left-behind', 'w')", "__import__('os').mkdir('left-behind')", "__import__('os').system('true')",
        "__import__('shutil').copy(__file__, 'left-behind')", "__import__('subprocess').run(['true'])",
        "__import__('socket').socket()",
    ],
)  # fmt: skip
def test_a_changed_pass_does_nothing_besides_computing(side, does, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tries, _ = run(side, edit(side[1], "y = self", f"{does}; y = self", "forward"))
    assert tries == [{"fault": "Refused"}]
    assert not (tmp_path / "left-behind").exists()
    (tmp_path / "allowed").write_text("what is not tried is as it was")


def test_a_loop_that_catches_everything_ends_too(side):
    text = "while True:\n            try: y = 1\n            except Exception: y = 2\n        y = self"
    assert run(side, edit(side[1], "y = self", text, "forward"), seconds=0.3)[0] == [{"fault": "Overtime"}]
