"""Text from untrusted code, made harmless for a terminal, a file or an XML reader."""

from __future__ import annotations

import unicodedata

KEPT = "\n\t"
BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def clean(text: str, longest: int = 4000) -> str:
    """Text without control, bidi, surrogate and unassigned characters, cut to `longest` characters."""
    shown = "".join(c if _harmless(c) else f"\\u{ord(c):04x}" for c in text[:longest])
    return shown if len(text) <= longest else shown + f"… [{len(text) - longest} more characters]"


def _harmless(character: str) -> bool:
    if character in KEPT:
        return True
    return character not in BIDI and unicodedata.category(character) not in ("Cc", "Cs", "Cn", "Co")


def number(value: float | str | None) -> str:
    """A measured or allowed value, short."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else clean(str(value), 120)
