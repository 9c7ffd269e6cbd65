"""The run: Spec → sides → two Traces → checks → Report. Knows nothing of the command line or of renderings."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from verify import __version__, code, pair, scenes
from verify.checks import available, further, signature, training
from verify.checks.base import Job, Maker, Outcome
from verify.divergence.search import Unanswered
from verify.divergence.sources import Sources
from verify.explain import OF_VALUES, Explainer, Known
from verify.explain import gradients as of_gradients
from verify.explain import precision as of_precision
from verify.explain import roundtrip as of_roundtrip
from verify.explain import training as of_training
from verify.idle import Idle
from verify.interrupt import describe
from verify.pair import Progress
from verify.places import Places
from verify.report import CheckResult, Divergence, Finding, Group, Line, Report, Skipped, Verdict, worst
from verify.side import Servers, Side
from verify.spec import CaseSpec, Spec, SpecError, unknown
from verify.trace import BOTH, Ask, Role, Trace

MOST_EXPLAINED = 3
"""Cases for which the first diverging module or operation is sought."""

LONGEST_INFERRING = 60.0
"""Seconds that further cases may take, each of which costs a pass."""
MOST_EXCERPTS = 50
"""Findings whose source is told."""

EXPLAINED = (of_training, of_gradients, of_precision)
"""What explains findings that are not about values of outputs, where those agree."""
UNREPEATED = frozenset({"first-random", "first-stateful", "first-stateful-trained"})
"""Kinds of places that say nothing of another case."""
FAULTS = frozenset({"fault-one", "fault-both", "fault-alike", "fault-run", "unfit"})
EACH_ITS_OWN = frozenset({"timeout", "signal", "exit", "memory", "disk"})
"""Faults of the process, which can say the same of two mistakes."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line chooses. Empty selections mean all. processors: for both sides; default: all there are."""

    variants: tuple[str, ...] = ()
    depth: int | None = None
    checks: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    device: str = "auto"
    timeout: float = 600.0
    seed: int = 0
    processors: int | None = None


@dataclass
class _Tally:
    """What has been found so far; it survives an interrupted run."""

    groups: list[Group] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    divergences: list[Divergence] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    files: dict[Role, dict[str, str]] = field(default_factory=dict)
    faults: dict[tuple[str, ...], str] = field(default_factory=dict)
    """Where each fault was told first, by what it says."""
    stops: list[str] = field(default_factory=list)
    """Why the run did not come to its end. With one of these the verdict is never equal."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM ended the run. `report` holds what was found until then; `exit_code` is 130 or 143."""

    def __init__(self, report: Report, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.report = report
        self.exit_code = exit_code


def chosen(asked: Iterable[str], known: Iterable[str], what: str) -> list[str]:
    """The asked names, or all; SpecError with the known ones where a name is none of them."""
    known = list(known)
    for name in asked:
        if name not in known:
            raise SpecError(unknown(what, name, known))
    wanted = set(asked)
    return [name for name in known if name in wanted] if wanted else known


def run(
    spec: Spec,
    base: Path,
    options: Options,
    progress: Progress = lambda role, what: None,
    servers: Servers | None = None,
) -> Report:
    """Compares the two sides of `spec`, whose paths count from the folder `base`.

    Never raises for what model code or the machine does: that is in the report. Raises SpecError for names or sizes
    that the spec does not have, before anything runs. On Ctrl-C and SIGTERM it ends the sides and raises Interrupted.
    servers: warmed interpreters that other runs share; default: its own.
    """
    started = time.perf_counter()
    checks, variants, cases = _chosen(spec, options)
    names, tally, idle = available(), _Tally(), Idle(spec)
    interrupted: tuple[str, int] | None = None
    try:
        with pair.started(
            spec,
            base,
            servers,
            seed=options.seed,
            device=options.device,
            timeout=options.timeout,
            processors=options.processors,
        ) as (sides, scratch):
            try:
                pair.observe(sides, [Ask(key="environment", op="environment")], progress)
                for number, variant in enumerate(variants):
                    due = [name for name in checks if not (number and getattr(names[name], "ONCE", False))]
                    job = Job(spec=spec, base=base, variant=variant, seed=options.seed, matched=idle.matched)
                    _variant(job, cases, due, options.depth, sides, scratch, tally, progress)
                    idle.look(job, {side.settings.role: side.trace for side in sides})
                    _code(job, sides, tally)
            finally:
                for side in sides:
                    own = pair.side_spec(spec, side.settings.role).path
                    files = {"files": tally.files.get(side.settings.role, {})}
                    tally.environment[side.settings.role] = {"path": own, **pair.environment(side), **files}
    except SpecError:
        raise
    except KeyboardInterrupt as error:
        interrupted = describe(error)
        tally.stops.append(f"{interrupted[0]}; what had been compared until then is kept")
    except Exception as error:
        tally.stops.append(_broken(error))
    results = _results(checks, tally)
    ended = [r.name for r in results if r.verdict in (Verdict.EQUAL, Verdict.DIFFERENT)]
    tally.skipped += idle.told([] if tally.stops else ended)
    places = Places(base=base, folders={role: pair.side_spec(spec, role).path for role in BOTH})
    report = Report(
        tool_version=__version__,
        verdict=worst(r.verdict for r in results if r.verdict != Verdict.SKIPPED),
        seed=options.seed,
        variants=variants,
        sides={role: pair.title(pair.side_spec(spec, role)) for role in BOTH},
        seconds=round(time.perf_counter() - started, 3),
        checks=results,
        findings=_with_source(places, sorted(tally.findings, key=lambda f: -f.verdict.weight)),
        first_divergence=places.divergence(tally.divergences[0]) if tally.divergences else None,
        skipped=tally.skipped,
        environment=tally.environment,
        facts=tally.facts,
    )
    if interrupted is not None:
        raise Interrupted(report, *interrupted)
    return report


def _with_source(places: Places, findings: list[Finding]) -> list[Finding]:
    """The findings with their places as one opens them, the first ones with the source there."""
    sources = {role: Sources(places.base / folder) for role, folder in places.folders.items()}
    told, left = [], MOST_EXCERPTS
    for finding in map(places.finding, findings):
        here = {"reference": finding.reference, "candidate": finding.candidate} if left else {}
        excerpts = {
            role: [Line(number=n, text=text, marked=n == at.line) for n, text in lines]
            for role, at in here.items()
            if at and at.path and (lines := sources[role].excerpt(at.file, at.line))
        }
        left -= bool(excerpts)
        told.append(finding.model_copy(update={"excerpts": excerpts}) if excerpts else finding)
    return told


def _chosen(spec: Spec, options: Options) -> tuple[list[str], list[str], dict[str, CaseSpec]]:
    """The checks, variants and cases to run. Raises SpecError for names or sizes that the spec does not have."""
    names = available()
    if options.depth is not None and spec.depth_key is None:
        raise SpecError(
            f"--depth {options.depth}: the spec names no `depth_key`, the configuration key that counts layers"
        )
    if spec.checks:
        chosen(spec.checks, names, "check")
    checks = chosen(options.checks, [n for n in names if not spec.checks or n in spec.checks], "check")
    variants = chosen(
        [] if "all" in options.variants else options.variants or [spec.first_variant], spec.variants, "variant"
    )
    cases = {name: spec.cases[name] for name in chosen(options.cases, spec.cases, "case")}
    for variant in variants:
        scenes.check_all_sizes(spec, variant, _runners(checks), cases, options.depth)
    return checks, variants, cases


def unusable(reason: str, options: Options) -> Report:
    """The report of a run that never began: the spec cannot be used."""
    return Report(
        tool_version=__version__,
        verdict=Verdict.ERROR,
        seed=options.seed,
        variants=list(options.variants),
        sides=dict.fromkeys(BOTH, "unknown"),
        seconds=0.0,
        checks=[_stopped(reason, "spec")],
        findings=[],
        first_divergence=None,
        skipped=[],
        environment={},
        facts={},
    )


def _stopped(reason: str, name: str = "run") -> CheckResult:
    return CheckResult(name=name, verdict=Verdict.ERROR, compared=0, seconds=0.0, reason=reason)


def _broken(error: BaseException) -> str:
    """An exception of our own, with the line that raised it: the traceback's last lines."""
    frames = traceback.extract_tb(error.__traceback__)
    text = f"{type(error).__name__}: {error}"[:1000]
    if not frames:
        return text
    last = frames[-1]
    return f"{text} (at {'/'.join(Path(last.filename).parts[-3:])}:{last.lineno} in {last.name})"


def _runners(checks: list[str]) -> list[str]:
    """Of these checks, those that run the spec's cases."""
    modules = available()
    return [name for name in checks if modules[name].RUNS_CASES]


def _variant(
    job: Job,
    cases: Mapping[str, CaseSpec],
    checks: list[str],
    depth: int | None,
    sides: list[Side],
    scratch: Path,
    tally: _Tally,
    progress: Progress,
) -> None:
    """Observes and compares one variant. What breaks on the way costs no more than what depends on it."""
    interrupt: KeyboardInterrupt | None = None
    try:
        pair.observe(sides, _asks(job, checks), progress)
        if runners := _runners(checks):
            depth, reduced = scenes.depth_of(job, depth, sides, tally.facts.setdefault(job.variant, {}))
            tally.skipped += reduced
            made = scenes.make(job, runners, cases, depth, sides, scratch, progress)
            for check, outcomes in made.broken.items():
                _count_outcomes(check, job, outcomes, 0.0, tally)
            accepted = signature.accepted(job, sides[0].trace, sides[1].trace)
            job = replace(job, scenes=made.ready, accepted=accepted)
            pair.observe(sides, _asks(job, checks), progress)
        pair.observe(sides, _ordered(further(checks, job, sides[0].trace, sides[1].trace)), progress)
        pair.observe(sides, [code.ask(job)], progress)
        pair.observe(sides, _asks(job, checks, fresh=True), progress)
    except KeyboardInterrupt as error:
        interrupt = error
        for side in sides:
            side.stop()
    except Exception as error:
        tally.stops.append(f"{job.variant}: {_broken(error)}")
    traces = {side.settings.role: side.trace for side in sides}
    for name in checks:
        if name in _runners(checks) and not scenes.cases_of(job.spec, name, cases):
            reason = "none of the cases that were asked for is one that this check runs"
            _count_outcomes(name, job, [Outcome(name="cases", skipped=True, reason=reason)], 0.0, tally)
        else:
            _compare(name, job, traces, tally)
    tally.findings += _lifted(job, traces, tally)
    if interrupt is not None:
        raise interrupt
    _explain(job, sides, scratch, tally, progress)


def _lifted(job: Job, traces: Mapping[Role, Trace], tally: _Tally) -> list[Finding]:
    """Notes that a side computes in a narrower type, of the first pass that shows it; where `forward` has not told it."""
    told = {f.subject for f in tally.findings if f.kind == "lifted" and f.variant == job.variant}
    found = []
    for role, trace in traces.items():
        for key, answer in trace.answers.items():
            place = tuple(key.split("/")[1:3])  # a name holds no slash
            count = (answer.result or {}).get("lifted")
            if count and role not in told and place in job.scenes and key.startswith(job.key(*place)):
                make = Maker(job=job, check=place[0], group=place[1])
                found.append(make.finding("lifted", role, Verdict.NOTE, details={"side": role, "count": count}))
                told.add(role)
    return found


def _code(job: Job, sides: list[Side], tally: _Tally) -> None:
    """Notes which files the sides ran, the first time they tell, and what is wrong with that."""
    if tally.files:
        return
    traces = {side.settings.role: side.trace for side in sides}
    tally.files = {role: files for role, trace in traces.items() if (files := code.files(job, trace))}
    outcome = Outcome(name="code", findings=list(code.findings(job, traces)))
    if any(f.verdict == Verdict.ERROR for f in outcome.findings):
        _count_outcomes(code.CHECK, job, [outcome], 0.0, tally)
    else:
        tally.findings += outcome.findings


def _asks(job: Job, checks: list[str], *, fresh: bool = False) -> list[Ask]:
    """What the checks want observed; what wants a fresh process is asked by itself, when all else is done."""
    modules = available()
    return _ordered(ask for name in checks for ask in modules[name].plan(job) if ask.fresh == fresh)


def _ordered(asks: Iterable[Ask]) -> list[Ask]:
    """Each ask once; those of one model together, unperturbed before perturbed.

    The model of the first case, as a rule the full one, comes last: its perturbed passes, which only the reference
    answers, then run when the candidate is done and leaves it all processors.
    """
    unique = {ask.key: ask for ask in asks}
    first = {ask.group: -place for place, ask in reversed(list(enumerate(unique.values())))}
    return sorted(unique.values(), key=lambda ask: (bool(ask.group), first[ask.group], bool(ask.args.get("nudged"))))


def _compare(name: str, job: Job, traces: Mapping[Role, Trace], tally: _Tally) -> None:
    """One check of one variant. A check that breaks is an error of its own and costs no other's result."""
    started = time.perf_counter()
    check = available()[name]
    outcomes: list[Outcome] = []
    try:
        for outcome in check.compare(job, traces["reference"], traces["candidate"]):
            outcomes.append(outcome)
    except Exception as error:  # an answer of a form that nobody foresaw; what was compared before it stands
        broken = Outcome(name="answers")
        make = Maker(job=job, check=name, group="answers")
        broken.findings.append(make.finding("check-broke", name, Verdict.ERROR, details={"fault": _broken(error)}))
        outcomes.append(broken)
    comparing = time.perf_counter() - started
    mine = {key for ask in check.plan(job) for key in (ask.key, f"{ask.key}/more")}
    asking = max(sum(t.answers[k].seconds for k in mine if k in t.answers) for t in traces.values())
    _count_outcomes(name, job, outcomes, asking + comparing, tally)


def _count_outcomes(name: str, job: Job, outcomes: list[Outcome], seconds: float, tally: _Tally) -> None:
    patterns = job.spec.options(name).ignore
    if patterns:
        reason = f"the spec ignores {', '.join(patterns)}"
        tally.skipped.append(Skipped(check=name, variant=job.variant, case="", reason=reason))
    for outcome in outcomes:
        if outcome.verdict == Verdict.ERROR and all(f.verdict == Verdict.NOTE for f in outcome.findings):
            outcome.reason = "nothing was compared" + (": the spec ignores all of it" if patterns else "")
        verdict = outcome.verdict
        tally.findings += _told_once(outcome, tally)
        if outcome.skipped:
            tally.skipped.append(Skipped(check=name, variant=job.variant, case=outcome.name, reason=outcome.reason))
        tally.groups.append(
            Group(
                check=name,
                variant=job.variant,
                name=outcome.name,
                verdict=verdict,
                compared=outcome.compared,
                measured=outcome.measured,
                allowed=outcome.allowed,
                reason=outcome.reason,
                seconds=round(seconds / len(outcomes), 4),
            )
        )


def _told_once(outcome: Outcome, tally: _Tally) -> list[Finding]:
    """The findings of a group without faults that another group has told: then its reason says where, and no more."""
    kept = []
    for finding in outcome.findings:
        said = (finding.details.get(part, "") for part in ("side", "fault", "reference", "candidate"))
        key = (finding.kind, finding.verdict.value, *said)
        same = finding.kind in FAULTS and not {finding.measured, finding.allowed} & EACH_ITS_OWN
        place = f"{finding.check} {finding.variant}/{finding.case}"
        if same and tally.faults.setdefault(key, place) != place:
            outcome.reason = f"not compared: see {tally.faults[key]}"
        else:
            kept.append(finding)
    return kept


def _results(checks: list[str], tally: _Tally) -> list[CheckResult]:
    """Of each check, of the run as a whole where something is wrong with it, and of each reason why it ended early."""
    run_as_a_whole = [code.CHECK] if any(g.check == code.CHECK for g in tally.groups) else []
    results = [_result(name, tally) for name in [*checks, *run_as_a_whole]] + [_stopped(why) for why in tally.stops]
    idle = all(result.verdict == Verdict.SKIPPED for result in results)
    return [*results, _stopped("nothing was compared: every check was skipped")] if idle else results


def _result(name: str, tally: _Tally) -> CheckResult:
    groups = [g for g in tally.groups if g.check == name]
    ran = [g for g in groups if g.verdict != Verdict.SKIPPED]
    skipped = bool(groups) and not ran
    return CheckResult(
        name=name,
        verdict=Verdict.SKIPPED if skipped else worst(g.verdict for g in ran),
        compared=sum(g.compared for g in ran),
        seconds=round(sum(g.seconds for g in groups), 3),
        reason=groups[0].reason
        if skipped or (not any(g.compared for g in ran) and groups)
        else ""
        if ran
        else "nothing was compared",
        groups=groups,
    )


def _explain(job: Job, sides: list[Side], scratch: Path, tally: _Tally, progress: Progress) -> None:
    """The second pass, only where something differs: which operation, module or step is the first, and its place on the
    findings.

    A place belongs to its case. Those of further cases are inferred from those, where all that a pass of module calls
    shows is alike.
    """
    cases: dict[tuple[str, str], list[Finding]] = {}
    for finding in tally.findings:
        if finding.variant == job.variant and _of_outputs(finding) and (finding.check, finding.case) in job.scenes:
            cases.setdefault((finding.check, finding.case), []).append(finding)
    of_passes = () if cases else EXPLAINED  # where values differ too, what follows from them says nothing new
    for explained_by in (*of_passes, of_roundtrip):
        for finding in tally.findings:
            own = finding.check == explained_by.CHECK and finding.kind in explained_by.KINDS
            if own and finding.variant == job.variant:
                cases.setdefault((finding.check, finding.case), []).append(finding)
    found = [sorted(findings, key=_by_shape) for findings in cases.values()]
    found.sort(key=lambda findings: _by_shape(findings[0]))
    groups = [findings for findings in found if findings[0].check == of_roundtrip.CHECK]
    found = [findings for findings in found if findings[0].check != of_roundtrip.CHECK]
    explainer, known = Explainer(job=job, sides=sides, scratch=scratch, progress=progress), list[Known]()
    for findings in (*found[:MOST_EXPLAINED], *groups):
        try:
            explained = _explained(explainer, findings, _allowed(findings[0], tally))
        except Exception as error:  # the findings stand without a place, and other variants are still to be compared
            explained = None
            explainer.broken.append(error)
        _not_done(findings[0], explainer.broken, tally)
        if explained is not None:
            tally.divergences.append(explained)
            if _of_outputs(findings[0]) and explained.kind not in UNREPEATED:
                known.append({"": explained, **explainer.places})
            for finding in findings:
                if (place := _place_of(finding, findings[0], explained, explainer.places)) is not None:
                    _put_place(finding, place, tally)
    deadline = time.monotonic() + LONGEST_INFERRING
    for findings in found[MOST_EXPLAINED:]:
        if not _of_outputs(findings[0]):
            continue
        try:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{LONGEST_INFERRING:g} s had gone by")
            _infer(explainer, findings, known, tally)
        except Exception as error:  # the findings stand without a place
            explainer.broken.append(error)
        _not_done(findings[0], explainer.broken, tally, inferred=True)
        explainer.forget()


def _not_done(finding: Finding, errors: Sequence[Exception], tally: _Tally, *, inferred: bool = False) -> None:
    """Says why the place of a finding was not sought, or not inferred, to the end."""
    for told in dict.fromkeys(map(_told, errors)):
        sought = f"where it first differs could not be sought: {told}"
        reason = f"where it first differs could not be inferred: {told}" if inferred else sought
        skipped = Skipped(check=finding.check, variant=finding.variant, case=finding.case, reason=reason)
        tally.skipped.append(skipped)


def _infer(explainer: Explainer, findings: list[Finding], known: list[Known], tally: _Tally) -> None:
    """Places for the findings of a case that is not searched: of another case, or else of the module alone."""
    inferred = explainer.infer(findings[0], known, _allowed(findings[0], tally))
    if inferred is None:
        return
    module, places = inferred
    for finding in findings:
        place = None if _by_shape(finding) else places.get(finding.subject, places.get(""))
        if place is not None:
            ran = f"inferred: in {place.case} the same module differs first, and this line runs here too"
            made = f"inferred: in {place.case} the same module differs first, and it was made at this line"
            hint = made if place.kind == "first-setting" else ran
            _put_place(finding, place, tally, confidence="inferred", hint=hint)
        elif _by_shape(finding) == _by_shape(findings[0]):
            _put_place(finding, module, tally)


def _put_place(finding: Finding, place: Divergence, tally: _Tally, **more: str) -> None:
    """Notes where a finding comes from, and how sure that is."""
    index = tally.findings.index(finding)
    where = {"reference": place.reference, "candidate": place.candidate, "confidence": place.confidence, **more}
    tally.findings[index] = finding.model_copy(update=where)


def _explained(explainer: Explainer, findings: list[Finding], allowed: float | None) -> Divergence | None:
    """Where the findings of one group come from, as what knows their kind tells it."""
    first = findings[0]
    about = next((e for e in (*EXPLAINED, of_roundtrip) if first.check == e.CHECK and first.kind in e.KINDS), None)
    return explainer.explain(first, allowed) if about is None else about.explain(explainer, findings, allowed)


def _told(error: Exception) -> str:
    """What went wrong while a place was sought: a side's own fault in its words, ours with the line that raised it."""
    return str(error)[:1000] if isinstance(error, Unanswered) else _broken(error)


def _of_outputs(finding: Finding) -> bool:
    """Whether a finding of a case is about an output of an eval pass, which the second pass is: its values, or its
    shape or kind."""
    about = finding.kind in OF_VALUES or (finding.kind == "value" and finding.subject != "container")
    return about and finding.check != training.CHECK


def _allowed(finding: Finding, tally: _Tally) -> float | None:
    """What the finding's group allows of relative difference."""
    place = (finding.check, finding.variant, finding.case)
    return next((g.allowed for g in tally.groups if (g.check, g.variant, g.name) == place), None)


def _by_shape(finding: Finding) -> bool:
    """Whether it is about no value. Such come last: where a value differs, more can be found."""
    return finding.kind == "value"


def _place_of(
    finding: Finding, first: Finding, explained: Divergence, places: Mapping[str, Divergence]
) -> Divergence | None:
    """Which place is that of a finding of the case whose `first` one was explained; None where nobody has found it.

    places: by output, where lines were found. Where only a module was, it is that of what made it be sought.
    """
    if places:
        return places.get(finding.subject)
    return explained if _by_shape(finding) == _by_shape(first) else None
