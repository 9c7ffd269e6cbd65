"""Faults at lines that compute nothing, or beside those that do: what a line hands on, chooses, puts in order or leaves."""

from __future__ import annotations

import pytest
from second_pass import HEAD, LINEARS, source

RESIDUAL = """
def forward(self, x):
    y = x + self.first(x)
    return torch.tanh(self.second(y)) + y
"""


def test_a_summand_left_out_is_named_where_the_rest_is_handed_on(localise):
    body = RESIDUAL.replace("y = x", "z = self.first(x)\n    y = x").replace("x + self.first(x)", "x + z")
    found = localise(source(body), source(body.replace("y = x + z", "y = z  # here")))
    assert (found.kind, found.confidence) == ("first-missing", "aligned")


def test_a_summand_left_out_of_an_argument_is_named_where_that_is_handed_on(localise):
    body = """
    def forward(self, x):
        return self.inner(self.first(x))

    def inner(self, y):
        z = y + torch.tanh(y)
        return self.second(z)
    """
    found = localise(source(body), source(body.replace("z = y + torch.tanh(y)", "z = y  # here")))
    assert found.kind == "first-missing"


def test_a_step_left_out_of_a_long_call_is_named_at_its_argument(localise):
    body = """
    def forward(self, x):
        y = self.first(x)
        return torch.add(
            x,
            self.second(torch.tanh(y)),
        )
    """
    found = localise(source(body), source(body.replace("self.second(torch.tanh(y)),", "self.second(y),  # here")))
    assert found.kind == "first-missing"


LAYERS = """
def __init__(self, width):
    super().__init__()
    self.layers = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(3))
"""
LOOP = """
def forward(self, x):
    for layer in self.layers:
        x = x + layer(x)
    return x
"""


@pytest.mark.parametrize("order", ["self.layers[:-1]", "reversed(self.layers)", "[self.layers[0]] * 3"])
def test_other_layers_are_named_where_the_loop_chooses_them(localise, order):
    candidate = LOOP.replace("self.layers:", f"{order}:  # here")
    assert localise(source(LOOP, LAYERS), source(candidate, LAYERS)).kind in ("first-missing", "first-operand")


JOINED = """
def forward(self, x):
    a, b = torch.sin(x), torch.cos(x)
    parts = (a, b)
    y = torch.cat([part * 2 for part in parts], dim=-1)
    return self.first(y[..., : x.shape[-1]]) * y[..., x.shape[-1] :]
"""


def test_parts_in_another_order_are_named_where_they_are_put_so(localise):
    candidate = JOINED.replace("parts = (a, b)", "parts = (b, a)  # here")
    found = localise(source(JOINED), source(candidate))
    assert (found.kind, found.confidence) == ("first-operand", "aligned")


def test_parts_that_the_joining_line_itself_turns_are_named_there(localise):
    candidate = JOINED.replace("in parts], dim=-1)", "in parts[::-1]], dim=-1)  # here")
    assert localise(source(JOINED), source(candidate)).kind in ("first-differs", "first-operand")


def test_what_is_repeated_in_turns_is_not_what_is_repeated_as_a_whole(localise):
    body = """
    def forward(self, x):
        y = torch.cat([torch.sin(x[..., :4]), torch.cos(x[..., :4])], dim=-1)
        y = torch.cat([y, y], dim=-1)
        return self.first(x) * torch.tanh(y)[..., : x.shape[-1]]
    """
    candidate = body.replace("torch.cat([y, y], dim=-1)", "y.repeat_interleave(2, dim=-1)  # here")
    assert localise(source(body), source(candidate)).kind == "first-differs"


def test_a_later_round_that_finds_the_cause_takes_the_place_of_what_it_led_to(localise):
    body = """
    def forward(self, x):
        order = x.sum(-1).argsort(dim=1)
        chosen = self.first(x).gather(1, order[..., None].expand(-1, -1, x.shape[-1]))
        return torch.tanh(chosen) + torch.sin(order[..., None] * 0.3)
    """
    candidate = body.replace("(dim=1)", "(dim=1).flip(1)  # here")
    found = localise(source(body), source(candidate))
    assert not found.others


ATTEND = """
def forward(self, x):
    query, key, value = self.first(x), self.second(x), torch.tanh(x)
    scores = (query @ key.transpose(1, 2)).softmax(-1)
    return scores @ value
"""


def test_a_known_value_in_the_place_of_another_is_no_step_too_many(localise):
    body = ATTEND.replace("self.second(x),", "self.second(x) * 0.7,")
    found = localise(source(body), source(body.replace("@ value", "@ key  # here")))
    assert found.kind == "first-operand"


def test_elements_in_another_order_are_named_at_the_step_that_turns_them(localise):
    body = """
    def forward(self, x):
        y = self.first(x).transpose(0, 1).flatten(0, 1)
        return self.second(y) * torch.arange(len(y))[:, None]
    """
    candidate = body.replace(
        "        return", "        y = y.unflatten(0, (5, -1)).transpose(0, 1).flatten(0, 1)  # here\n        return"
    )
    assert localise(source(body), source(candidate)).kind == "first-differs"


RETURNED = """
def forward(self, x):
    y = self.first(x)
    z = torch.tanh(y)
    pooled = self.second(z)
    return dict(
        last=z,
        pooled=pooled,
    )
"""


def test_a_value_that_is_made_and_used_up_in_one_line_is_named_there(localise):
    candidate = RETURNED.replace("    z = torch.tanh(y)\n", "").replace("last=z", "last=y")
    candidate = candidate.replace("self.second(z)", "self.second(torch.tanh(y))  # here")
    assert localise(source(RETURNED), source(candidate)).kind == "first-operand"


def test_a_value_returned_under_another_name_is_named_at_its_argument(localise):
    found = localise(source(RETURNED), source(RETURNED.replace("last=z,", "last=y,  # here")))
    assert found.kind == "first-operand"


def test_a_summand_left_out_before_the_return_is_named_where_the_rest_is_handed_on(localise):
    body = """
    def forward(self, x):
        y = self.first(x)
        y = y + self.second(y)
        return y[:, 0]
    """
    found = localise(source(body), source(body.replace("y = y + self.second(y)", "y = y  # here")))
    assert found.kind == "first-missing"


CHOICE = """
def forward(self, x):
    y = torch.tanh(self.first(x))
    if self.deep:
        y = torch.tanh(self.second(y))
    return y
"""
CHOOSES = LINEARS.replace("super().__init__()", "super().__init__()\n    self.deep = True")


def test_a_way_that_is_not_taken_is_named_at_its_test(localise):
    found = localise(source(CHOICE, CHOOSES), source(CHOICE.replace("self.deep:", "not self.deep:  # here"), CHOOSES))
    assert (found.kind, found.confidence) == ("first-branch", "aligned")


TURN = """
def forward(self, x):
    a, b = torch.sin(self.first(x)), torch.cos(self.second(x))
    return self.turned(x, a, b)

def turned(self, x, a, b):
    return x * a + torch.tanh(x) * b
"""
SPREAD = TURN.replace("x * a + torch.tanh(x) * b", "torch.addcmul(x * a, torch.tanh(x), b)")
"""The same in steps of another size, so that the value alone does not say which of the candidate's is at fault."""


@pytest.mark.parametrize(
    "mistake",
    [
        "x + torch.tanh(x) * b",
        "x * a",
        "x * a - torch.tanh(x) * b",
        "x * a + torch.tanh(x) * a",
        "x * b + torch.tanh(x) * b",
    ],
)
def test_a_small_change_that_would_mend_a_value_tells_its_line(localise, mistake):
    candidate = TURN.replace("x * a + torch.tanh(x) * b", f"{mistake}  # here")
    assert localise(source(SPREAD), source(candidate)).kind in ("first-differs", "first-operand", "first-missing")


@pytest.mark.parametrize("names", ["x, b, a", "x, a, a"])
def test_arguments_of_a_call_by_the_names_of_others_are_named_there(localise, names):
    bodies = (
        body.replace("self.turned(x, a, b)", "self.turned(x, a, b) + self.turned(a + b, a, b)")
        for body in (SPREAD, TURN)
    )
    reference, candidate = bodies
    candidate = candidate.replace("self.turned(x, a, b) +", "(\n        self.turned(x, a, b) +").replace(
        "(a + b, a, b)\n", "(a + b, a, b)\n    )\n"
    )
    candidate = candidate.replace("self.turned(x, a, b) +", f"self.turned({names})  # here\n        +")
    assert localise(source(reference), source(candidate)).kind == "first-operand"


@pytest.mark.parametrize("mistake", ["in the call", "in the function"])
def test_arguments_in_another_order_are_named_where_others_have_them_in_this_one(localise, mistake):
    more = "\ndef halved(self, x, a, b):\n    return x * a - b\n"
    reference, candidate = source(SPREAD + more), TURN + more
    if mistake == "in the call":
        candidate = candidate.replace("return self.turned(x, a, b)", "return self.turned(x, b, a)  # here")
    else:
        candidate = candidate.replace("def turned(self, x, a, b):", "def turned(self, x, b, a):  # here")
    assert localise(reference, source(candidate)).kind == "first-operand"


TABLES = """
def forward(self, x):
    a, b = self.tables(x)
    return self.second(self.turned(x, a, b))

def turned(self, x, a, b):
    return x * a + x.flip(-1) * b

def tables(self, x):
    phases = torch.arange(x.shape[1] * x.shape[2]).view(x.shape[1:]) / 7
    return torch.cos(phases), torch.sin(phases)
"""
PARTED = TABLES.replace(
    "return x * a + x.flip(-1) * b",
    "parts = zip(x.unbind(-1), x.flip(-1).unbind(-1), a.unbind(-1), b.unbind(-1))\n"
    "    return torch.stack([p * c + q * s for p, q, c, s in parts], dim=-1)",
)


def test_a_call_lost_from_what_a_function_returns_is_named_in_that_function(localise):
    candidate = source(TABLES.replace("return torch.cos(phases)", "return phases"))
    found = localise(source(PARTED), candidate, here=False)
    lines = candidate.splitlines()
    assert found.candidate.line - 1 in (lines.index(t) for t in lines if "phases" in t), found.message
    assert found.confidence == "aligned"


WAYS = """
def forward(self, x):
    y = self.first(x)
    if y.abs().mean() > 1e-9:
        y = torch.tanh(y) * 3
    else:
        y = torch.sin(y)
    return self.second(y)
"""
NUMBER = WAYS.replace("if y.abs().mean() >", "size = y.abs().mean().item()\n    if size >")
HALVED = """
def forward(self, x):
    y = self.first(x)
    while y.abs().max() > 0.4:
        y = y * 0.5
    return self.second(y)
"""


@pytest.mark.parametrize("mistake", ["torch.sin(y) * 3", "torch.tanh(y) * 4"])
@pytest.mark.parametrize("body", [WAYS, NUMBER], ids=["flag", "number"])
def test_a_fault_in_a_way_that_both_sides_take_is_no_other_way(localise, body, mistake):
    candidate = body.replace("torch.tanh(y) * 3", f"{mistake}  # here")
    assert localise(source(body), source(candidate)).kind == "first-differs"


def test_the_same_choice_told_the_other_way_round_is_no_other_way(localise):
    candidate = (
        WAYS.replace("> 1e-9", "<= 1e-9").replace("torch.tanh(y) * 3", "HELD").replace("sin(y)", "cos(y)  # here")
    )
    candidate = candidate.replace("torch.cos(y)", "torch.cos(y) * 3").replace("HELD", "torch.sin(y)")
    assert localise(source(WAYS), source(candidate)).kind == "first-differs"


@pytest.mark.parametrize(
    ("body", "right", "wrong"),
    [
        (WAYS, "1e-9:", "1e9:"),
        (NUMBER, "1e-9:", "1e9:"),
        (WAYS.replace("    else:\n        y = torch.sin(y)\n", ""), "1e-9:", "1e9:"),
        (NUMBER.replace("    else:\n        y = torch.sin(y)\n", ""), "1e-9:", "1e9:"),
        (HALVED, "0.4:", "0.2:"),
        (HALVED, "0.4:", "0.8:"),
    ],
    ids=["other way", "other way by a number", "no way", "no way by a number", "once more", "once less"],
)
def test_another_way_by_a_value_is_named_at_its_test(localise, body, right, wrong):
    found = localise(source(body), source(body.replace(right, f"{wrong}  # here")))
    assert (found.kind, found.confidence) == ("first-branch", "aligned")


def test_a_conditional_expression_by_a_value_is_named(localise):
    body = """
    def forward(self, x):
        y = self.first(x)
        y = torch.tanh(y) * 3 if y.sum() > -1e9 else torch.sin(y)
        return self.second(y)
    """
    found = localise(source(body), source(body.replace("-1e9 else torch.sin(y)", "1e9 else torch.sin(y)  # here")))
    assert (found.kind, found.confidence) == ("first-branch", "aligned")


LAYERED = """
class Attend(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.value = nn.Linear(width, width)

    def forward(self, x):
        return torch.tanh(self.value(x))


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(width), Attend(width)

    def forward(self, x):
        y = self.attend(self.norm(x))
        return F.relu(x + y)


class Stack(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList(Layer(width) for _ in range(2))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Model(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.stack, self.last = Stack(width), nn.Linear(width, width)

    def forward(self, x):
        x = self.stack(x)
        return self.last(x)
"""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [("y = self.attend(self.norm(x))", "y = self.attend(x)"), ("return F.relu(x + y)", "return x + y")],
    ids=["first step", "last step"],
)
def test_a_step_left_out_of_a_call_is_named_in_the_function_of_the_references(localise, right, wrong):
    reference = HEAD.replace("\n\nclass Model(nn.Module):\n", LAYERED)
    deeper = reference.replace(
        "        return self.last(x)",
        "        return self.ended(x)\n\n    def ended(self, x):\n        return self.last(x)",
    )
    renamed = deeper.replace("Layer(", "Part(")
    found = localise(reference, renamed.replace(right, f"{wrong}  # here"))
    assert (found.kind, found.confidence) == ("first-missing", "aligned")


def test_a_step_left_out_on_the_way_out_of_a_call_is_not_confirmed(localise):
    init = LINEARS.replace("nn.Linear(width, width)\n", "nn.LayerNorm(5)\n")
    body = """
    def forward(self, x):
        y = self.features(x)
        y = y.flatten(2).mean(dim=2)
        return self.second(y)

    def features(self, x):
        y = self.first(x)
        y = torch.sin(y) + y
        return F.group_norm(y, 5)
    """
    candidate = body.replace("F.group_norm(y, 5)", "y")
    found = localise(source(body, init), source(candidate, init), here=False)
    assert (found.kind, found.confidence) == ("first-missing", "aligned")


def test_summands_in_another_order_are_told_apart_by_their_values(localise):
    reference = """
    def forward(self, x):
        y = torch.tanh(self.first(x))
        y = torch.sin(x) + y * 0.5
        return self.second(y)
    """
    candidate = reference.replace("torch.sin(x) + y * 0.5", "y + torch.sin(x)  # here")
    found = localise(source(reference), source(candidate))
    assert found.kind == "first-missing"
