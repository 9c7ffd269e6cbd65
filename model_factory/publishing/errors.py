# SPDX-License-Identifier: Apache-2.0
"""What stops a publication, and keeping tokens out of every text."""

from __future__ import annotations

import re

TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:hf_[A-Za-z0-9]{16,}|(?:hf_oauth|hf_jwt|api_org)_[\w.-]{16,})(?:[\w.-]*\w)?|(?<=[Bb]earer )\S+"
)
"""Hub tokens as they are made today; no name of a variant, such as hf_llava_vit_large_ln, is one."""
HIDDEN = "[token]"
SHORTEST = 8
"""Of a secret: no token is shorter, and a letter would be hidden in every other word."""

_known: set[str] = set()


class PublishError(Exception):
    """A step cannot go on. The message is for people: what came, what was expected, what to do."""


class OptionError(PublishError):
    """An option is wrong, by itself or here: said before anything is done."""


def hide(*secrets: str | None) -> None:
    """From now on `scrub` knows these secrets, also without the blanks around them."""
    _known.update(form for secret in secrets if secret for form in (secret, secret.strip()) if len(form) >= SHORTEST)


def scrub(text: str, *secrets: str | None) -> str:
    """`text` without known secrets and these, without anything that looks like a Hub token, and without bearer
    credentials."""
    hide(*secrets)
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return TOKEN.sub(HIDDEN, text)


def some(names: list[str], most: int = 400) -> str:
    """Names, one a line and indented; past `most`, how many more there are."""
    shown = "".join(f"\n  {name}" for name in names[:most])
    return shown + (f"\n  … and {len(names) - most} more" if len(names) > most else "")
