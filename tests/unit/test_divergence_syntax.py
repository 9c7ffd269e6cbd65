"""What the source around a line says of how it came to run."""

from __future__ import annotations

import pytest

from verify.divergence.graph import Frame
from verify.divergence.sources import Sources
from verify.divergence.syntax import choosing, constant, constructing, looping

TEXT = """\
EPS = 1e-6
HALF = 0.5
UNUSED = 3


class Base:
    def __init__(self):
        super().__init__()


def build(kind, wide=False):
    if kind == "layer":
        if wide:
            return Layer(2)
        else:
            return Layer(1)
    if kind == "none":
        raise ValueError(str(kind))
    size = 3 if wide else 1
    return Root(size)


def fill(tables, start=EPS, most=7):
    for table in tables:
        if table is not None:
            table.copy_(start)
    tables[0] = HALF * 0.5
    return tables[:most] + [EPS, HALF]
"""


@pytest.fixture
def sources(tmp_path) -> Sources:
    (tmp_path / "net.py").write_text(TEXT)
    return Sources(tmp_path)


def at(part: str) -> Frame:
    (line,) = [n for n, text in enumerate(TEXT.splitlines(), 1) if part in text]
    return Frame("net.py", line, "f", True, 0)


@pytest.mark.parametrize(
    ("line", "test"),
    [
        ("Root(size)", 'kind == "layer"'),  # not the test whose other way makes nothing
        ("Layer(1)", 'kind == "layer"'),  # not the one whose other way makes the like
        ("size = 3", 'kind == "layer"'),
        ("tables[:most]", "tables[:most]"),
    ],
)
def test_a_choice_is_the_test_whose_other_way_makes_something_else(sources, line, test):
    assert choosing(sources, at(line)).line == at(test).line


def test_a_constructor_that_calls_another_makes_nothing(sources):
    assert constructing(sources, [at("super()"), at("Layer(1)"), at("Root(size)")]) == at("Layer(1)")
    assert constructing(sources, [at("super()")]) is None


def test_a_loop_is_named_at_its_head(sources):
    assert looping(sources, at("copy_")).line == at("for table").line
    assert looping(sources, at("tables[:most]")) == at("tables[:most]")


@pytest.mark.parametrize(
    ("line", "number", "named"),
    [
        ("copy_", 1e-6, "EPS = 1e-6"),  # as an argument's default
        ("[EPS, HALF]", 1e-6, "EPS = 1e-6"),
        ("[EPS, HALF]", 0.5, "HALF = 0.5"),
        ("HALF * 0.5", 0.5, None),  # either may be meant
        ("[EPS, HALF]", 3, None),  # not read there
    ],
)
def test_a_constant_is_the_one_that_the_line_reads(sources, line, number, named):
    found = constant(sources, at(line), number)
    assert (found and found.line) == (named and at(named).line)
