"""The checks. One file each; a new file here is a new check, but for HELPERS.

A check module has
    SUMMARY   one line for --help
    RUNS_CASES   whether it runs the spec's cases; each is then a scene of its own (see base.Scene)
    ONCE      where it is there and true, the check runs once a run, and not once a variant
    plan(job) -> list of Asks: what it wants observed
    compare(job, reference, candidate) -> Outcomes: pure, from the two Traces alone
and runs in the order of ORDER, then by name. It may have
    further(job, reference, candidate) -> list of Asks: what else it wants observed, seeing the answers to `plan`
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Iterable
from typing import cast

from verify.checks.base import Check, Job
from verify.trace import Ask, Trace

HELPERS = ("base", "passes", "otherwise", "loading")
"""Files here that are no checks."""

ORDER = (
    "configuration",
    "signature",
    "structure",
    "settings",
    "buffers",
    "initialisation",
    "source",
    "preprocessing",
    "forward",
    "outputs",
    "determinism",
    "gradients",
    "training",
    "backends",
    "precision",
    "roundtrip",
)


def available() -> dict[str, Check]:
    """All checks by name, in the order in which they run."""
    names = [m.name for m in pkgutil.iter_modules(__path__) if m.name not in HELPERS]
    names.sort(key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n))
    return {name: cast(Check, importlib.import_module(f"verify.checks.{name}")) for name in names}


def further(names: Iterable[str], job: Job, reference: Trace, candidate: Trace) -> list[Ask]:
    """What checks want observed besides, seeing the first answers. One that breaks over them says so in `compare`."""
    modules, found = available(), list[Ask]()
    for name in names:
        if (wanted := getattr(modules[name], "further", None)) is not None:
            with contextlib.suppress(Exception):
                found += wanted(job, reference, candidate)
    return found
