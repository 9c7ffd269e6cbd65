"""The run: Spec → sides → two Traces → checks → Report. Knows nothing of the command line or of renderings."""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from verify import __version__, mapping, memory
from verify.cases import check_sizes, draw_inputs, write_inputs
from verify.checks import available, structure
from verify.checks.base import Job, Maker, Outcome
from verify.checks.forward import run_args
from verify.divergence import divergence, first_module
from verify.interrupt import describe
from verify.report import CheckResult, Divergence, Finding, Group, Report, Skipped, Verdict, worst
from verify.side import Servers, Settings, Side, interpreter
from verify.spec import CaseSpec, SideSpec, Spec, SpecError
from verify.trace import BOTH, Ask, Role, Trace

MOST_EXPLAINED = 3
"""Cases for which the first diverging module is sought; the rest of the differing cases name it too."""

MEMORY_SHARE = 0.85
COPIES = 1.15
"""Memory of a side over one float64 copy of its parameters: the copy, the largest layer's draw, activations."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line chooses. Empty selections mean all."""

    variants: tuple[str, ...] = ()
    depth: int | None = None
    checks: tuple[str, ...] = ()
    cases: tuple[str, ...] = ()
    device: str = "auto"
    timeout: float = 600.0
    seed: int = 0


Progress = Callable[[Role, str], None]


@dataclass
class _Tally:
    """What has been found so far; it survives an interrupted run."""

    groups: list[Group] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    divergences: list[Divergence] = field(default_factory=list)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
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
    import difflib

    known = list(known)
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SpecError(f"there is no {what} {name!r}{hint} (there are: {', '.join(known)})")
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
    names = available()
    if spec.checks:
        chosen(spec.checks, names, "check")
    checks = chosen(options.checks, [n for n in names if not spec.checks or n in spec.checks], "check")
    variants = chosen(
        [] if "all" in options.variants else options.variants or [spec.first_variant], spec.variants, "variant"
    )
    cases = {name: spec.cases[name] for name in chosen(options.cases, spec.cases, "case")}
    for variant in variants if "forward" in checks else ():
        for name, case in cases.items():
            check_sizes(case, name, _case_values(spec, spec.variants[variant], case, options.depth))
    tally = _Tally()
    interrupted: tuple[str, int] | None = None
    try:
        with _sides(spec, base, options, servers) as (sides, scratch):
            try:
                _observe(sides, [Ask(key="environment", op="environment")], progress)
                for variant in variants:
                    _variant(spec, variant, cases, checks, options, sides, scratch, tally, progress)
            finally:
                tally.environment = {side.settings.role: _environment(side) for side in sides}
    except SpecError:
        raise
    except KeyboardInterrupt as error:
        interrupted = describe(error)
        tally.stops.append(f"{interrupted[0]}; what had been compared until then is kept")
    except Exception as error:
        tally.stops.append(_broken(error))
    results = [_result(name, tally) for name in checks] + [_stopped(reason) for reason in tally.stops]
    report = Report(
        tool_version=__version__,
        verdict=worst(r.verdict for r in results if r.verdict != Verdict.SKIPPED),
        seed=options.seed,
        variants=variants,
        sides={role: _title(_side_spec(spec, role)) for role in BOTH},
        seconds=round(time.perf_counter() - started, 3),
        checks=results,
        findings=sorted(tally.findings, key=lambda f: -f.verdict.weight),
        first_divergence=tally.divergences[0] if tally.divergences else None,
        skipped=tally.skipped,
        environment=tally.environment,
        facts=tally.facts,
    )
    if interrupted is not None:
        raise Interrupted(report, *interrupted)
    return report


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


def _side_spec(spec: Spec, role: Role) -> SideSpec:
    return spec.reference if role == "reference" else spec.candidate


def _renames(spec: Spec, role: Role) -> dict[str, dict[str, str]]:
    """The side's own words for configuration keys and forward arguments, which the spec names as the reference does."""
    theirs = role == "candidate"
    return {
        "config": spec.mapping.config if theirs else {},
        "inputs": spec.mapping.inputs if theirs else {},
    }


def _title(side: SideSpec) -> str:
    return str(side.model or side.factory)


def _environment(side: Side) -> dict[str, Any]:
    answer = side.trace.get("environment")
    if answer.result is None:
        return {"fault": str(answer.fault)}
    return {**answer.result, "peak_memory": side.peak_memory}


@contextmanager
def _sides(spec: Spec, base: Path, options: Options, shared: Servers | None) -> Iterator[tuple[list[Side], Path]]:
    """Both sides, ready to be asked; ended, and their scratch folders removed, on the way out."""
    for role in BOTH:
        folder = (base / _side_spec(spec, role).path).resolve()
        if not folder.is_dir():
            raise SpecError(f"{role}.path: there is no folder {folder}")
    scratch = Path(tempfile.mkdtemp(prefix="llavavit-verify-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        servers = shared if shared is not None else stack.enter_context(Servers())
        sides = []
        for role in BOTH:
            side = _side_spec(spec, role)
            python = interpreter(side.python, base)
            home = scratch / role
            home.mkdir(mode=0o700)
            users = [r for r in BOTH if interpreter(_side_spec(spec, r).python, base) == python]
            server = servers.get(python, _preload(spec, base, users))
            settings = Settings(
                role=role,
                python=python,
                path=str((base / side.path).resolve()),
                config=side.config,
                model=side.model,
                factory=side.factory,
                kwargs=side.kwargs,
                renames=_renames(spec, role),
                seed=options.seed,
                device=options.device,
                scratch=str(home),
            )
            sides.append(Side(settings=settings, server=server, timeout=options.timeout))
            stack.callback(sides[-1].stop)
        yield sides, scratch


def _preload(spec: Spec, base: Path, roles: Iterable[Role]) -> tuple[str, ...]:
    """What a warmed interpreter imports before it forks these sides. A guess from the sources; it only saves time."""
    for role in roles:
        side = _side_spec(spec, role)
        module = str(side.model or side.factory).partition(":")[0].replace(".", "/")
        for file in (base / side.path / f"{module}.py", base / side.path / module / "__init__.py"):
            try:
                text = file.read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            if re.search(r"^\s*(from|import)\s+transformers", text, re.MULTILINE):
                return ("torch", "safetensors.torch", "transformers.modeling_utils")
    return ("torch", "safetensors.torch")


def _observe(sides: list[Side], asks: list[Ask], progress: Progress) -> None:
    """Asks both sides at once. On Ctrl-C both are ended first, so that no thread waits for them."""
    with ThreadPoolExecutor(len(sides)) as pool:
        jobs = [pool.submit(side.observe, asks, lambda role, ask: progress(role, ask.key)) for side in sides]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            for side in sides:
                side.stop()
            raise


def _variant(
    spec: Spec,
    variant: str,
    cases: Mapping[str, CaseSpec],
    checks: list[str],
    options: Options,
    sides: list[Side],
    scratch: Path,
    tally: _Tally,
    progress: Progress,
) -> None:
    """Observes and compares one variant. What breaks on the way costs no more than what depends on it."""
    values = spec.variants[variant]
    job = Job(spec=spec, variant=variant, values=values, cases={}, inputs={}, forward_values={})
    modules = available()
    interrupt: KeyboardInterrupt | None = None
    try:
        _observe(sides, _ordered(ask for name in checks for ask in modules[name].plan(job)), progress)
        depth = _depth(spec, variant, options, sides, tally) if "forward" in checks else options.depth
        forward_values = {name: _case_values(spec, values, case, depth) for name, case in cases.items()}
        inputs = {}
        if "forward" in checks:
            inputs = _inputs(replace(job, cases=cases, forward_values=forward_values), scratch, options.seed, tally)
            cases = {name: case for name, case in cases.items() if name in inputs}
        recipes = _recipes(spec, variant, forward_values, sides, progress)
        job = replace(job, cases=cases, inputs=inputs, forward_values=forward_values, recipes=recipes)
        _observe(sides, _ordered(ask for name in checks for ask in modules[name].plan(job)), progress)
    except KeyboardInterrupt as error:
        interrupt = error
        for side in sides:
            side.stop()
    except Exception as error:
        tally.stops.append(f"{variant}: {_broken(error)}")
    traces = {side.settings.role: side.trace for side in sides}
    for name in checks:
        _compare(name, job, traces, tally)
    if interrupt is not None:
        raise interrupt
    _explain(job, sides, tally, progress)


def _recipes(
    spec: Spec, variant: str, forward_values: Mapping[str, Mapping[str, Any]], sides: list[Side], progress: Progress
) -> dict[str, dict[str, Any]]:
    """By case, how the candidate's parameters are made of the reference's. Empty where the spec maps none."""
    if not spec.mapping.parameters:
        return {}
    distinct = {json.dumps(values, sort_keys=True): values for values in forward_values.values()}
    keys = {text: f"{variant}/mapping/{number}" for number, text in enumerate(distinct)}
    file = f"{variant}-mapping-buffers.safetensors"
    asks = [Ask(key=keys[t], op="structure", args={"values": dict(v), "file": file}) for t, v in distinct.items()]
    _observe(sides, asks, progress)
    found = {}
    for text, key in keys.items():
        shapes = [structure.shapes(side.trace.get(key).result or {}) for side in sides]
        found[text] = mapping.resolve(spec.mapping, *shapes).to_wire()
    return {case: found[json.dumps(values, sort_keys=True)] for case, values in forward_values.items()}


def _inputs(job: Job, scratch: Path, seed: int, tally: _Tally) -> dict[str, Path]:
    """The files with the tensors of each case. A case whose file cannot be made is an error of its own."""
    files = {}
    for name, case in job.cases.items():
        file = scratch / f"{job.variant}-{name}.inputs.safetensors"
        try:
            write_inputs(draw_inputs(case, name, job.forward_values[name], seed), file)
        except Exception as error:  # a full disk, no memory, sizes that the memory's depth makes impossible
            make = Maker(job=job, check="forward", group=name)
            outcome = Outcome(name=name)
            outcome.findings.append(
                make.finding("no-inputs", name, Verdict.ERROR, details={"fault": f"{type(error).__name__}: {error}"})
            )
            _count_outcomes("forward", job, [outcome], 0.0, tally)
        else:
            files[name] = file
    return files


def _ordered(asks: Iterable[Ask]) -> list[Ask]:
    """Each ask once; those of one model together, unperturbed before perturbed.

    The model of the first case, as a rule the full one, comes last: its perturbed passes, which only the reference
    answers, then run when the candidate is done and leaves it all processors.
    """
    unique = {ask.key: ask for ask in asks}
    first = {ask.group: -place for place, ask in reversed(list(enumerate(unique.values())))}
    return sorted(unique.values(), key=lambda ask: (bool(ask.group), first[ask.group], bool(ask.args.get("nudged"))))


def _case_values(spec: Spec, values: Mapping[str, Any], case: CaseSpec, depth: int | None) -> dict[str, Any]:
    merged = {**values, **case.config}
    if depth is not None and spec.depth_key is not None:
        own = case.config.get(spec.depth_key)
        merged[spec.depth_key] = min(own, depth) if isinstance(own, int) else depth
    return merged


def _depth(spec: Spec, variant: str, options: Options, sides: list[Side], tally: _Tally) -> int | None:
    """Layers to run: those asked for, all, or as many as fit into memory, which is then said."""
    key = f"{variant}/structure"
    trace = sides[0].trace
    if key not in trace.answers:
        args = {"values": spec.variants[variant], "file": f"{variant}-buffers.safetensors"}
        trace.add(sides[0].ask(Ask(key=key, op="structure", args=args)))
    result = trace.get(key).result or {}
    parameters = sum(math.prod(p["shape"]) for p in result.get("parameters", []))
    layers = spec.variants[variant].get(spec.depth_key or "")
    facts = tally.facts.setdefault(variant, {})
    facts.update(
        values=dict(spec.variants[variant]),
        parameters=parameters,
        entries=len(result.get("order", [])),
        names=[f"{p['name']} {p['shape']}" for p in result.get("parameters", [])],
    )
    if options.depth is not None:
        facts["layers"] = options.depth
        return options.depth
    facts["layers"] = layers
    free = memory.available()
    need = parameters * 8 * COPIES * len(sides)
    if not isinstance(layers, int) or free is None or need <= free * MEMORY_SHARE:
        return None
    fits = max(int(layers * free * MEMORY_SHARE / need), 1)
    facts["layers"] = fits
    reason = (
        f"forward runs {fits} of {layers} layers: all of them need {need / 2**30:.1f} GiB in float64 for both sides and "
        f"{free / 2**30:.1f} GiB are free; --depth {layers} runs all the same"
    )
    tally.skipped.append(Skipped(check="forward", variant=variant, case="", reason=reason))
    return fits


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
    mine = {ask.key for ask in check.plan(job)}
    asking = max(sum(t.answers[k].seconds for k in mine if k in t.answers) for t in traces.values())
    _count_outcomes(name, job, outcomes, asking + comparing, tally)


def _count_outcomes(name: str, job: Job, outcomes: list[Outcome], seconds: float, tally: _Tally) -> None:
    for outcome in outcomes:
        tally.findings += outcome.findings
        if outcome.skipped:
            tally.skipped.append(Skipped(check=name, variant=job.variant, case=outcome.name, reason=outcome.reason))
        tally.groups.append(
            Group(
                check=name,
                variant=job.variant,
                name=outcome.name,
                verdict=outcome.verdict,
                compared=outcome.compared,
                measured=outcome.measured,
                allowed=outcome.allowed,
                reason=outcome.reason,
                seconds=round(seconds / len(outcomes), 4),
            )
        )


def _result(name: str, tally: _Tally) -> CheckResult:
    groups = [g for g in tally.groups if g.check == name]
    ran = [g for g in groups if g.verdict != Verdict.SKIPPED]
    skipped = bool(groups) and not ran
    return CheckResult(
        name=name,
        verdict=Verdict.SKIPPED if skipped else worst(g.verdict for g in ran),
        compared=sum(g.compared for g in ran),
        seconds=round(sum(g.seconds for g in groups), 3),
        reason=groups[0].reason if skipped else "" if ran else "nothing was compared",
        groups=groups,
    )


def _explain(job: Job, sides: list[Side], tally: _Tally, progress: Progress) -> None:
    """The second pass, only where values differ: which module is the first, and its place on the findings."""
    todo = [f for f in tally.findings if f.variant == job.variant and f.kind in ("output-values", "not-finite")]
    found: Divergence | None = None
    for finding in todo[:MOST_EXPLAINED]:
        allowed = float(finding.allowed) if isinstance(finding.allowed, float) and finding.allowed > 0 else 1e-12
        key = job.key("modules", finding.case)
        ask = Ask(key=key, op="modules", args=run_args(job, finding.case, nudged=False))
        _observe(sides, [ask], progress)
        answers = [side.trace.get(key).result for side in sides]
        try:
            pair = first_module(answers[0]["calls"], answers[1]["calls"], allowed) if all(answers) else None  # type: ignore[index]
        except Exception:  # a place that cannot be found takes nothing from the finding
            pair = None
        if pair is not None:
            measured = finding.measured if isinstance(finding.measured, float) else None
            place = (finding.check, finding.variant, finding.case)
            found = divergence(place, measured, allowed, pair)
            tally.divergences.append(found)
            _place(tally, finding, found)
    for finding in todo[MOST_EXPLAINED:]:
        if found is not None:
            _place(tally, finding, found)


def _place(tally: _Tally, finding: Finding, found: Divergence) -> None:
    index = tally.findings.index(finding)
    tally.findings[index] = finding.model_copy(update={"reference": found.reference, "candidate": found.candidate})
