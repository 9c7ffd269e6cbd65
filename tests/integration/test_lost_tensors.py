"""At which step, and at which line, a checkpoint loses a tensor of a small model."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import pytest
from second_pass import refusing_within, told_as_refused

from verify.report import Report

MODEL = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

class Config(PretrainedConfig):
    model_type = "tiny"
    def __init__(self, width=4, **kwargs):
        super().__init__(**kwargs)
        self.width = width

class Model(PreTrainedModel):
    config_class = Config
    base_model_prefix = "tiny"
    # more

    def __init__(self, config):
        super().__init__(config)
        self.linear = nn.Linear(config.width, config.width)
        self.scale = nn.Parameter(torch.ones(config.width))
        self.register_buffer("table", torch.arange(float(config.width)), persistent=False)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, Model):
            nn.init.ones_(module.scale)
            module.table.copy_(torch.arange(float(self.config.width)))

    def forward(self, x):
        return {"y": self.linear(x) * self.scale + self.table}
"""
MORE = "    # more\n"
METHOD = "def {name}(self, *args, **kwargs):  # here\n        {body}"
LOADER = "@classmethod\n    def from_pretrained(cls, *args, **kwargs):\n        found = super().from_pretrained(*args, **kwargs)\n"


def more(text: str) -> tuple[str, str]:
    """A change that gives the class more."""
    return MORE, f"    {text}\n"


LOST = {
    "ignored on save": (
        more('_keys_to_ignore_on_save = ["scale"]  # here'),
        "scale",
        "the state dict holds it, and the file does not",
    ),
    "saved in half": (
        more(
            METHOD.format(
                name="save_pretrained",
                body="super().save_pretrained(*args, state_dict={k: v.half() for k, v in self.state_dict().items()})",
            )
        ),
        "scale",
        "it is saved as float16, and the model holds float32",
    ),
    "left out of the state dict": (
        more(
            METHOD.format(
                name="state_dict",
                body='return {k: v for k, v in super().state_dict(*args, **kwargs).items() if k != "scale"}',
            )
        ),
        "scale",
        "the state dict does not hold it",
    ),
    "other values in the state dict": (
        more(
            METHOD.format(
                name="_save_to_state_dict",
                body="super()._save_to_state_dict(*args, **kwargs); args[0]['scale'] = self.scale.detach() * 2",
            )
        ),
        "scale",
        "the state dict holds other values than the model",
    ),
    "written over after loading": (
        more(LOADER + "        found[0].scale.data.fill_(3.0)  # here\n        return found"),
        "scale",
        "it is in the file, and is written over here while the model is loaded",
    ),
    "cast after loading": (
        more(LOADER.replace("@classmethod", "@classmethod  # here") + "        return found[0].half(), *found[1:]"),
        "scale",
        "it is saved as float32, and is float16 after loading",
    ),
    "not set after loading": (
        ("            module.table.copy_(torch.arange(float(self.config.width)))", "            pass  # here"),
        "table",
        "it is not saved, and `_init_weights` ends here without having set it",
    ),
    "set otherwise after loading": (
        ("copy_(torch.arange(float(self.config.width)))", "copy_(module.scale.detach())  # here"),
        "table",
        "it is not saved, and is given other values here while the model is loaded",
    ),
    "set by nobody": (
        ("persistent=False)\n        self.post_init()\n\n    def _init_weights", "persistent=False)  # here\n        self.post_init()\n\n    def nothing"),
        "table",
        "it is not saved, and nothing sets it while the model is loaded",
    ),
    "not initialised": (
        ("            nn.init.ones_(module.scale)\n            module.table.copy_(torch.arange(float(self.config.width)))", "            module.table.copy_(torch.arange(float(self.config.width)))  # here"),
        "scale",
        "where a checkpoint lacks it, `_init_weights` ends here without having set it",
    ),
    "initialised otherwise": (
        ("std=0.02)", "std=0.05)  # here"),
        "linear.weight",
        "where a checkpoint lacks it, it is filled here",
    ),
    "drawn over what was loaded": (
        ("nn.init.normal_(module.weight, std=0.02)", "module.weight.data.normal_(0.0, 0.02)  # here"),
        "linear.weight",
        "it is in the file, and is written over here while the model is loaded",
    ),
    "not told as missing": (
        more('_keys_to_ignore_on_load_missing = ["scale"]  # here'),
        "scale",
        "that it is missing is not told",
    ),
}  # fmt: skip


SINCE_5 = {"not set after loading", "set otherwise after loading", "set by nobody", "drawn over what was loaded"}
"""No faults before transformers 5, which builds on the meta device and initialises whatever a checkpoint does not fill."""


@pytest.fixture
def saved(duo) -> Callable[..., Report]:
    """saved(candidate, reference): the report of the check `roundtrip` on two models, given as whole modules."""

    def run_it(candidate: str, reference: str = MODEL) -> Report:
        for side, text in (("left", reference), ("right", candidate)):
            (duo.folder / side).mkdir(exist_ok=True)
            (duo.folder / side / "model.py").write_text(text)
        duo.spec(checks=["roundtrip"], variants={"tiny": {"width": 32}})
        return duo.run()

    return run_it


def changed(name: str) -> tuple[str, int]:
    """The model with a fault, and the line that is at work."""
    old, new = LOST[name][0]
    assert MODEL.count(old) == 1
    text = MODEL.replace(old, new)
    return text, next(n for n, line in enumerate(text.splitlines(), 1) if line.endswith("# here"))


@pytest.mark.parametrize("name", LOST)
def test_the_step_that_loses_a_tensor_and_its_line_are_named(saved, name):
    _, tensor, step = LOST[name]
    text, line = changed(name)
    report = saved(text)
    if name in SINCE_5 and int(version("transformers").partition(".")[0]) < 5:
        assert not [f for f in report.findings if f.kind == "tensor-lost"]
        return
    assert report.verdict == "different"
    placed = [f for f in report.findings if f.subject == tensor and f.candidate and f.candidate.line == line]
    assert placed, (line, [(f.case, f.subject, f.candidate) for f in report.findings], report.first_divergence)
    found = report.first_divergence
    assert (found.kind, found.confidence, found.candidate.file) == ("first-lost", "aligned", "model.py")
    assert found.details["step"] == step
    assert step in found.message
    assert step not in found.message_zh
    assert [x.text for x in found.excerpts["candidate"] if x.marked] == [text.splitlines()[found.candidate.line - 1]]


def test_a_tensor_that_the_reference_loses_is_placed_in_the_reference(saved):
    text, line = changed("written over after loading")
    report = saved(MODEL, text)
    (found,) = [f for f in report.findings if f.case == "reference load" and f.kind == "tensor-lost"]
    assert (found.reference.line, found.candidate) == (line, None)


def test_a_checkpoint_that_comes_back_has_no_step_to_blame(saved):
    report = saved(MODEL)
    assert (report.verdict, report.first_divergence) == ("equal", None)


def test_a_second_pass_that_fails_is_told_with_its_fault(saved):
    text, _ = changed("initialised otherwise")
    report = saved(text + refusing_within("steps", "overrides"))
    assert (report.verdict, report.first_divergence) == ("different", None)
    told_as_refused(report, "model.py")
