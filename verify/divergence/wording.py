"""How usual a piece of source is: whether its names and signs follow each other elsewhere in both sides' files.

A slip mostly makes something that nobody writes (`sin, cos`), and undoing it what is written in many places. So of two
changes that mend a value alike, the one that reads as the rest does is likelier to be where the fault is.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

TOKEN = re.compile(r"\w+|[^\w\s]")
ANNOTATION = re.compile(r":\s*[A-Za-z_][\w.]*(?=\s*[,)=])")
"""A plain one, which stands between two arguments' names."""
MOST = 2
"""More than so many unusual pieces do not count: a long change is not unlikelier than a short one."""


class Wording:
    """Pieces of three names or signs, by how often they are in some files. texts: those files' contents."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._known = Counter(piece for text in texts for piece in _pieces(text))

    def strangeness(self, before: str, after: str) -> int:
        """-MOST to MOST: how many more pieces of `after` than of `before`, which is in the files, are nowhere else."""
        own = Counter(_pieces(before))
        old = sum(self._known[piece] <= count for piece, count in own.items())
        new = sum(self._known[piece] <= own[piece] for piece in set(_pieces(after)))
        return max(-MOST, min(MOST, new - old))


def _pieces(text: str) -> Iterator[tuple[str, ...]]:
    tokens = TOKEN.findall(ANNOTATION.sub("", text))
    return zip(tokens, tokens[1:], tokens[2:], strict=False)
