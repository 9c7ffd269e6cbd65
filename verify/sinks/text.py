"""Text from untrusted code, made harmless for a terminal, a file or an XML reader."""

from __future__ import annotations

import unicodedata

KEPT = "\n\t"
HARMFUL = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
"""Unicode categories that are shown as escapes: control, format (bidi and invisible ones), surrogate, unassigned,
private, line and paragraph separators."""
NOTE_ROOM = 32


def clean(text: str, longest: int = 4000) -> str:
    """Text with harmful characters as escapes, at most `longest` long, the note about what was cut included.

    Cleaning twice changes nothing. longest: at least 64.
    """
    whole = "".join(map(_shown, text[: longest + 1]))
    if len(whole) <= longest:
        return whole
    kept, room = [], longest - NOTE_ROOM
    for character in text:
        shown = _shown(character)
        room -= len(shown)
        if room < 0:
            break
        kept.append(shown)
    return f"{''.join(kept)}… [{len(text) - len(kept)} more characters]"


def one_line(text: str, longest: int = 4000) -> str:
    """`clean`, with every run of white space as one space."""
    return " ".join(clean(text, longest).split())


def _shown(character: str) -> str:
    if character in KEPT or unicodedata.category(character) not in HARMFUL:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number(value: float | str | None) -> str:
    """A measured or allowed value, short."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else clean(str(value), 120)
