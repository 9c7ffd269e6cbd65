# SPDX-License-Identifier: Apache-2.0
"""What stops a publication, and keeping tokens out of every text."""

from __future__ import annotations

import re

TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}|(?<=[Bb]earer )\S+")
HIDDEN = "[token]"


class PublishError(Exception):
    """A step cannot go on. The message is for people: what came, what was expected, what to do."""


def scrub(text: str, *secrets: str | None) -> str:
    """`text` without these secrets, without anything that looks like a Hub token, and without bearer credentials."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, HIDDEN)
    return TOKEN.sub(HIDDEN, text)


def some(names: list[str], most: int = 400) -> str:
    """Names, one a line and indented; past `most`, how many more there are."""
    shown = "".join(f"\n  {name}" for name in names[:most])
    return shown + (f"\n  … and {len(names) - most} more" if len(names) > most else "")
