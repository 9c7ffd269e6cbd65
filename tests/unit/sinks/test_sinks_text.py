"""Text from untrusted code, made harmless."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_builders import HOSTILE

from verify.sinks.text import HARMFUL, clean, number, one_line

texts = st.text(st.characters() | st.characters(categories=["Cc", "Cf", "Cs", "Co"]), max_size=300)


@given(texts, st.integers(64, 400))
def test_cleaning_twice_changes_nothing(text, longest):
    once = clean(text, longest)
    assert clean(once, longest) == once
    assert len(once) <= longest


@given(texts)
def test_nothing_harmful_is_left(text):
    for c in clean(text):
        assert c in "\n\t" or unicodedata.category(c) not in HARMFUL
    clean(text).encode("utf-8")


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300))
def test_plain_text_is_left_alone(text):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\u001b[31m"),
        ("\r\n\t", "\\u000d\n\t"),
        ("\u202e\u200b", "\\u202e\\u200b"),
        ("\ud800", "\\ud800"),
        ("\U0010ffff", "\\U0010ffff"),
        ("\u2028", "\\u2028"),
        ("\x85\x7f", "\\u0085\\u007f"),
        ("中文 é \N{GRINNING FACE}", "中文 é \N{GRINNING FACE}"),
    ],
)
def test_harmful_characters_are_shown_as_escapes(text, shown):
    assert clean(text) == shown


def test_long_text_says_what_was_cut():
    assert clean("x" * 5000).endswith("x… [1032 more characters]")
    assert clean("\0" * 100, 64).endswith("… [95 more characters]")
    assert clean("x" * 4000) == "x" * 4000


@pytest.mark.parametrize("text", HOSTILE)
def test_one_line_is_one_line(text):
    assert one_line(text).splitlines() in ([one_line(text)], [])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (0.0, "0"),
        (1.23456e-9, "1.23e-09"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ("4 ulp", "4 ulp"),
        ("\0", "\\u0000"),
    ],
)
def test_numbers_are_short(value, shown):
    assert number(value) == shown


def test_a_long_measured_text_is_cut():
    assert len(number("x" * 999)) <= 120
