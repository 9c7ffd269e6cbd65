"""Two tiny models that give the same outputs and are not the same model: what only one check each can show."""

from __future__ import annotations

import sys

import pytest

from verify.report import Report, Verdict
from verify.trace import BOTH

HEAD = """
from transformers import PretrainedConfig, PreTrainedModel
from torch.nn import functional as F
"""

CHECKS = {
    "forward": {},
    "gradients": {},
    "training": {},
    "precision": {"cases": ["one"]},
    "backends": {"vary": {"backend": ["one", "two"]}},  # which this model ignores
}


@pytest.fixture
def compare(duo):
    """The report on a candidate with this code in its constructor and at the end of its forward, of one check."""

    def run_it(check: str, init: str = "pass", end: str = "pass", both: str = "", both_end: str = "pass") -> Report:
        common = f"self.drop, self.norm = nn.Dropout(0.25), nn.BatchNorm1d(config.width)\n{both}"
        for side, more, last in (("left", "pass", both_end), ("right", init, end)):
            duo.write(side, head=HEAD, init=f"{common}\n{more}")
            file = duo.folder / side / "model.py"
            text = file.read_text().replace("width=4):", 'width=4, backend="one"):\n        self.backend = backend')
            assert "self.backend" in text
            old = "        y = self.linear(x) + self.table\n"
            assert old in text
            new = "        y = self.drop(self.norm(self.linear(x) + self.table))\n        " + last.replace(
                "\n", "\n        "
            )
            file.write_text(text.replace(old, new + "\n"))
        duo.spec(checks={check: CHECKS.get(check, {})})
        return duo.run()

    return run_it


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_the_same_twice_is_equal(compare, check):
    report = compare(check)
    assert report.verdict == Verdict.EQUAL, report.findings
    assert all(c.compared for c in report.checks)


@pytest.mark.parametrize(
    ("check", "kind", "init", "end"),
    [
        ("gradients", "gradient-none", "pass", "y = y.detach() + 0 * self.linear.bias"),
        ("gradients", "gradient-field", "pass", "y = y.detach()"),
        ("gradients", "gradient-values", "pass", "y = y * 2 - y.detach()"),
        ("training", "output-values", "self.drop.p = 0.5", "pass"),
        ("training", "output-values", "self.norm.momentum = 0.9", "pass"),
        (
            "training",
            "output-values",
            "self.seen = 0",
            "self.seen += self.training\ny = y + self.seen * 1e-3 * (not self.training)",
        ),
        ("backends", "backend-values", "self.b = config.backend", "y = y * (1 + (self.b == 'two'))"),
        ("precision", "less-precise", "pass", "y = y.to(torch.bfloat16).to(y.dtype)"),
    ],
)
def test_each_is_found_by_its_check_and_passes_forward(compare, check, kind, init, end):
    assert compare("forward", init, end).verdict == Verdict.EQUAL
    report = compare(check, init, end)
    assert report.verdict == Verdict.DIFFERENT, report.findings
    assert kind in {f.kind for f in report.findings}, report.findings


@pytest.mark.parametrize(
    ("both", "verdict"),
    [("self.config = config", Verdict.ERROR), ("self.config = type(config)(config.width)", Verdict.DIFFERENT)],
    ids=["the-other-runs-it", "the-other-falls-back"],
)
def test_a_backend_whose_package_one_side_lacks_proves_a_difference_where_the_other_falls_back(compare, both, verdict):
    report = compare("backends", both=both, init="if config.backend == 'two': raise ImportError('no such package')")
    found = {f.verdict for f in report.findings if f.verdict != Verdict.NOTE}
    assert found == {verdict}, report.findings


# A rate that warms up in its first steps, a teacher that follows, a count of steps that is no buffer.
STEPS = """
self.register_buffer("mean", torch.zeros(config.width))
self.register_buffer("count", torch.tensor(0))
self.teacher = nn.Linear(config.width, config.width).requires_grad_(False)
self.steps = 0
"""
STEP = """
if self.training:
    self.count += 1
    self.steps += 1
    n = self.count.item()
    self.mean.lerp_(y.mean(0), 1 - min(0.99, (1 + n) / (10 + n)))
    with torch.no_grad():
        self.teacher.weight.lerp_(self.linear.weight, 0.01)
y = self.teacher(y - self.mean) / (1 + self.steps)
"""


@pytest.mark.parametrize(
    ("old", "new", "groups"),
    [
        ("0.99, ", "0.5, ", {"one other state"}),
        ("min(0.99, (1 + n) / (10 + n))", "2 / 11", {"one later", "one later buffers"}),
        ("weight, 0.01", "weight, 0.001", {"one", "one buffers", "one after"}),
        ("(1 + self.steps)", "(1 + max(self.steps - 1, 0))", {"one", "one after"}),
    ],
)
def test_what_further_steps_change_is_compared(compare, old, new, groups):
    assert compare("forward", both=STEPS, end=STEP.replace(old, new), both_end=STEP).verdict == Verdict.EQUAL
    report = compare("training", both=STEPS, end=STEP.replace(old, new), both_end=STEP)
    assert {f.case for f in report.findings if f.verdict == Verdict.DIFFERENT and f.case.startswith("one")} == groups


@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("lerp_(self.linear.weight, 0.01)", "mul_(0.99).add_(self.linear.weight, alpha=0.01)")],
)
def test_further_steps_that_change_alike_are_equal(compare, old, new):
    report = compare("training", both=STEPS, end=STEP.replace(old, new), both_end=STEP)
    assert report.verdict == Verdict.EQUAL, report.findings
    assert {g.name for c in report.checks for g in c.groups} >= {"one later", "one later buffers", "one other state"}


def test_outputs_that_depend_on_the_steps_of_both_sides_are_a_note(compare):
    steps = "self.steps = 0"
    end = "self.steps += self.training\ny = y / (1 + self.steps)"
    report = compare("training", both=f"{steps}\nself.norm = nn.Identity()", end=end, both_end=end)
    assert report.verdict == Verdict.EQUAL, report.findings
    assert {f.kind for f in report.findings} == {"eval-changed"}


def test_a_parameter_that_moves_nothing_is_a_note_on_both_sides_and_a_finding_on_one(compare):
    idle = "self.idle = nn.Parameter(torch.ones(3))"
    (note,) = (f for f in compare("gradients", both=idle).findings if f.subject == "idle")
    assert (note.kind, note.verdict) == ("no-effect", Verdict.NOTE)
    report = compare("gradients", end="y = y + self.idle.sum()", both=idle)
    assert ("no-effect", "idle") in {(f.kind, f.subject) for f in report.findings if f.verdict == Verdict.DIFFERENT}


@pytest.mark.parametrize(
    "end",
    [
        "y = y + self.idle.detach()",
        "y = y + torch.sign(self.idle)",
        "y = y + self.idle.requires_grad_(False)",
        "y = {'y': y, 'at': self.idle.argmax()}",
    ],
)
def test_what_no_gradient_reaches_may_move_an_output(compare, end):
    """Detached, a step, frozen, an index: no gradient reaches it, and it matters all the same."""
    idle = "self.idle = nn.Parameter(torch.ones(4))"
    report = compare("gradients", end=end, both=idle)
    loud = {(f.kind, f.subject) for f in report.findings if f.verdict == Verdict.DIFFERENT}
    assert ("no-effect", "idle") in loud


def test_a_gradient_of_zeros_and_none_at_all_are_told_apart_in_a_note(compare):
    idle = "self.idle = nn.Parameter(torch.ones(3))"
    report = compare("gradients", end="y = y + 0 * self.idle.sum()", both=idle)
    assert report.verdict == Verdict.EQUAL
    assert {f.kind: f.verdict for f in report.findings if f.subject == "idle"} == {
        "gradient-zero": Verdict.NOTE, "no-effect": Verdict.NOTE,
    }  # fmt: skip


def test_a_model_without_gradients_or_checkpoints_says_so(compare):
    report = compare("gradients", end="return {'y': y.detach()}")
    assert report.verdict == Verdict.DIFFERENT
    report = compare("roundtrip")
    assert {s.reason for s in report.skipped} >= {"Model has no save_pretrained()"}
    assert report.verdict == Verdict.EQUAL  # its state dict goes into another model of its class
    assert [g.name for c in report.checks for g in c.groups if g.compared] == ["state dict"]


LOADS = """
    def {name}(self, *given):
        {body}
"""
OLD = "state, prefix = given[:2]\n        if prefix + 'old.weight' in state:\n            state[prefix + 'linear.weight'] = state.pop(prefix + 'old.weight')"
SUPER = "super()._load_from_state_dict(*given)"


@pytest.mark.parametrize(
    ("left", "right", "subject", "what"),
    [
        (
            f"{OLD}\n        {SUPER}",
            SUPER,
            "old.weight",
            "missing in the candidate; the reference has taken as linear.weight",
        ),
        (SUPER, f"given[0].pop(given[1] + 'linear.bias')\n        {SUPER}", "linear.bias", "is missing after loading"),
        (SUPER, f"{SUPER}\n        self.linear.bias.data.zero_()", None, None),
        (SUPER, f"given[0].pop(given[1] + 'table')\n        {SUPER}", "table", "is missing after loading"),
    ],
)
def test_what_a_state_dict_loses_on_one_side_is_found(duo, left, right, subject, what):
    for side, body in (("left", left), ("right", right)):
        duo.write(side)
        file = duo.folder / side / "model.py"
        file.write_text(file.read_text() + LOADS.format(name="_load_from_state_dict", body=body))
    duo.spec(checks=["roundtrip"])
    report = duo.run()
    found = [f for f in report.findings if f.verdict == Verdict.DIFFERENT]
    if subject is None:  # the module's own loading comes before that of what is in it
        assert report.verdict == Verdict.EQUAL, report.findings
    else:
        assert [f.subject for f in found] == [subject]
        assert what in found[0].message
    for side in ("left", "right"):
        file = duo.folder / side / "model.py"
        file.write_text((duo.folder / "right" / "model.py").read_text())
    both = duo.run()
    assert [f for f in both.findings if f.verdict != Verdict.NOTE and f.kind != "same-code"] == []


def test_what_is_saved_beside_the_tensors_is_compared(duo):
    file = duo.folder / "left" / "model.py"
    state = "\n    def get_extra_state(self):\n        return {'seen': 3}\n\n    def set_extra_state(self, state):\n        pass\n"
    file.write_text(file.read_text() + state)
    duo.spec(checks=["roundtrip"])
    (found,) = duo.run().findings
    assert (found.kind, found.subject, found.verdict) == ("missing-in-candidate", "_extra_state", Verdict.DIFFERENT)


# The table is made on the device of a parameter: while from_pretrained builds, that is meta, and only transformers 5 puts
# every other buffer there too.
PRETRAINED = """
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
    def __init__(self, config):
        super().__init__(config)
        self.linear = nn.Linear(config.width, config.width)
        self.{name} = nn.Parameter(torch.ones(config.width))
        table = torch.arange(float(config.width)).to(self.linear.weight)
        self.register_buffer("table", table, persistent={persistent})
        self.post_init()

    def _init_weights(self, module):
        {init}

    def forward(self, x):
        return {{"y": self.linear(x) * self.{name} + self.table}}
"""


@pytest.fixture
def saved(duo):
    """The report of `roundtrip` on two such models; keywords fill in the candidate, whose text `right` is."""

    def run_it(left: str = PRETRAINED, fills: str = "pass", right: str = PRETRAINED, **candidate: object) -> Report:
        plain = {"name": "scale", "persistent": True, "init": fills}
        for side, text, filled in (("left", left, plain), ("right", right, {**plain, **candidate})):
            (duo.folder / side).mkdir(exist_ok=True)
            (duo.folder / side / "model.py").write_text(text.format(**filled))
        duo.spec(checks=["roundtrip"], variants={"tiny": {"width": 32}})
        return duo.run()

    return run_it


def test_a_checkpoint_comes_back(saved):
    report = saved()
    assert report.verdict == Verdict.EQUAL, report.findings
    assert {g.name for c in report.checks for g in c.groups if g.compared} == {
        "state dict",
        "save",
        "reference load",
        "candidate load",
        "after loading",
        "bfloat16",
        "as asked for",
        "with a prefix",
    }
    (told,) = (s.reason for s in report.skipped if s.case == "missing keys")  # both leave them unset
    assert told.startswith(
        "4 parameters differ in size, hold too few drawn values to judge, or are finite on neither side"
    )


FILLS = """if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        if isinstance(module, Model):
            nn.init.ones_(module.scale)
            module.table.copy_(torch.arange(float(self.config.width)))"""
PLAIN = PRETRAINED.replace("(PreTrainedModel)", "(nn.Module)").replace("__init__(config)", "__init__()")
PLAIN = PLAIN.replace(
    "self.post_init()", "nn.init.normal_(self.linear.weight, std=0.02); nn.init.zeros_(self.linear.bias)"
)
assert PLAIN.count("nn.init") == 2


@pytest.mark.parametrize("left", [PRETRAINED, PLAIN], ids=["hub-style", "plain"])
@pytest.mark.parametrize(
    ("old", "new", "lost"),
    [
        ("pass", "pass", []),
        ("std=0.02", "std=0.05", ["linear.weight"]),
        ("nn.init.zeros_(module.bias)", "pass", ["linear.bias"]),
        ("nn.init.ones_(module.scale)", "pass", ["scale"]),
        ("nn.init.normal_(module.weight, std=0.02)", "module.weight.data.normal_(0.0, 0.02)", None),
    ],
)
def test_what_fills_a_checkpoint_that_lacks_tensors_is_as_in_the_reference(saved, left, old, new, lost):
    """None: only a reference that loads can say whether what a checkpoint has may be drawn anew."""
    report = saved(left, FILLS, init=FILLS.replace(old, new))
    lost = (["linear.weight"] if left is PRETRAINED else []) if lost is None else lost
    assert [(f.case, f.subject) for f in report.findings] == [("missing keys", name) for name in lost]
    assert report.verdict == (Verdict.DIFFERENT if lost else Verdict.EQUAL)


DRAWN_WEIGHT = "nn.init.normal_(module.weight, std=0.02)"
TABLE = "module.weight.copy_(torch.arange(1024.).reshape(32, 32) / 1024)"


@pytest.mark.parametrize("left", [PRETRAINED, PLAIN], ids=["hub-style", "plain"])
@pytest.mark.parametrize(
    ("new", "lost"),
    [
        (TABLE, []),
        (TABLE.replace("32, 32)", "32, 32).T"), ["linear.weight"]),  # of the same mean and spread
        (TABLE.replace("/ 1024", "/ 1000"), ["linear.weight"]),
    ],
)
def test_a_table_that_fills_a_checkpoint_is_compared_by_value(saved, left, new, lost):
    first = left.replace(
        DRAWN_WEIGHT.replace("module", "self.linear"), TABLE.replace("module.weight", "self.linear.weight.data")
    )
    report = saved(first, FILLS.replace(DRAWN_WEIGHT, TABLE), init=FILLS.replace(DRAWN_WEIGHT, new))
    assert [(f.case, f.subject) for f in report.findings] == [("missing keys", name) for name in lost]
    assert report.verdict == (Verdict.DIFFERENT if lost else Verdict.EQUAL)


def test_a_buffer_that_loading_leaves_unset_is_found(saved):
    report = saved(persistent=False)
    lost = [f for f in report.findings if f.kind == "tensor-lost"]
    assert [(f.case, f.subject) for f in lost] == [("candidate load", "table")]


LOADER = """
    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        model, *told = super().from_pretrained(*args, **kwargs)
        return model.float(), *told
"""
MORE = '    base_model_prefix = "tiny"\n'
STRICT = "_keep_in_fp32_modules_strict = {{'linear'}}"


@pytest.mark.parametrize(
    ("left", "right", "lost"),
    [
        ("", STRICT, ["linear.bias", "linear.weight"]),
        ("", LOADER, ["linear.bias", "linear.weight", "scale", "table"]),
        (STRICT, STRICT, []),
    ],
)
def test_what_a_checkpoint_in_bfloat16_comes_back_as(saved, left, right, lost):
    left, right = (PRETRAINED.replace(MORE, f"{MORE}    {more}\n") for more in (left, right))
    report = saved(left, right=right)
    assert [(f.case, f.subject, f.kind) for f in report.findings] == [("bfloat16", name, "kept-dtype") for name in lost]
    if lost:
        assert report.findings[0].message == (
            "from a bfloat16 checkpoint, loaded in the dtype that it has, it comes back as float32; in the reference as bfloat16"
        )


OVERRIDE = """
    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        {first}
        model, *told = super().from_pretrained(*args, **kwargs)
        {then}
        return model, *told
"""
ALONE = "kwargs = {{k: v for k, v in kwargs.items() if k == 'output_loading_info'}}"


@pytest.mark.parametrize("left", [PRETRAINED, PLAIN], ids=["hub-style", "plain"])
@pytest.mark.parametrize(
    ("first", "then", "told"),
    [
        ("pass", "pass", []),
        ("pass", "model.train()", [("after loading", "(the model)", "loaded-mode")]),
        ("pass", "model.linear.train()", [("after loading", "linear", "loaded-mode")]),
        ("pass", "model.linear.requires_grad_(False)", [("after loading", "linear.bias", "loaded-frozen")]),
        ("pass", "model.config.width += 1", [("candidate load", "config.width", "config-lost")]),
        (
            ALONE,
            "model.config._attn_implementation = 'other'",
            [
                ("as asked for", "attn_implementation", "asked-attention"),
                ("as asked for", "linear.bias", "asked-dtype"),
            ],
        ),
    ],
)
def test_what_loading_makes_of_a_model_besides_its_tensors(saved, left, first, then, told):
    """Where the reference cannot load, with what transformers does and what was asked for."""
    override = MORE + OVERRIDE.format(first=first, then=then)
    report = saved(left, FILLS, right=PRETRAINED.replace(MORE, override), init=FILLS)
    found = [(f.case, f.subject, f.kind) for f in report.findings if f.case != "bfloat16"]
    assert sorted((case, kind) for case, _, kind in found) == sorted((case, kind) for case, _, kind in told)
    assert {(case, subject) for case, subject, kind in found if kind != "asked-dtype"} <= {
        told_of[:2] for told_of in told
    }
    assert report.verdict == (Verdict.DIFFERENT if told else Verdict.EQUAL)


@pytest.mark.parametrize(
    ("then", "kinds"),
    [
        ("model.train()", {"loaded-mode"}),
        ("model.config.width += 1", {"config-lost"}),
        ("model.config._attn_implementation = 'other'", {"asked-attention"}),
    ],
)
def test_what_loading_makes_of_the_reference_alone_or_of_both(saved, then, kinds):
    override = PRETRAINED.replace(MORE, MORE + OVERRIDE.format(first="pass", then=then))
    both = saved(override, FILLS, right=override, init=FILLS)
    assert both.verdict == Verdict.EQUAL, both.findings
    assert {f.kind for f in both.findings} <= {"config-lost"}  # noted of each
    alone = saved(override, FILLS, init=FILLS)
    assert {f.kind for f in alone.findings} == kinds
    assert alone.verdict == (Verdict.DIFFERENT if "config-lost" in kinds else Verdict.EQUAL)


AUTO_CLASS = 'Config.register_for_auto_class()\nModel.register_for_auto_class("AutoModel")\n'


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        (AUTO_CLASS, AUTO_CLASS, []),
        (AUTO_CLASS, "", ["config.json of the candidate has no auto_map for AutoModel, so"]),
        (
            "",
            "",
            [f"config.json of the {side}, like the other side's, has no auto_map for AutoModel, so" for side in BOTH],
        ),
    ],
)
def test_a_checkpoint_without_auto_map_is_told_in_our_words(duo, left, right, said):
    for side, end in (("left", left), ("right", right)):
        (duo.folder / side).mkdir(exist_ok=True)
        (duo.folder / side / "model.py").write_text(PRETRAINED.format(name="scale", persistent=True, init="pass") + end)
    sides = {
        role: {"path": folder, "config": "model:Config", "model": "model:Model", "remote_code": ["model.py"]}
        for role, folder in (("reference", "left"), ("candidate", "right"))
    }
    duo.spec(checks=["roundtrip"], variants={"tiny": {"width": 32}}, **sides)
    told = [f.message for f in duo.run().findings]
    assert len(told) == len(said)
    assert all(message.startswith(start) for message, start in zip(told, said, strict=True))


@pytest.mark.parametrize("lost", [False, True])
def test_a_checkpoint_is_loaded_under_other_interpreters_too(duo, lost):
    """The other one stands for another generation of a library: it is the same, and can be told apart."""
    (duo.folder / "other").mkdir()
    python = duo.folder / "other" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -X other "$@"\n')
    python.chmod(0o755)
    plain = PRETRAINED.format(name="scale", persistent=True, init="pass")
    loader = LOADER.replace("model.float()", 'model.half() if "other" in sys._xoptions else model')
    right = "import sys\n" + plain.replace(MORE, MORE + loader if lost else MORE)
    for side, text in (("left", plain), ("right", right)):
        (duo.folder / side).mkdir(exist_ok=True)
        (duo.folder / side / "model.py").write_text(text)
    more = {"config": "model:Config", "model": "model:Model", "load_with": ["other/python"]}
    duo.spec(
        checks=["roundtrip"],
        variants={"tiny": {"width": 32}},
        reference={"path": "left", **more},
        candidate={"path": "right", **more},
    )
    report = duo.run()
    groups = {g.name: g.verdict for c in report.checks for g in c.groups}
    assert groups["reference load, other/python"] == Verdict.EQUAL
    assert groups["candidate load, other/python"] == (Verdict.DIFFERENT if lost else Verdict.EQUAL)
    assert groups["candidate load"] == Verdict.EQUAL


DROPPED = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

class Config:
    def __init__(self, width=4):
        self.width = width

class Model(nn.Module):
    supports_gradient_checkpointing = True

    def __init__(self, config):
        super().__init__()
        self.one, self.two = nn.Linear(config.width, 6), nn.Linear(6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.again = False

    def gradient_checkpointing_enable(self):
        self.again = True

    def gradient_checkpointing_disable(self):
        self.again = False

    def hidden(self, x):
        return self.one(x).tanh()

    def forward(self, x):
        h = checkpoint(self.hidden, x, use_reentrant=False) if self.again else self.hidden(x)
        {forward}
"""


@pytest.fixture
def trained(duo):
    """The report of `forward`, `gradients` and `training` on two such models with these ends of forward."""

    def run_it(left: str, right: str, **changes: object) -> Report:
        for side, forward in (("left", left), ("right", right)):
            (duo.folder / side).mkdir(exist_ok=True)
            (duo.folder / side / "model.py").write_text(
                DROPPED.replace("{forward}", forward.replace("\n", "\n" + " " * 8))
            )
        duo.spec(
            cases={"one": {"inputs": {"x": {"shape": [4, "width"]}}}},
            checks=["forward", "gradients", "training"],
            **changes,
        )
        return duo.run()

    return run_it


WHOLE = "h = self.norm(F.dropout(h, 0.25, self.training))"
PIECES = "h = self.norm(torch.cat([F.dropout(c, 0.25, self.training) for c in h.chunk(2)]))"


def test_dropout_in_other_pieces_is_equal_and_told(trained):
    report = trained(f"{WHOLE}\nreturn {{'y': self.two(h)}}", f"{PIECES}\nreturn {{'y': self.two(h)}}")
    assert report.verdict == Verdict.EQUAL, report.findings
    assert {f.kind for f in report.findings} == {"draws"}
    assert {(s.check, s.case) for s in report.skipped} == {("gradients", "one masks"), ("training", "one masks")}
    assert all(g.compared for c in report.checks for g in c.groups if not g.name.endswith("masks"))


@pytest.mark.parametrize(
    ("end", "check", "kind"),
    [
        ("return {'y': self.two(h.detach())}", "gradients", "gradient-none"),
        ("return {'y': self.two(h) * (1 + 0.1 * self.training)}", "training", "output-values"),
        ("self.norm.momentum = 0.5\nreturn {'y': self.two(h)}", "training", "output-values"),
        ("return {'y': self.two(h.detach() if self.again else h)}", "gradients", "checkpointing"),
    ],
)
def test_dropout_in_other_pieces_hides_no_other_difference(trained, end, check, kind):
    report = trained(f"{WHOLE}\nreturn {{'y': self.two(h)}}", f"{PIECES}\n{end}")
    assert (check, kind) in {(f.check, f.kind) for f in report.findings if f.verdict == Verdict.DIFFERENT}


@pytest.mark.parametrize("lost", ["h.detach() if self.again else h", "None if self.again else h"])
def test_an_output_that_checkpointing_detaches_or_drops_is_found(trained, lost):
    plain = "return {'y': self.two(h), 'h': h}"
    assert trained(plain, plain).verdict == Verdict.EQUAL
    report = trained(plain, f"return {{'y': self.two(h), 'h': {lost}}}")
    found = [(f.kind, f.case, f.subject) for f in report.findings if f.verdict == Verdict.DIFFERENT]
    assert found == [("checkpointing-field", "one checkpointed", "h")]


@pytest.mark.parametrize(
    ("end", "verdict"), [("h", Verdict.EQUAL), ("h.detach() if self.again else h", Verdict.DIFFERENT)]
)
def test_reentrant_checkpointing_is_compared_too(trained, end, verdict):
    """The kind that transformers 4 takes by default; its backward pass cannot be asked for some gradients alone."""
    again = "h = checkpoint(self.hidden, x, use_reentrant=True) if self.again else h"
    left, right = (f"{again}\nreturn {{'y': self.two({last})}}" for last in ("h", end))
    report = trained(left, right)
    assert report.verdict == verdict, report.findings
    [group] = [g for c in report.checks for g in c.groups if g.check == "gradients" and g.name == "one checkpointed"]
    assert group.compared > 3
    assert group.verdict == verdict


ENDS = "return {'y': self.two(self.norm(h))}"
IDLE = f"h = self.hidden(x)\n{ENDS}"
WORKS = "h = checkpoint(lambda t: F.linear(t, self.one.weight, self.one.bias).tanh(), x, use_reentrant=False)"


@pytest.mark.parametrize(
    ("left", "right", "told"),
    [
        (ENDS, IDLE, Verdict.DIFFERENT),
        (IDLE, ENDS, Verdict.NOTE),
        (IDLE, IDLE, None),
        (ENDS, f"{WORKS}\n{ENDS}", None),  # always, and by no module
    ],
)
def test_checkpointing_that_does_nothing_is_found(trained, left, right, told):
    report = trained(left, right)
    assert [(f.kind, f.case, f.verdict) for f in report.findings] == (
        [("not-recomputed", "one checkpointed", told)] if told else []
    )
    assert report.verdict == (told if told == Verdict.DIFFERENT else Verdict.EQUAL)


@pytest.mark.parametrize("end", ["h.detach()", "h + 0 * h.detach()"])
def test_a_gradient_that_stops_in_eval_mode_alone_is_found(trained, end):
    report = trained(ENDS, f"h = h if self.training else {end}\n{ENDS}")
    found = {(f.case, f.kind) for f in report.findings}
    assert found == ({("one eval", "gradient-none")} if end == "h.detach()" else set())


def test_gradients_in_eval_mode_are_not_asked_of_a_model_that_has_none_there(trained):
    plain = f"assert self.training or not torch.is_grad_enabled()\n{ENDS}"
    report = trained(plain, plain)
    assert report.verdict == Verdict.EQUAL, report.findings
    (told,) = (s.reason for s in report.skipped)
    assert told.startswith("neither side has gradients in eval mode: AssertionError")


@pytest.mark.parametrize(("right", "verdict"), [("4", Verdict.EQUAL), ("5", Verdict.DIFFERENT)])
def test_a_table_that_is_held_as_a_parameter_is_compared_by_value(duo, right, verdict):
    """A rearranged table has the same mean, spread and shape; only its values tell."""
    for side, shift in (("left", "4"), ("right", right)):
        table = f"torch.linspace(-1, 1, 96).roll({shift})"
        duo.write(side, init=f"self.position = nn.Parameter({table}, requires_grad=False)")
    duo.spec(checks=["structure", "initialisation"])
    report = duo.run()
    assert report.verdict == verdict
    told = [("initialisation", "position")] if verdict == Verdict.DIFFERENT else []
    assert [(f.check, f.subject) for f in report.findings] == told


SWAPPED = "a, b = self.one(x), self.norm(self.one(x).sin())\n{first}\n{second}\nreturn {{'y': self.two({end})}}"
FIRST, SECOND = "a = F.dropout(a, 0.25, self.training)", "b = F.dropout(b, 0.25, self.training)"


@pytest.mark.parametrize(
    ("end", "verdict"),
    [("a * b.flip(1)", Verdict.EQUAL), ("a * b.flip(1) * (1 + 0.1 * self.training)", Verdict.DIFFERENT)],
)
def test_dropouts_in_another_order_are_equal_and_told(trained, end, verdict):
    left = SWAPPED.format(first=FIRST, second=SECOND, end="a * b.flip(1)")
    report = trained(left, SWAPPED.format(first=SECOND, second=FIRST, end=end))
    assert report.verdict == verdict, report.findings
    assert {(s.check, s.case) for s in report.skipped} == {("gradients", "one masks"), ("training", "one masks")}


def test_a_dropout_of_another_tensor_is_not_another_order(trained):
    left = SWAPPED.format(first=FIRST, second="pass", end="a * b.flip(1)")
    report = trained(left, SWAPPED.format(first=SECOND, second="pass", end="a * b.flip(1)"))
    assert report.verdict == Verdict.DIFFERENT
    assert not [s for s in report.skipped if s.case == "one masks"]


NESTED = "a, b, c = self.norm(h), h.sin(), h.cos()\nreturn {{'y': self.two(a), 'states': (a, {b}, c)}}"
FLAT = "a, b, c = self.norm(h), h.sin(), h.cos()\nreturn self.two(a), a, {b}, c"
FLATTENED = {"y": "0", "states.0": "1", "states.1": "2", "states.2": "3"}


@pytest.mark.parametrize(("b", "verdict"), [("b", Verdict.EQUAL), ("b.detach()", Verdict.DIFFERENT)])
def test_a_flat_tuple_that_is_mapped_onto_nested_outputs_has_their_gradients(trained, b, verdict):
    report = trained(NESTED.format(b="b"), FLAT.format(b=b), mapping={"outputs": FLATTENED})
    assert report.verdict == verdict, report.findings
    told = {(f.check, f.details["field"]) for f in report.findings if f.verdict == Verdict.DIFFERENT}
    assert told == ({("gradients", "states")} if verdict == Verdict.DIFFERENT else set())


@pytest.mark.parametrize(
    "mask",
    [
        "(torch.rand(h.shape) + 0.75).floor() / 0.75",
        "torch.floor(torch.rand_like(h).add_(0.75)).div(0.75)",
        "(torch.rand_like(h) >= 0.25) / 0.75",
        "(torch.rand_like(h) > 0.25).to(h.dtype) / 0.75",
        "(torch.rand_like(h) < 0.75) / 0.75",
        "torch.rand_like(h).le(0.75).div(0.75)",
        "(0.75 > torch.rand_like(h)) / 0.75",
        "~(torch.rand_like(h) < 0.25) / 0.75",
        "torch.where(torch.rand_like(h) > 0.75, 0.0, 1 / 0.75)",
        "(torch.empty_like(h).uniform_() < torch.tensor(0.75)) / 0.75",
        "torch.bernoulli(torch.full_like(h, 0.75)) / 0.75",
        "(torch.full_like(h, 0.75) > torch.rand_like(h)) / 0.75",
        "(torch.rand_like(h).float() < 0.75) / 0.75",
    ],
)
def test_a_dropout_that_is_written_out_drops_the_same(trained, mask):
    end = "\nreturn {'y': self.two(h)}"
    report = trained(f"{WHOLE}{end}", f"h = self.norm(h * ({mask}) if self.training else h){end}")
    assert report.verdict == Verdict.EQUAL, report.findings
    wrong = mask.replace("0.75", "0.7").replace("0.25", "0.3")
    report = trained(f"{WHOLE}{end}", f"h = self.norm(h * ({wrong}) if self.training else h){end}")
    assert report.verdict == Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("rate", "mask"),
    [
        (0.5, "(torch.rand_like(h) >= 0.5) / 0.5"),
        (0.5, "(torch.rand_like(h) < 0.5) / 0.5"),
        (0.6, "(torch.rand_like(h) >= 0.6) / 0.4"),
    ],
)
def test_a_dropout_of_half_or_more_that_is_written_out_drops_the_same(trained, rate, mask):
    end = "\nreturn {'y': self.two(h)}"
    whole = WHOLE.replace("0.25", str(rate))
    report = trained(f"{whole}{end}", f"h = self.norm(h * ({mask}) if self.training else h){end}")
    assert report.verdict == Verdict.EQUAL, report.findings
    wrong = mask.replace("0.5)", "0.3)").replace("0.6)", "0.3)")
    report = trained(f"{whole}{end}", f"h = self.norm(h * ({wrong}) if self.training else h){end}")
    assert report.verdict == Verdict.DIFFERENT


def test_what_is_drawn_in_inference_mode_is_no_fault(trained):
    end = "h = self.norm(h)\nreturn {'y': self.two(h)}"
    report = trained(end, f"with torch.inference_mode():\n    noise = torch.rand(3).sum().item()\n{end}")
    assert report.verdict == Verdict.EQUAL, report.findings
    assert {f.kind for f in report.findings} == {"draws"}


KEEPS = """
    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self.{name}.data = self.{name}.data.float()
        return self
"""


@pytest.mark.parametrize(
    ("left", "right", "verdict"), [("table", "", "different"), ("", "table", "note"), ("table", "table", "")]
)
def test_what_a_move_to_a_narrow_type_leaves_alone_is_compared(duo, left, right, verdict):
    for side, name in (("left", left), ("right", right)):
        file = duo.folder / side / "model.py"
        file.write_text(file.read_text() + (KEEPS.format(name=name) if name else "") + f"# {side}\n")
    duo.spec(checks=["buffers"])
    report = duo.run()
    assert [(f.subject, f.verdict.value) for f in report.findings] == ([("table", verdict)] if verdict else [])


@pytest.mark.parametrize(
    ("right", "same"),
    [
        ("self.words = nn.Embedding(50, 16)", False),  # the row of the padding is drawn too
        ("self.words = nn.Embedding(50, 16, padding_idx=1)", False),
        ("torch.rand(3)\nself.words = nn.Embedding(50, 16, padding_idx=0)", True),
    ],
)
def test_rows_that_are_not_drawn_are_compared(duo, right, same):
    duo.write("left", init="self.words = nn.Embedding(50, 16, padding_idx=0)")
    duo.write("right", init=right)
    duo.spec(checks=["initialisation"])
    report = duo.run()
    found = [(f.subject, f.details["what"]) for f in report.findings]
    assert found == ([] if same else [("words.weight", "set of rows that no seed changes")])
