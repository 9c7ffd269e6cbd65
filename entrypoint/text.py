"""Untrusted text, made harmless. The one place of this package that escapes."""

from __future__ import annotations

import unicodedata

INVISIBLE = "\u200b"  # zero width space: breaks what GitHub links after entities are decoded
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
_SHOWN_AS_CODE = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")
_PLAIN = frozenset(" ,.-/'()=+;?")


def clean(text: str, longest: int = 4000, keep: str = "\n\t") -> str:
    """Text without control, format, bidi, surrogate, private and unassigned characters, cut to `longest`."""
    shown = "".join(c if c in keep or _harmless(c) else f"\\u{ord(c):04x}" for c in text[:longest])
    return shown if len(text) <= longest else f"{shown}… [{len(text) - longest} more characters]"


def _harmless(character: str) -> bool:
    return character not in _BIDI and unicodedata.category(character) not in _SHOWN_AS_CODE


def line(text: str, longest: int = 4000) -> str:
    """`clean` on one line."""
    return " ".join(clean(text, longest, keep="\n\t ").split())


def markdown(text: str, longest: int = 600) -> str:
    """Text that GitHub shows as it is, on one line: no HTML, emphasis, table cell, link, mention, reference or emoji.

    Punctuation becomes a character reference, which markdown does not read as syntax. GitHub links mentions, references
    and addresses after that is decoded, so that what could begin one is followed by an invisible break.
    """
    out = []
    for c in line(text, longest):
        if c.isalnum() or c in _PLAIN or ord(c) > 127:
            out.append(c)
        else:
            out.append(f"&#{ord(c)};")
            if c in "@#:":
                out.append(INVISIBLE)
    joined = "".join(out)
    for start in ("www.", "WWW.", "Www.", "GH-", "gh-", "Gh-", "gH-"):
        joined = joined.replace(start, f"{start[:-1]}{INVISIBLE}{start[-1]}")
    return joined


def fence(text: str, language: str = "") -> str:
    """A code block around text of several lines, whatever back-ticks it has."""
    body = clean(text, 20_000)
    run = longest = 0
    for c in body:
        run = run + 1 if c == "`" else 0
        longest = max(longest, run)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{body}\n{ticks}"


def log(text: str, longest: int = 2000) -> str:
    """One line for the job log that no runner reads as a command, with or without stop-commands."""
    shown = clean(text, longest, keep="\t").replace("##[", "##\\[")
    body = shown.lstrip()
    return f"{shown[: len(shown) - len(body)]}\\{body}" if body.startswith("::") else shown


def annotation(text: str, longest: int) -> str:
    """A message or title of an annotation: cut by characters and bytes; the toolkit escapes the command's syntax."""
    shown = clean(text, longest).replace("##[", "##\\[")
    return cut(shown, longest)


def cut(text: str, most: int) -> str:
    """Text of at most `most` bytes of UTF-8, never through a character."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return text
    return data[: most - 3].decode("utf-8", "ignore") + "…"


def number(value: float | str | None) -> str:
    """A measured or allowed value, short."""
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else line(str(value), 120)
