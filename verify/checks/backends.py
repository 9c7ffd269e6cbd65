"""backends: does each attention backend compute what the first one does, and the same on both sides?

The check's option `vary` names configuration keys and their values, such as attn_implementation: [eager, sdpa]. Each
value of each side is compared with that side's own first value, and with the other side's same value; float64, shared
weights, tolerance as for `forward`. A backend that cannot run here, or that falls back to another, is said; where one
side falls back and the other refuses, they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verify.checks import passes
from verify.checks.base import Job, Maker, Outcome, fault_location, show, unanswered
from verify.checks.passes import Pass
from verify.mapping import inverse
from verify.report import Finding, Verdict
from verify.trace import BOTH, Answer, Ask, Role, Trace

SUMMARY = "each value of configuration keys that change no number, such as the attention backend, against the first"
RUNS_CASES = True

CHECK = "backends"


def plan(job: Job) -> list[Ask]:
    asks = []
    for name in job.cases(CHECK):
        for key, values in job.spec.options(CHECK).vary.items():
            for value in values:
                asks.append(_ask(job, name, key, value))
            asks += [_ask(job, name, key, value, nudged=True) for value in values[:1]]
    return asks


def _ask(job: Job, case: str, key: str, value: Any, *, nudged: bool = False) -> Ask:
    kind = _kind(key, value) + ("/noise" if nudged else "")
    sides: tuple[Role, ...] = ("reference",) if nudged else BOTH
    return job.ask("forward", CHECK, case, kind, sides=sides, values={key: value}, nudged=nudged, told=[key])


def _kind(key: str, value: Any) -> str:
    return f"{key}={show(value)}"


def compare(job: Job, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    vary = job.spec.options(CHECK).vary
    if not any(vary.values()):
        yield Outcome(name="values", skipped=True, reason="the spec varies nothing: give this check `vary`")
    for name in job.cases(CHECK):
        for key, values in vary.items():
            keys = [job.key(CHECK, name, _kind(key, value)) for value in values]
            answers = [(reference.get(k), candidate.get(k)) for k in keys]
            noise = reference.get(f"{keys[0]}/noise") if keys else Answer(key="")
            for value, pair in zip(values, answers, strict=True):
                yield _value(_Setting(job, name, key, values[0], value), answers[0], pair, noise)


class _Setting:
    """One value of a key, in one case."""

    def __init__(self, job: Job, case: str, key: str, first: Any, value: Any) -> None:
        self.make = Maker(job=job, check=CHECK, group=f"{case} {_kind(key, value)}")
        self.case, self.key, self.first, self.value = case, key, first, value

    def fell_back(self, result: Mapping[str, Any] | None) -> Any:
        """What a side took instead of the value, or None. None asks for the default and is never refused."""
        taken = ((result or {}).get("told") or {}).get(self.key)
        return taken if taken is not None and self.value is not None and taken != self.value else None


def _value(setting: _Setting, first: tuple[Answer, Answer], pair: tuple[Answer, Answer], noise: Answer) -> Outcome:
    make = setting.make
    r, c = pair
    if all(a.fault and a.fault.kind in ("import", "setup") for a in pair):
        return Outcome(name=make.group, skipped=True, reason=f"it cannot run here: {r.fault}")
    if lacking := unanswered(make, r, c, noise):
        return Outcome(name=make.group, findings=_refused(setting, first, pair) or lacking)
    theirs = inverse(make.job.spec.mapping.outputs)
    moved = passes.read(noise)
    sides = [passes.read(a, names) for a, names in zip(pair, (None, theirs), strict=True)]
    arithmetic = make.job.scenes[CHECK, setting.case].case.arithmetic
    outcome = passes.compared(make, sides[0], sides[1], moved, arithmetic, mapped=bool(theirs))
    _fallbacks(setting, outcome, pair)
    if setting.value != setting.first and all(a.result is not None for a in first):
        firsts = [passes.read(a, names) for a, names in zip(first, (None, theirs), strict=True)]
        _against_first(setting, outcome, list(zip(BOTH, firsts, sides, strict=True)), moved, arithmetic)
    return outcome


def _refused(setting: _Setting, first: tuple[Answer, Answer], pair: tuple[Answer, Answer]) -> list[Finding]:
    """A difference where one side falls back from the value and the other, which runs its first value, cannot import it.

    An import that fails says little of a model, since the sides may have other packages. But a fallback is there for
    where the package is not.
    """
    for place, other in ((0, 1), (1, 0)):
        fault = pair[place].fault
        if fault is None or fault.kind != "import" or first[place].result is None:
            continue
        if setting.fell_back(pair[other].result) is not None:
            where = fault_location(fault)
            return [
                setting.make.finding(
                    "fault-one",
                    setting.make.group,
                    Verdict.DIFFERENT,
                    details={"side": BOTH[place], "fault": fault},
                    measured=fault.kind,
                    reference=where if place == 0 else None,
                    candidate=where if place == 1 else None,
                )
            ]
    return []


def _fallbacks(setting: _Setting, outcome: Outcome, pair: tuple[Answer, Answer]) -> None:
    """Notes where a side took another value. Where one did and the other did not, they are not the same model here."""
    taken = {role: setting.fell_back(answer.result) for role, answer in zip(BOTH, pair, strict=True)}
    for role, instead in taken.items():
        if instead is None:
            continue
        both = all(other is not None for other in taken.values())
        details = {"side": role, "what": _kind(setting.key, setting.value), "instead": instead}
        outcome.findings.append(
            setting.make.finding("fell-back", setting.key, Verdict.NOTE if both else Verdict.DIFFERENT, details=details)
        )


def _against_first(
    setting: _Setting, outcome: Outcome, sides: list[tuple[Role, Pass, Pass]], moved: Pass, arithmetic: str
) -> None:
    """Each side's outputs against those of its own first value. A note where both sides part from it."""
    found = {role: passes.values(setting.make, first, side, moved, arithmetic) for role, first, side in sides}
    worst = {role: passes.worst(values) for role, values in found.items()}
    outcome.compared += sum(map(len, found.values()))
    bad = {role: top for role, top in worst.items() if top is not None and top.bad}
    for role, top in bad.items():
        details = {
            "side": role,
            "what": _kind(setting.key, setting.value),
            "first": _kind(setting.key, setting.first),
            "bad": sum(v.bad for v in found[role]),
            "count": len(found[role]),
        }
        verdict = Verdict.NOTE if len(bad) == len(BOTH) else Verdict.DIFFERENT
        outcome.findings.append(
            setting.make.finding(
                "backend-values",
                top.path,
                verdict,
                details=details,
                measured=top.gap.relative,
                allowed=top.tolerance.allowed,
            )
        )
