"""By which names a value came to the line that reads it."""

from __future__ import annotations

import pytest

from verify.divergence.graph import Frame
from verify.divergence.names import called_in_turn, grouped, handed_in, handed_on, named_at
from verify.divergence.sources import Sources

TEXT = """\
def plain(x, y):
    a = first(x)
    b = second(y)
    c = a
    d = c if x else b
    return third(c) + fourth(d)  # reads


def computed(x):
    a = first(x)
    b = a + 1
    c = [a, b]
    return third(b)  # computed


def given(x, y, scale):
    x = (y)
    scale = self.scale
    return x * scale  # given


def parts(grid, x):
    _, rows, columns = grid
    axes = (rows, columns)
    size = rows * columns
    return x // rows % columns  # parts


def joined(x, y):
    axes = ((x, 1), (y, 2))
    one = cat([a * b for a, b in axes])
    two = cat([a * b for a, b in reversed(axes)])
    return one, two


def stack(layers, x):
    for layer in layers:
        for row in x:
            x = layer(x)  # called
            y = first(x)  # not called
    return fifth(
        x,  # spread
        y,
    )
"""
FIRST = Frame("net.py", 2, "f", True, 0)


@pytest.fixture
def sources(tmp_path) -> Sources:
    (tmp_path / "net.py").write_text(TEXT)
    return Sources(tmp_path)


def at(part: str) -> Frame:
    (line,) = [n for n, text in enumerate(TEXT.splitlines(), 1) if text.strip().startswith(part) or text.endswith(part)]
    return Frame("net.py", line, "f", True, 0)


@pytest.mark.parametrize(
    ("reader", "makers", "line"),
    [
        ("# reads", ["b = second(y)"], "d = c if x"),
        ("# reads", ["a = first(x)"], None),  # by two statements
        ("# computed", ["b = a + 1"], None),  # by none
        ("# computed", ["c = [a, b]"], None),
        ("one = cat", ["axes = ((x"], None),
    ],
)
def test_a_statement_that_only_hands_on_is_found(sources, reader, makers, line):
    found = handed_on(sources, at(reader), [FIRST if maker == "a = first(x)" else at(maker) for maker in makers])
    assert found == (None if line is None else Frame("net.py", at(line).line, "f", True, -1))


def test_two_values_that_one_statement_hands_on_are_found_there(sources):
    assert handed_on(sources, at("# reads"), (FIRST, at("b = second(y)"))).line == at("d = c if x").line


def test_an_argument_that_another_takes_the_place_of_is_found(sources):
    assert handed_in(sources, at("# given")).line == at("x = (y)").line
    assert handed_in(sources, at("# computed")) is None


def test_a_statement_that_groups_or_takes_apart_is_found(sources):
    assert grouped(sources, at("# parts")).line == at("_, rows, columns").line
    assert grouped(sources, at("one = cat")).line == at("axes = ((x").line
    assert grouped(sources, at("two = cat")) is None, "the line itself may order them"
    assert grouped(sources, at("# computed")) is None


def test_a_loop_that_chooses_what_is_called_is_found(sources):
    assert called_in_turn(sources, at("# called")).line == at("for layer in").line
    other = at("b = second(y)")
    assert called_in_turn(sources, other) == other


def test_of_a_long_statement_the_line_that_names_the_value_is_found(sources):
    reader = at("return fifth(")
    assert named_at(sources, reader, at("# called")).line == at("# spread").line
    assert named_at(sources, reader, at("# not called")).line == at("y,").line
    assert named_at(sources, reader, at("# given")) == reader


def test_a_file_that_is_no_source_says_nothing(tmp_path):
    (tmp_path / "net.py").write_text("def broken(:\n")
    nowhere, frame = Sources(tmp_path), Frame("net.py", 1, "f", True, 0)
    assert handed_on(nowhere, frame, [frame]) is None
    assert handed_in(nowhere, frame) is None
    assert grouped(nowhere, frame) is None
    assert called_in_turn(nowhere, frame) == frame
    assert named_at(nowhere, frame, frame) == frame
