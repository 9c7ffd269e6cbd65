"""What a self-test found, as one versioned value. Documented in docs/selftest.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import Field

from verify.report import Selftest, Value
from verify.selftest.gate import Status


class Seeded(Value):
    """One change of the candidate and what became of it."""

    kind: str
    place: str = Field(description='"file:line" of source, or the path of a module.')
    harmless: bool = Field(description="Whether the gate must stay silent.")
    change: str = Field(description="Diff of the source, or the fault of the live module in words.")
    status: Status
    by: str = Field("", description="The check that reported it first.")
    finding: str = ""
    raised: bool = Field(False, description="Whether it showed by an exception alone.")
    moved: str = Field("", description="Where nothing was reported: how far values moved, or why it is no change.")
    ran: bool = Field(True, description="Whether the checks were run on it.")
    seconds: float = 0.0


class Kind(Value):
    """Counts of one kind of fault."""

    kind: str
    run: int
    caught: int
    raised: int = Field(description="Of those caught, how many showed by an exception alone.")
    stopped: int
    noted: int
    survived: int
    unmoved: int
    unreached: int
    equivalent: int


class Result(Value):
    """The whole result of a self-test."""

    schema_version: Literal[1] = 1
    tool_version: str
    seed: int
    budget: int
    variant: str
    depth: int | None
    checks: list[str]
    finished: str = Field(description="When, UTC, ISO 8601.")
    packages: dict[str, dict[str, str | None]] = Field(description="By side: versions of torch and others.")
    code: dict[str, str] = Field(description="Digests of the verifier, the spec and both sides' code.")
    seconds: float
    cpu_seconds: float
    sites: int = Field(description="Faults that could have been seeded.")
    kinds: list[Kind]
    faults: list[Seeded]
    rewrites: list[Seeded]

    @property
    def run(self) -> list[Seeded]:
        """Faults on which the gate was run."""
        return [f for f in self.faults if f.ran]

    @property
    def caught(self) -> list[Seeded]:
        """Those after which a pull request would not pass."""
        return [f for f in self.run if f.status in ("caught", "stopped")]

    @property
    def missed(self) -> list[Seeded]:
        return [f for f in self.faults if f.status in ("survived", "unmoved")]

    @property
    def false_alarms(self) -> list[Seeded]:
        return [r for r in self.rewrites if r.status in ("caught", "stopped")]

    @property
    def vacuous(self) -> bool:
        """Whether no fault moved a value that the checks look at, so that nothing is known of them."""
        return not self.caught and not self.survived

    @property
    def survived(self) -> list[Seeded]:
        """Those that moved values and were called equal."""
        return [f for f in self.faults if f.status == "survived"]

    def summary(self, today: Mapping[str, str]) -> Selftest:
        """For a report. today: the digests of the code that the report is about."""
        return Selftest(
            caught=len(self.caught),
            moved=len(self.caught) + len(self.survived),
            false_alarms=len(self.false_alarms),
            rewrites=sum(r.ran for r in self.rewrites),
            checks=self.checks,
            variant=self.variant,
            seed=self.seed,
            finished=self.finished,
            tool_version=self.tool_version,
            packages=self.packages,
            code=self.code,
            outdated=[part for part, digest in today.items() if self.code.get(part) != digest],
        )

    @property
    def exit_code(self) -> int:
        """0: every fault that moved a value was caught and no rewrite was; 1: not so; 2: none moved any, or none was run."""
        if self.vacuous:
            return 2
        return int(bool(self.survived or self.false_alarms))


def by_kind(faults: Iterable[Seeded]) -> list[Kind]:
    """The faults counted by kind, in alphabetical order."""
    groups: dict[str, list[Seeded]] = {}
    for fault in faults:
        groups.setdefault(fault.kind, []).append(fault)
    return [
        Kind(
            kind=kind,
            run=sum(f.ran for f in group),
            raised=sum(f.raised for f in group),
            **{
                s: sum(f.status == s for f in group)
                for s in ("caught", "stopped", "noted", "survived", "unmoved", "unreached", "equivalent")
            },
        )
        for kind, group in sorted(groups.items())
    ]
