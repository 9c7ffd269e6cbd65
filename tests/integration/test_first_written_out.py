"""One side writes out what the other leaves to one operation, and lacks, or undoes, a step before it."""

from __future__ import annotations

import pytest
from second_pass import source

ATTENDED = """
def forward(self, x):
    query = self.first(x)
    key = self.second(x)
    TURNED
    return F.scaled_dot_product_attention(query, key, x)
"""
WRITTEN_OUT = """
def forward(self, x):
    query = self.first(x)
    key = self.second(x)
    TURNED
    scores = query @ key.transpose(-1, -2) * x.shape[-1] ** -0.5
    scores = torch.exp(scores - scores.amax(-1, keepdim=True))
    return scores / scores.sum(-1, keepdim=True) @ x
"""
TURNS = """
def turn(self, x):
    phases = torch.arange(x.shape[1] * x.shape[2], dtype=x.dtype).view(1, x.shape[1], x.shape[2])
    return x * torch.cos(phases * SPEED) + x.flip(-1) * torch.sin(phases * SPEED)
"""
BOTH = "query, key = self.turn(query), self.turn(key)"


def turned(body: str, how: str, speed: str = "0.3") -> str:
    return source(TURNS.replace("SPEED", speed) + body.replace("TURNED", how))


def test_a_step_that_is_missing_before_attention_is_named_where_its_sibling_is(localise):
    candidate = turned(WRITTEN_OUT, "query, key = self.turn(query), key  # here")
    found = localise(turned(ATTENDED, BOTH), candidate)
    assert found.kind == "first-missing"
    assert found.confidence == "aligned"


def test_a_step_that_does_nothing_is_told_by_what_makes_it_do_nothing(localise):
    candidate = turned(WRITTEN_OUT, BOTH).replace(
        "torch.arange(x.shape[1] * x.shape[2], dtype=x.dtype).view(1, x.shape[1], x.shape[2])",
        "torch.zeros(1, x.shape[1], x.shape[2], dtype=x.dtype)  # here",
    )
    assert localise(turned(ATTENDED, BOTH), candidate).kind in ("first-differs", "first-mended")


def test_a_step_that_is_done_wrongly_before_attention_is_no_missing_one(localise):
    candidate = turned(WRITTEN_OUT, BOTH).replace("+ x.flip(-1) *", "- x.flip(-1) *")
    candidate = "\n".join(t + ("  # here" if "x.flip" in t else "") for t in candidate.splitlines())
    assert localise(turned(ATTENDED, BOTH), candidate).kind != "first-missing"


NORMED = """
def forward(self, x):
    x = x + torch.tanh(self.first(x))
    BLOCK
    return F.layer_norm(x, x.shape[-1:])
"""
BY_HAND = """
def forward(self, x):
    x = x + torch.tanh(self.first(x))
    BLOCK
    middle = x - x.mean(-1, keepdim=True)
    return middle / torch.sqrt(middle.square().mean(-1, keepdim=True) + 1e-5)
"""


@pytest.mark.parametrize("body", [NORMED, BY_HAND], ids=["one operation", "written out"])
def test_a_block_that_is_left_out_before_a_norm_is_missing(localise, body):
    reference = source(NORMED.replace("BLOCK", "x = x + torch.tanh(self.second(x))"))
    candidate = source(body.replace("BLOCK", "pass"))
    found = localise(reference, candidate, here=False)
    assert found.kind == "first-missing"
    assert "torch.tanh(self.second(x))" in reference.splitlines()[found.reference.line - 1]
    line = candidate.splitlines().index("        pass") + 1
    assert abs(found.candidate.line - line) <= 1, found.message


ATTENTION = "torch.softmax(y @ torch.sin(y).transpose(-1, -2) * y.shape[-1] ** -0.5, -1) @ y"
MIDDLE = """
def __init__(self, width):
    super().__init__()
    self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
    self.norm = nn.LayerNorm(width)

def forward(self, x):
    x = x + torch.tanh(self.first(x))
    BLOCK
    y = self.norm(x)
    return F.scaled_dot_product_attention(y, torch.sin(y), y)
"""
HAND = """middle = x - x.mean(-1, keepdim=True)
    y = middle / torch.sqrt(middle.square().mean(-1, keepdim=True) + self.norm.eps) * self.norm.weight + self.norm.bias"""


def test_what_is_left_out_long_before_what_both_sides_have_is_missing_where_it_was(localise):
    reference = source("", MIDDLE.replace("BLOCK", "x = x + torch.tanh(self.second(x))"))
    candidate = MIDDLE.replace("BLOCK", "pass").replace("y = self.norm(x)", HAND)
    candidate = source("", candidate.replace("F.scaled_dot_product_attention(y, torch.sin(y), y)", ATTENTION))
    found = localise(reference, candidate, here=False)
    assert found.kind == "first-missing"
    assert "torch.tanh(self.second(x))" in reference.splitlines()[found.reference.line - 1]
    assert abs(found.candidate.line - candidate.splitlines().index("        pass") - 1) <= 1, found.message
