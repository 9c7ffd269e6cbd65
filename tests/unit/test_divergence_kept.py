"""Which line of a class is said to keep something."""

from __future__ import annotations

import ast

import pytest

from verify.divergence.kept import keeping, unused

SOURCE = """
class Other:
    def forward(self, x):
        self.kept = x

class Rotary(Other):
    def __init__(self):
        self.tables = {{}}

    def train(self, mode=True):
        self.mode = mode
        return self
{decorated}
    def table(self, n):
        {inner}
        return n

    def forward(self, x):
        local = {{}}
        local["x"] = x
        {body}
        return self.table(x)
"""
START = SOURCE.split("class Rotary")[0].count("\n") + 1


@pytest.mark.parametrize(
    ("places", "text"),
    [
        ({"body": "self.last = x"}, "self.last = x"),
        ({"body": "self.tables[x] = x"}, "self.tables[x] = x"),
        ({"body": "self.count += 1"}, "self.count += 1"),
        ({"body": "a, (self.last, *b) = x"}, "a, (self.last, *b) = x"),
        ({"body": "self.count.add_(1)"}, "self.count.add_(1)"),
        ({"body": "self.seen.add(x)"}, "self.seen.add(x)"),
        ({"body": "x = self.bias.add(x); self.reset_()"}, None),
        ({"body": "object.__setattr__(self, 'last', x)"}, "object.__setattr__(self, 'last', x)"),
        ({"body": "self.register_buffer('last', x)"}, "self.register_buffer('last', x)"),
        ({"body": "self.tables.setdefault(x, x)"}, "self.tables.setdefault(x, x)"),
        ({"body": "setattr(self, 'last', x)"}, "setattr(self, 'last', x)"),
        ({"inner": "self.mask.copy_(n)", "body": "self.last = x"}, "self.mask.copy_(n)"),
        ({"decorated": "    @functools.lru_cache(maxsize=2)"}, "@functools.lru_cache(maxsize=2)"),
        ({}, None),
    ],
)
def test_a_line_that_keeps_something(places, text):
    source = SOURCE.format(**({"body": "pass", "inner": "pass", "decorated": ""} | places))
    found = keeping(ast.parse(source), START)
    assert (source.splitlines()[found[0] - 1].strip() if found else None) == text
    assert found is None or found[1].startswith("Rotary.")


MADE = """
class Rotary:
    def __init__(self, size):
        half = size // 2
        self.register_buffer("table", torch.empty(half))
        self.reset()

    def reset(self):
        phases = torch.arange(len(self.table))
        {filled}

    def forward(self, x):
        nothing = x
        return x
"""


@pytest.mark.parametrize(
    ("filled", "found"),
    [("pass", (9, "Rotary.reset")), ("self.table.copy_(phases)", None), ("phases += 1", (9, "Rotary.reset"))],
)
def test_a_value_that_nothing_reads_while_an_object_is_made(filled, found):
    assert unused(ast.parse(MADE.format(filled=filled)), 5) == found


def test_no_class_is_there():
    assert keeping(ast.parse("x = 1\n"), 1) is None
    assert unused(ast.parse("x = 1\n"), 1) is None
