"""Where a constructor made something otherwise, or a number that was written somewhere chose another number of elements."""

from __future__ import annotations

import textwrap

import pytest
from second_pass import HEAD, source

KINDS = """
class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.weight / x.abs().mean(-1, keepdim=True)


def build(width, kind="plain"):
    if kind == "plain":
        return nn.LayerNorm(width)
    return Scale(width)
"""
KIND = """
def __init__(self, width):
    super().__init__()
    self.norm = build(width)
"""
NORMED = """
def forward(self, x):
    return torch.tanh(self.norm(x))
"""


def test_a_module_of_another_kind_is_named_where_its_kind_was_chosen(localise):
    candidate = KINDS.replace('kind == "plain":', 'kind != "plain":  # here')
    found = localise(source(NORMED, KIND) + KINDS, source(NORMED, KIND) + candidate)
    assert (found.kind, found.confidence) == ("first-setting", "aligned")
    assert found.details["setting"] == "norm (Scale)"


@pytest.mark.parametrize(
    "made", ["Scale(width)", "nn.LayerNorm(width, bias=False)", "nn.LayerNorm(width, elementwise_affine=False)"]
)
def test_a_module_made_without_a_parameter_is_named_where_it_was_made(localise, made):
    candidate = KIND.replace("build(width)", f"{made}  # here")
    found = localise(source(NORMED, KIND) + KINDS, source(NORMED, candidate) + KINDS)
    assert found.kind == "first-setting"


@pytest.mark.parametrize("used", ["x * self.weight", "x + self.weight.expand(3, 5, -1).flip(1)"])
def test_a_parameter_that_is_none_is_named_where_it_was_set(localise, used):
    init = "def __init__(self, width):\n    super().__init__()\n    self.weight = nn.Parameter(torch.ones(width))  # here\n"
    body = f"def forward(self, x):\n    return torch.tanh({used})\n"
    found = localise(source(body, init), source(body, init.replace("nn.Parameter", "")))
    assert (found.kind, found.details["setting"]) == ("first-setting", "weight")


STACK = """
def __init__(self, width):
    super().__init__()
    self.layers = nn.ModuleList()
    for _ in range(3):
        self.layers.append(nn.Linear(width, width))
"""
STACKED = """
def forward(self, x):
    for layer in self.layers:
        x = x + torch.tanh(layer(x))
    return x
"""


@pytest.mark.parametrize("count", [2, 4])
def test_another_number_of_layers_is_named_where_it_is_written(localise, count):
    candidate = STACK.replace("range(3):", f"range({count}):  # here")
    found = localise(source(STACKED, STACK), source(STACKED, candidate))
    assert found.kind == "first-mended"
    assert "in range(3)" in found.details["after"] or "range(4))[" in found.details["after"]


def test_another_number_of_layers_that_no_small_change_mends_is_named_where_they_are_made(localise):
    made = "self.layers.append(nn.Linear(width, width))"
    right = STACK.replace("range(3)", "range(width - 8)")
    candidate = right.replace("width - 8", "sum(divmod(width, 7)) - 1").replace(made, f"{made}  # here")
    found = localise(source(STACKED, right), source(STACKED, candidate))
    assert (found.kind, found.details["setting"]) == ("first-setting", "layers.3")


def test_a_layer_that_is_made_and_not_called_is_named_at_the_loop_that_chooses_it(localise):
    candidate = STACKED.replace("self.layers:", "self.layers[:-1]:  # here")
    assert localise(source(STACKED, STACK), source(candidate, STACK)).kind == "first-missing"


def test_a_module_under_another_name_is_named_where_it_is_set(localise):
    def renamed(text: str) -> str:
        return text.replace("self.layers", "self.blocks")

    made = renamed(STACK).replace("nn.ModuleList()", "nn.ModuleList()  # here")
    found = localise(source(STACKED, STACK), source(renamed(STACKED), made))
    assert (found.kind, found.details["setting"]) == ("first-setting", "blocks")


LOOPED = """
def __init__(self, width):
    super().__init__()
    for name in ("sine", "cosine"):
        self.register_buffer(name, torch.zeros(width), persistent=False)
    self.fill()

def fill(self):
    for table in self.buffers():
        table.copy_(torch.arange(len(table)) / 10)

def forward(self, x):
    return x * self.sine + x.tanh() * (self.cosine + 3)
"""


def test_a_buffer_that_was_never_filled_is_named_where_those_like_it_are(localise):
    candidate = LOOPED.replace("self.buffers():", "list(self.buffers())[:-1]:  # here")
    found = localise(source("", LOOPED), source("", candidate))
    assert (found.kind, found.details["setting"]) == ("first-setting", "cosine")


TABLES = """
def __init__(self, width):
    super().__init__()
    self.register_buffer("table", torch.arange(width) / 10, persistent=False)
    self.second = nn.Linear(width, width)
    self.kept = {}

def forward(self, x):
    table = self.kept.setdefault(x.shape, (self.table * 2).cos())
    return self.second(x * table)
"""


def test_what_an_earlier_pass_kept_is_traced_to_the_buffer_that_it_was_made_of(localise):
    candidate = TABLES.replace("persistent=False)", "persistent=False)  # here").replace("/ 10", "/ 11")
    found = localise(source("", TABLES), source("", candidate))
    assert (found.kind, found.details["setting"]) == ("first-setting", "table")


CHOSEN = """
MOST = 4


def best(x, most=MOST):
    scores = x.abs().sum(-1)
    return torch.sort(scores, dim=1, descending=True, stable=True).indices[:, :most]
"""
FIRST = """
def forward(self, x):
    x = x.gather(1, best(x)[..., None].expand(-1, -1, x.shape[-1]))
    x = self.second(torch.tanh(self.first(x)))
    return {"states": x, "pooled": x.mean(1)}
"""
LAST = """
def forward(self, x):
    x, index = self.second(torch.tanh(self.first(x))), best(x)
    x = x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
    return {"states": x, "pooled": x.mean(1)}
"""


@pytest.mark.parametrize(("body", "number"), [(FIRST, 3), (LAST, 3), (LAST, 2)])
def test_another_number_of_chosen_elements_is_named_where_it_was_written(localise, body, number):
    candidate = CHOSEN.replace("MOST = 4", f"MOST = {number}  # here")
    found = localise(source(FIRST) + CHOSEN, source(body) + candidate)
    assert (found.kind, found.confidence) == ("first-setting", "aligned")


def test_another_choice_of_another_size_is_named_where_it_was_made(localise):
    candidate = CHOSEN.replace("scores = x.abs().sum(-1)", "scores = x.abs().sum(-1)[:, 2:] + 1  # here")
    assert localise(source(FIRST) + CHOSEN, source(LAST) + candidate).kind == "first-differs"


SCALED = """
def __init__(self, width):
    super().__init__()
    self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)
    self.scaling = width**-0.5
"""
FUSED = """
def forward(self, x):
    query, key, value = (one(x).view(3, 5, 2, 8).transpose(1, 2) for one in (self.query, self.key, self.value))
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).tanh()
"""
WRITTEN = """
def forward(self, x):
    query, key, value = (one(x).view(3, 5, 2, 8).transpose(1, 2) for one in (self.query, self.key, self.value))
    scores = (query @ key.transpose(2, 3) * self.scaling).exp()
    return (scores / scores.sum(-1, keepdim=True) @ value).transpose(1, 2).tanh()
"""


def test_another_scale_of_attention_that_is_written_out_is_named_where_it_was_set(localise):
    candidate = SCALED.replace("width**-0.5", "width**-0.5  # here")  # of the width, not of a head
    found = localise(source(FUSED, SCALED), source(WRITTEN, candidate))
    assert (found.kind, found.details["setting"]) == ("first-setting", "scaling = 0.25")


def test_a_step_more_inside_a_librarys_module_is_named_where_that_was_made(localise):
    init = """
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv1d(5, 5, 3, padding=1)
    """
    body = "def forward(self, x):\n    return torch.tanh(self.first(x)) * 2\n"
    candidate = init.replace("padding=1)", 'padding=1, padding_mode="reflect")  # here')
    found = localise(source(body, textwrap.dedent(init)), source(body, textwrap.dedent(candidate)))
    assert (found.kind, found.confidence) == ("first-setting", "aligned")


STEPS = """
SHARE = 0.25


class Scaled(nn.Module):
    limit = 3.0

    def __init__(self, width, share=0.5, power=2.5):
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.share, self.power = share, power

    def forward(self, x):
        return bent(self.linear(x).abs() * self.share, self.power).clamp(max=self.limit)


def bent(x, power, offset=0.125):
    return (x + offset) ** power + SHARE


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.power = 1.5
        self.inner = Scaled(width, 0.75, self.power)

    def forward(self, x):
        return self.inner(x)
"""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("self.power = 1.5", "self.power = 1.7"),
        ("self.inner = Scaled(width, 0.75, self.power)", "self.inner = Scaled(width, 0.7, self.power)"),
        ("SHARE = 0.25", "SHARE = 0.3"),
        ("def bent(x, power, offset=0.125):", "def bent(x, power, offset=0.15):"),
        ("    limit = 3.0", "    limit = 0.7"),
    ],
    ids=["attribute handed on", "by place", "top of the file", "default", "of the class"],
)
def test_a_number_is_named_where_it_was_written(localise, right, wrong):
    start = HEAD.replace("\n\nclass Model(nn.Module):\n", STEPS)
    found = localise(start, start.replace(right, f"{wrong}  # here"))
    assert found.kind == "first-setting"


def test_of_a_convolution_the_setting_that_others_are_made_of_is_named(localise):
    text = """
class Spread(nn.Module):
    def __init__(self, inputs, size, stride=1, dilation=1):
        super().__init__()
        self.stride, self.dilation = stride, dilation
        self.pad = dilation * (size - 1) // 2
        self.kernel = nn.Parameter(torch.ones(inputs, inputs, size))

    def forward(self, x):
        return F.conv1d(x, self.kernel, None, self.stride, self.pad, self.dilation)


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = Spread(5, 3, 1, dilation=2)

    def forward(self, x):
        return self.inner(x)
"""
    start = HEAD.replace("\n\nclass Model(nn.Module):\n", text)
    found = localise(start, start.replace("1, dilation=2)", "1, dilation=1)  # here"))
    assert found.kind == "first-setting"


def test_modules_that_nothing_calls_are_missing_where_they_are_named(localise):
    init = "def __init__(self, width):\n    super().__init__()\n    self.norm = nn.LayerNorm(width)\n"
    init += "    self.inner = Inner(width)\n"
    inner = "\n\nclass Inner(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
    inner += "        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))\n\n"
    inner += "    def forward(self, x):\n        for layer in self.layers:  # here\n            x = layer(x)\n        return x\n"
    body = "def forward(self, x):\n    x = self.inner(x)\n    return self.norm(x)\n"
    reference = source(body, init).replace("\n\nclass Model", f"{inner}\n\nclass Model")
    found = localise(reference, reference.replace("x = layer(x)", "pass"))
    assert (found.kind, found.confidence) == ("first-missing", "aligned")


WITH_NORM = HEAD.replace(
    "class Model",
    """class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        wide = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        return self.weight * wide


class Model""",
)
IN_NORM = """    def __init__(self, width):
        super().__init__()
        self.norm, self.second = Norm(width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.second(self.norm(x))
"""


@pytest.mark.parametrize("wide", ["wide = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)", "pass"])
def test_a_module_that_returns_something_else_than_it_makes_is_named_where_it_returns(localise, wide):
    reference = WITH_NORM + IN_NORM
    candidate = reference.replace("wide = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)", wide)
    candidate = candidate.replace("return self.weight * wide", "return self.weight  # here")
    assert localise(reference, candidate).kind == "first-missing"


TIED = """
def __init__(self, width):
    super().__init__()
    self.first = nn.Linear(width, width)

def forward(self, x):
    y = self.first(x)
    y = F.gelu(y)
    return y @ self.first.weight
"""


@pytest.mark.parametrize("wrong", ["F.gelu(y) * 0.5", "torch.sin(y) * 0.5 + y * 0.3"])
def test_a_fault_between_two_uses_of_a_weight_is_not_what_its_module_returns(localise, wrong):
    candidate = source("", TIED.replace("y = F.gelu(y)", f"y = {wrong}  # here"))
    assert localise(source("", TIED), candidate).kind != "first-missing"
