"""Standard output and standard error of a program."""

from __future__ import annotations

import contextlib

from rich.console import Console

from verify.messages import Language, translated
from verify.sinks.text import clean


class Terminal(Console):
    """A console whose reader may go away (`| head`): the verdict is in the exit code all the same."""

    def on_broken_pipe(self) -> None:
        self.quiet = True


def output() -> Terminal:
    """Standard output."""
    return Terminal(highlight=False)


def errors() -> Terminal:
    """Standard error."""
    return Terminal(stderr=True, highlight=False)


def tell(console: Console, text: str, language: Language = "en", style: str | None = None) -> None:
    """A text of ours, as it is and in the language, if anything can be written there."""
    with contextlib.suppress(OSError):
        console.print(clean(translated(text, language)), markup=False, style=style, soft_wrap=True, emoji=False)


def complain(console: Console, text: str, language: Language = "en") -> None:
    """An error, one line of it or several."""
    tell(console, f"error: {text}", language, style="bold red")
