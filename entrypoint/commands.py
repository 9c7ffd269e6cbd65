"""Workflow commands, through actions-toolkit's core: escaped, within GitHub's limits, untrusted output fenced off."""

from __future__ import annotations

import contextlib
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from actions_toolkit import core

from entrypoint import text

Level = Literal["error", "warning", "notice"]
A_STEP = 10
"""Annotations of one level that GitHub shows of one step."""
LONGEST_MESSAGE = 4000
LONGEST_TITLE = 250


@dataclass
class Commands:
    """What the step says to the runner. `refused` counts the annotations that were over the limit."""

    given: dict[str, int] = field(default_factory=dict)
    refused: int = 0

    def room(self, level: Level) -> int:
        return A_STEP - self.given.get(level, 0)

    def annotate(self, level: Level, message: str, *, title: str = "", file: str = "", line: int = 0) -> bool:
        """One annotation; False, and counted, if GitHub would not show it."""
        if self.room(level) <= 0:
            self.refused += 1
            return False
        self.given[level] = self.given.get(level, 0) + 1
        properties: dict[str, object] = {}
        if title:
            properties["title"] = text.annotation(" ".join(title.split()), LONGEST_TITLE)
        if file:
            properties["file"] = text.annotation(file, 1000)
            properties["start_line"] = max(line, 1)
        _issue(level, text.annotation(message, LONGEST_MESSAGE), properties)
        return True

    def say(self, message: str) -> None:
        """Plain lines of the log."""
        for one in message.splitlines() or [""]:
            core.info(text.log(one))
        sys.stdout.flush()

    @contextlib.contextmanager
    def group(self, title: str) -> Iterator[None]:
        core.start_group(text.log(title, 200))
        sys.stdout.flush()
        try:
            yield
        finally:
            core.end_group()
            sys.stdout.flush()

    @contextlib.contextmanager
    def untrusted(self) -> Iterator[None]:
        """While this lasts the runner takes no command, whatever is printed. The token cannot be guessed."""
        token = secrets.token_hex(24)
        core.issue("stop-commands", token)
        sys.stdout.flush()
        try:
            yield
        finally:
            core.issue(token)
            sys.stdout.flush()


def _issue(level: Level, message: str, properties: dict[str, object]) -> None:
    """core.error and its like write a property that is not set as an empty one; so only those that are set."""
    names = {"title": "title", "file": "file", "start_line": "line"}
    core.issue_command(level, {names[k]: v for k, v in properties.items()}, message)
    sys.stdout.flush()
