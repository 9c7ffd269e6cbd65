"""The step's outputs, through actions-toolkit's core."""

from __future__ import annotations

from actions_toolkit import core

from entrypoint.inputs import OUTPUTS, Settings
from entrypoint.text import line


def write(settings: Settings, values: dict[str, str]) -> None:
    """Sets every output, empty where there is nothing to say. Without the runner's file there is nobody to tell."""
    if settings.output_file is None:
        return
    for name in OUTPUTS:
        core.set_output(name, line(values.get(name, ""), 2000))
