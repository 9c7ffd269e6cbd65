"""Spec keys that did nothing in a run: an `ignore` that no subject matched, a rule for a name that is not there.

A key that does nothing is most often misspelt, and then something is compared otherwise than the user thinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from verify import mapping
from verify.checks import signature, structure
from verify.checks.base import Job
from verify.report import Skipped
from verify.spec import Spec
from verify.trace import BOTH, Role, Trace

CONFIGURED = ("defaults", "explicit", "attributes")
"""Parts of the answer to `configuration` that are mappings by configuration key."""


@dataclass
class Idle:
    """Gathers what the variants of a run made use of. matched: `ignore` patterns by check, as the checks note them.

    rules: places of the parameter rules that some name matched; None while no side told its parameters.
    known: names that each side has, by side and key of `mapping`; no entry while the side did not tell them.
    """

    spec: Spec
    matched: set[tuple[str, str]] = field(default_factory=set)
    rules: set[int] | None = None
    known: dict[tuple[Role, str], set[str]] = field(default_factory=dict)

    def look(self, job: Job, traces: Mapping[Role, Trace]) -> None:
        """Takes in what one variant's answers show."""
        sides = [traces[role].get(job.key("structure")).result for role in BOTH]
        if sides[0] is not None and sides[1] is not None:
            self.rules = self.rules or set()
            for group in structure.GROUPS:
                shapes = [structure.shapes(side, group) for side in sides if side is not None]
                self.rules |= mapping.resolve(self.spec.mapping, *shapes).rules
        for role in BOTH:
            configured = traces[role].get(job.key("configuration")).result
            if configured is not None and not configured.get("absent"):
                self._know(role, "config", _configured(configured))
            called = traces[role].get(job.key("signature")).result
            if called is not None and not any(a["kind"] in signature.REST for a in called["arguments"]):
                self._know(role, "inputs", (a["name"] for a in called["arguments"]))

    def _know(self, role: Role, key: str, names: Iterable[str]) -> None:
        self.known.setdefault((role, key), set()).update(names)

    def told(self, checked: Iterable[str]) -> Iterator[Skipped]:
        """Every key that did nothing. checked: names of the checks that came to their end."""
        for check in checked:
            for pattern in self.spec.options(check).ignore:
                if (check, pattern) not in self.matched:
                    yield _said(check, f"`ignore: {pattern}` matches nothing that this check compares")
        for place, rule in enumerate(self.spec.mapping.parameters):
            if self.rules is not None and place not in self.rules:
                yield _said("mapping", f"the rule for `{rule.candidate}` makes no parameter or buffer of the candidate")
        for key, names in (("config", self.spec.mapping.config), ("inputs", self.spec.mapping.inputs)):
            for ours, theirs in names.items():
                for role, name in zip(BOTH, (ours, theirs), strict=True):
                    if (role, key) in self.known and name not in self.known[role, key]:
                        yield _said("mapping", f"`{key}: {{{ours}: {theirs}}}` names {name}, which the {role} lacks")


def _said(check: str, reason: str) -> Skipped:
    return Skipped(check=check, variant="", case="", reason=reason)


def _configured(result: Mapping[str, Any]) -> Iterator[str]:
    """Keys that a side's configuration takes or has."""
    yield from (str(argument.get("name")) for argument in result["arguments"])
    for part in CONFIGURED:
        yield from map(str, result[part])
