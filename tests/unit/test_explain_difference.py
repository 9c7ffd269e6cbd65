"""How two functions differ, in the candidate's names."""

from __future__ import annotations

import ast
import textwrap

import pytest

from verify.explain.difference import difference


def function(text: str):
    return ast.parse(textwrap.dedent(text)).body[0]


REFERENCE = '''
def forward(self, x, mask=None):
    """What it does."""
    q, k = self.query(x), self.key(x)
    weights = torch.softmax(q @ k.transpose(-1, -2) * self.scale, -1)
    if mask is not None:
        weights = weights * mask
    return self.out(weights @ self.value(x))
'''
RENAMED = """
def attend(self, states, keep=None):
    a, b = self.q_proj(states), self.k_proj(states)
    w = torch.softmax(a @ b.transpose(-1, -2) * self.scale, -1)
    if keep is not None:
        w = w * keep
    return self.o_proj(w @ self.v_proj(states))
"""


def test_other_names_are_no_difference():
    assert difference(function(REFERENCE), function(RENAMED)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("w * keep", "w + keep", ["-     w = w * keep", "+     w = w + keep"]),
        ("softmax", "sigmoid", [
            "- w = torch.softmax(a @ b.transpose(-1, -2) * self.scale, -1)",
            "+ w = torch.sigmoid(a @ b.transpose(-1, -2) * self.scale, -1)",
        ]),
        ("b.transpose(-1, -2)", "a.transpose(-1, -2)", [
            "- w = torch.softmax(a @ b.transpose(-1, -2) * self.scale, -1)",
            "+ w = torch.softmax(a @ a.transpose(-1, -2) * self.scale, -1)",
        ]),
        ("    if keep is not None:\n        w = w * keep\n", "", ["- if keep is not None:", "-     w = w * keep"]),
    ],
)  # fmt: skip
def test_what_differs_is_told_in_the_candidates_names(old, new, told):
    assert RENAMED.count(old) == 1
    found = difference(function(REFERENCE), function(RENAMED.replace(old, new)))
    if new:
        assert found == told
    else:  # a name that only stands there has no other
        assert [line[:4] for line in found] == ["- if", "-   "]


def test_names_that_both_use_are_not_exchanged():
    swapped = RENAMED.replace("a @ b.transpose", "b @ a.transpose")
    assert difference(function(RENAMED), function(swapped))[0].startswith("- w = torch.softmax(a @ b")


def test_functions_that_have_nothing_in_common_do_not_help():
    other = "def f(z):\n    for n in range(9):\n        z = other(z, n)\n    raise ValueError(z)\n"
    assert difference(function(REFERENCE), function(other)) == []
