"""Messages: one catalogue in two languages, complete and used."""

from __future__ import annotations

import ast
import string

import pytest
from unit_builders import HOSTILE, ROOT

from verify.messages import FINDINGS, LABELS, label, say

KINDS = sorted(FINDINGS)


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_both_languages_say_the_same_things(kind):
    en, zh = FINDINGS[kind]
    assert fields(en) == fields(zh)
    assert all(name.isidentifier() for name in fields(en))
    assert en.isascii()
    words = "".join(part for part, *_ in string.Formatter().parse(en))
    assert any("\u4e00" <= c <= "\u9fff" for c in zh) == any(c.isalpha() for c in words)


@pytest.mark.parametrize("kind", KINDS)
def test_details_are_inserted_as_they_are(kind):
    for text in (*HOSTILE, "{subject}", "{0.__class__}"):
        details = dict.fromkeys(fields(FINDINGS[kind].en) | {"subject"}, text)
        for language in ("en", "zh"):
            said = say(kind, details, language)
            assert said
            assert not fields(FINDINGS[kind].en) or text in said


def test_a_missing_detail_is_no_silent_gap():
    with pytest.raises(KeyError):
        say("value", {})
    with pytest.raises(KeyError):
        say("no-such-kind", {})


@pytest.mark.parametrize("key", sorted(LABELS))
def test_labels(key):
    en, zh = LABELS[key]
    assert (label(key), label(key, "en"), label(key, "zh")) == (en, en, zh)
    assert label(key, "both") == f"{en} / {zh}"


def test_a_label_without_translation_is_shown_as_it_is():
    for language in ("en", "zh", "both"):
        assert label("wording", language) == "wording"


def literals() -> set[str]:
    """Every text constant of the verifier, its catalogue left out."""
    found = set()
    for file in (ROOT / "verify").rglob("*.py"):
        if file.name != "messages.py":
            found |= {
                n.value
                for n in ast.walk(ast.parse(file.read_text()))
                if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
    return found


def test_every_sentence_is_used_and_every_check_has_a_label():
    from verify.checks import available

    assert sorted(set(FINDINGS) - literals()) == []
    assert set(available()) <= set(LABELS)
