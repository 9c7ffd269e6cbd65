"""What every check is given and what it gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Protocol

from verify.cases import size
from verify.compare import MISSING, differing, leaves
from verify.messages import say
from verify.report import Finding, Location, Verdict, worst
from verify.spec import CaseSpec, Spec
from verify.trace import BOTH, Answer, Ask, Fault, Role, Trace


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One case as a check runs it: the configuration with every override, the file of its tensors.

    recipes: how the candidate's parameters are made of the reference's; empty where names are the same.
    redrawn: the file with another draw of them, their names beginning with "0/", for a check that has REDRAWS.
    """

    case: CaseSpec
    values: Mapping[str, Any]
    inputs: Path
    redrawn: Path | None = None
    recipes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One variant of a run. base: the spec's folder. values: the variant's configuration.

    scenes: by check and case; empty while only what needs no inputs is asked. accepted: arguments that forward takes
    by name on both sides, in the reference's words; known when scenes are, where the check `signature` is planned.
    matched: patterns of `ignore` that met a subject, by check; noted as subjects are looked at, to tell the others.
    """

    spec: Spec
    base: Path
    variant: str
    seed: int
    scenes: Mapping[tuple[str, str], Scene] = field(default_factory=dict)
    accepted: frozenset[str] = frozenset()
    matched: set[tuple[str, str]] = field(default_factory=set, compare=False)

    @property
    def values(self) -> Mapping[str, Any]:
        return self.spec.variants[self.variant]

    def values_of(self, check: str) -> dict[str, Any]:
        """The configuration of a check that runs no cases: the variant's with the check's own on top."""
        return {**self.values, **self.spec.options(check).config}

    def key(self, *parts: str) -> str:
        """An ask's key, unique over the variants of a run."""
        return "/".join((self.variant, *parts))

    def cases(self, check: str) -> list[str]:
        """Names of the cases that a check runs."""
        return [case for name, case in self.scenes if name == check]

    def ask(
        self,
        op: str,
        check: str,
        case: str,
        kind: str = "",
        *,
        sides: tuple[Role, ...] = BOTH,
        values: Mapping[str, Any] | None = None,
        arithmetic: str = "",
        threads: Literal["", "one", "all"] = "",
        **more: Any,
    ) -> Ask:
        """An ask that runs a case: its key is check/case or check/case/kind, its arguments are the scene's and `more`.

        values: configuration values on top of the scene's. arithmetic: another than the case's.
        """
        scene = self.scenes[check, case]
        merged = {**scene.values, **(values or {})}
        chosen = arithmetic or scene.case.arithmetic
        parts = (check, case, kind) if kind else (check, case)
        args = {
            "values": merged,
            "arithmetic": chosen,
            "arguments": scene.case.arguments,
            "inputs": str(scene.inputs),
            "recipes": dict(scene.recipes),
            "nudged": False,
            **more,
        }
        group = json.dumps([merged, chosen], sort_keys=True)
        return Ask(key=self.key(*parts), op=op, args=args, sides=sides, group=group, threads=threads)


@dataclass(kw_only=True)
class Outcome:
    """One comparison group: how much was compared, what was found."""

    name: str
    compared: int = 0
    measured: float | None = None
    allowed: float | None = None
    reason: str = ""
    skipped: bool = False
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """equal only if something was compared and nothing differs."""
        if self.skipped:
            return Verdict.SKIPPED
        serious = [f.verdict for f in self.findings if f.verdict != Verdict.NOTE]
        return worst([*serious, Verdict.EQUAL] if self.compared else serious)


class Check(Protocol):
    """A check module. One may also have `further(job, reference, candidate) -> list[Ask]`: what else it wants observed,
    seeing the answers to `plan`."""

    SUMMARY: str
    RUNS_CASES: bool

    def plan(self, job: Job) -> list[Ask]: ...

    def compare(self, job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]: ...


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes findings of one check and group, leaving out subjects that the spec ignores."""

    job: Job
    check: str
    group: str
    reference: Location | None = None
    candidate: Location | None = None

    def ignored(self, subject: str) -> bool:
        found = [p for p in self._patterns if fnmatchcase(subject, p)]
        self.job.matched.update((self.check, pattern) for pattern in found)
        return bool(found)

    @property
    def _patterns(self) -> list[str]:
        return self.job.spec.options(self.check).ignore

    def counted(self, subjects: Iterable[str]) -> int:
        """How many of these are compared: what the spec ignores is not, and must not count as such."""
        return sum(not self.ignored(subject) for subject in set(subjects))

    @property
    def case(self) -> str:
        """The case that the group is about; empty where it is about none."""
        known = (name for check, name in self.job.scenes if check == self.check)
        return next((n for n in known if self.group == n or self.group.startswith((f"{n} ", f"{n}, "))), "")

    @property
    def fed(self) -> str:
        """What the sides were given: the tensors and arguments of the group's case, or else the variant."""
        for (check, name), scene in self.job.scenes.items():
            if check == self.check and name == self.case:
                shapes = {k: [size(s, scene.values) for s in spec.shape] for k, spec in scene.case.inputs.items()}
                given = [f"{k} {shape}" for k, shape in shapes.items()]
                return show(", ".join(given + [f"{k}={v!r}" for k, v in scene.case.arguments.items()]))
        return f"variant={self.job.variant}"

    def finding(
        self,
        kind: str,
        subject: str,
        verdict: Verdict = Verdict.DIFFERENT,
        *,
        details: Mapping[str, Any] | None = None,
        measured: float | str | None = None,
        allowed: float | str | None = None,
        reference: Location | None = None,
        candidate: Location | None = None,
    ) -> Finding:
        shown = {k: show(v) for k, v in (details or {}).items()} | {"subject": subject}
        if kind in ("fault-both", "fault-alike"):
            shown["fed"] = self.fed
        return Finding(
            check=self.check,
            variant=self.job.variant,
            case=self.group,
            subject=subject,
            verdict=verdict,
            kind=kind,
            details=shown,
            message=say(kind, shown),
            measured=measured,
            allowed=allowed,
            reference=reference or self.reference,
            candidate=candidate or self.candidate,
        )

    def differences(self, reference: Any, candidate: Any, prefix: str = "") -> Iterator[Finding]:
        """A finding for every path at which nested JSON values differ, looked at both ways."""
        if self._patterns:  # a pattern that meets what is equal is not idle
            self.counted(
                ".".join(p for p in (prefix, path) if p) for side in (reference, candidate) for path, _ in leaves(side)
            )
        for path, r, c in differing(reference, candidate):
            subject = ".".join(p for p in (prefix, path) if p)
            if self.ignored(subject):
                continue
            details = {"reference": r, "candidate": c, "what": subject}
            kind = "missing-in-candidate" if c is MISSING else "missing-in-reference" if r is MISSING else "value"
            yield self.finding(kind, subject, details=details, measured=show(c), allowed=show(r))


def show(value: Any) -> str:
    """A value as short text. A fault is its sentence."""
    text = str(value) if isinstance(value, str | Fault) else "missing" if value is MISSING else repr(value)
    return text if len(text) <= 600 else text[:597] + "..."


def location(data: Any) -> Location | None:
    """A location as a side sent it, or None if it sent none or nonsense."""
    if not isinstance(data, Mapping):
        return None
    file, line = data.get("file"), data.get("line")
    if not isinstance(file, str) or not isinstance(line, int):
        return None
    return Location(file=file[:1000], line=max(line, 1), name=str(data.get("name", ""))[:200])


def fault_location(fault: Fault | None) -> Location | None:
    """Where a fault was raised, if in the user's code."""
    place = fault.location if fault else None
    return Location(file=place[0], line=place[1], name="") if place else None


def faults(make: Maker, reference: Answer, candidate: Answer) -> Iterator[Finding]:
    """Findings for answers that are faults. One side only: different if it raised, else error. Both: error.

    measured and allowed are the kinds of the candidate's and the reference's fault.
    """
    r, c = reference.fault, candidate.fault
    if r and r.kind == "case":
        name = make.case or make.group
        fix = f"add it under cases.{name}.inputs" if r.message.startswith("lacks") else f"see cases.{name}"
        details = {"name": name, "fault": r, "fix": fix}
        yield make.finding("unfit", make.group, Verdict.ERROR, details=details, allowed=r.kind)
        return
    at_reference, at_candidate = fault_location(r), fault_location(c)
    if r and c:
        alike = str(r) == str(c)
        yield make.finding(
            "fault-alike" if alike else "fault-both",
            make.group,
            Verdict.ERROR,
            details={"fault": r} if alike else {"reference": r, "candidate": c},
            measured=c.kind,
            allowed=r.kind,
            reference=at_reference,
            candidate=at_candidate,
        )
        return
    for side, fault in (("reference", r), ("candidate", c)):
        if fault is not None:
            decided = fault.kind == "raised"
            yield make.finding(
                "fault-one" if decided else "fault-run",
                make.group,
                Verdict.DIFFERENT if decided else Verdict.ERROR,
                details={"side": side, "fault": fault},
                measured=fault.kind,
                reference=at_reference,
                candidate=at_candidate,
            )


def unanswered(make: Maker, reference: Answer, candidate: Answer, noise: Answer) -> list[Finding]:
    """Why two answers cannot be compared; empty where they can.

    noise: the reference's answer when its inputs and weights move by one ulp, which says how far values may lie apart.
    """
    if reference.result is None or candidate.result is None:
        return list(faults(make, reference, candidate))
    if noise.result is None:
        details = {"side": "reference (one-ulp noise)", "fault": noise.fault}
        return [make.finding("fault-run", make.group, Verdict.ERROR, details=details)]
    return []
