"""Where the output of a case first differs: the module, and the operation at its line.

Model code sees values of the other side here, after the verdict on the case stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from verify import pair
from verify.checks.base import Job, Maker
from verify.divergence import divergence, first_module
from verify.divergence.alignment import HUGE
from verify.divergence.graph import Frame, Graph, Operation
from verify.divergence.kept import keeping
from verify.divergence.layers import by_layer
from verify.divergence.others import left_before
from verify.divergence.search import Reply, Round, Search, Unanswered
from verify.divergence.sources import Function, Sources
from verify.divergence.uncalled import returned_otherwise, uncalled
from verify.divergence.verdict import Culprit, Unexplained, judge, roots
from verify.explain.changes import Changes
from verify.explain.difference import difference
from verify.explain.mending import Mended
from verify.explain.places import beside_the_reference, compiled_in, drawing, location, made_by, place_of
from verify.mapping import inverse, renamed
from verify.messages import say
from verify.pair import Progress
from verify.report import Divergence, Finding, LayerError, Line, Location
from verify.side import Side
from verify.tolerance import from_response
from verify.trace import BOTH, Answer, Ask, Role

LONGEST_SEARCH = 120.0
"""Seconds of a search at most; --timeout can make it shorter."""
REPEATS = 1e-9
"""Relative difference between two passes of one side from which on it does not repeat itself."""
DIFFERENCE = "how the function differs from the reference's, told in the candidate's names:"
OF_VALUES = ("output-values", "not-finite")
"""Kinds of findings about values of outputs."""
SENTENCES = {
    "differs": "first-differs",
    "setting": "first-setting",
    "missing": "first-missing",
    "extra": "first-extra",
    "operand": "first-operand",
    "branch": "first-branch",
}


Known = dict[str, Divergence]
"""The places that were found in one case, by output; under "" the first of all."""


class Unrepeatable(Exception):
    """A side gives other values each time. random: the line where it first draws random numbers, if it does."""

    def __init__(self, role: Role, random: Frame | None) -> None:
        super().__init__(f"the {role} does not repeat itself")
        self.role = role
        self.random = random


@dataclass
class Explainer:
    """Explains the findings of one variant. Sides are asked one after the other, outside their traces."""

    job: Job
    sides: list[Side]
    scratch: Path
    progress: Progress
    sources: dict[str, Sources] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    places: dict[str, Divergence] = field(default_factory=dict)
    """Of the finding explained last: the first fault that leads to each output, where a line was found."""
    steps: dict[tuple[Role, bool], Mapping[str, Any]] = field(default_factory=dict)
    """What becomes of tensors on their way through a side's checkpoint, or through one that lacks some."""
    broken: list[Exception] = field(default_factory=list)
    """What went wrong while the finding explained last was."""
    ran: list[bool] = field(default_factory=list)
    """Of the lines that were asked about, which ran in the candidate's pass of module calls."""
    _changes: Changes = field(init=False)
    _layers: list[LayerError] = field(default_factory=list)
    _gate: Mapping[str, Any] | None = None
    """The first module call that differs, where the reference's is called alike, and what that gives."""
    _calls: Sequence[Mapping[str, Any]] = ()
    """The candidate's module calls."""
    allowed: float = 0.0
    """Relative difference that is rounding, of the finding explained last."""

    def __post_init__(self) -> None:
        self.sources = {side.settings.role: Sources(Path(side.settings.path)) for side in self.sides}
        self._changes = Changes(self.job, self.sources, self._changed_pass)

    def explain(self, finding: Finding, allowed: float | None = None) -> Divergence | None:
        """What is known of where a finding comes from; None where nothing is.

        allowed: relative difference that is rounding, as the finding's group measured it; default: the least of its
        case's arithmetic.
        """
        self.begin(finding, allowed)
        found = self._found(finding)
        return found.model_copy(update={"layers": self._layers}) if found else None

    def infer(self, finding: Finding, known: Sequence[Known], allowed: float | None) -> tuple[Divergence, Known] | None:
        """The first module that differs in a case that is not searched, and what other cases say of that module.

        known: what was found in other cases. Given back of it: the places whose lines ran here too. It costs a pass of
        module calls. None where no module is found.
        """
        self.begin(finding, allowed)
        lines = list({place.candidate: None for one in known for place in one.values() if place.candidate})
        module = self._module(finding, lines)
        if module is None:
            return None
        ran = {line for line, there in zip(lines, self.ran, strict=True) if there}
        alike = [one for one in known if one[""].subject == module.subject]
        return module, {
            path: place
            for one in reversed(alike)
            for path, place in one.items()
            if place.confidence != "module" and (place.candidate in ran or place.kind == "first-setting")
        }

    def begin(self, finding: Finding, allowed: float | None) -> None:
        """Forgets the finding explained last, and notes what is rounding of this one, which is of a case."""
        self.forget()
        arithmetic = self.job.scenes[finding.check, finding.case].case.arithmetic
        least = from_response(0.0, self.job.spec.tolerance.multiple, arithmetic).allowed
        self.allowed = max(allowed or 0.0, least)

    def forget(self) -> None:
        """Forgets the finding explained last."""
        self._layers, self.places, self.broken, self._gate, self._calls = [], {}, [], None, ()

    def _found(self, finding: Finding) -> Divergence | None:
        found = self._module(finding)
        if finding.kind not in OF_VALUES:  # every value agrees: only a module can have made another shape
            return found
        return self.sought(finding, found)

    def sought(self, finding: Finding, found: Divergence | None, section: str = "") -> Divergence | None:
        """The first operation that differs, or what is known without it. found: the module, where one is known.

        section: of an answer that holds several passes, such as "train", the one that is explained.
        """
        try:
            return self._operation(finding, found, section) or found
        except Unrepeatable as error:
            # in a pass of `training` what is drawn is given, and repeats itself
            error.random = None if section else self.dropping(error.role, error.random)
            details = {"side": error.role, "place": place_of(error.random)}
            if error.random is None:  # the module, where one was found, is the best place to look for what it keeps
                kind = "first-stateful-trained" if section else "first-stateful"
                stateful = self.entry(finding, found, kind, details, confidence="module")
                places: dict[str, Any] = {role: getattr(found, role, None) for role in BOTH}
                if kept := self._keeping(error.role, places[error.role]):
                    places |= {error.role: location(kept), "excerpts": {error.role: self.excerpt(error.role, kept)}}
                    places["hints"] = [f"{kept.function} keeps something there, which the next call may read"]
                return stateful.model_copy(update=places)
            told = self.entry(finding, found, "first-random", details, confidence="module")
            excerpts = {error.role: self.excerpt(error.role, error.random)}
            return told.model_copy(update={error.role: location(error.random), "excerpts": excerpts})
        except Unexplained:
            return found
        except Exception as error:  # whatever a side's record or the machine does: the finding stands without a place
            self.broken.append(error)
            return found

    def _keeping(self, role: Role, module: Location | None) -> Frame | None:
        """The line at which a module's class keeps something from one call to the next, where its source says one."""
        tree = self.sources[role].tree(module.file) if module is not None else None
        kept = keeping(tree, module.line) if module is not None and tree is not None else None
        return Frame(module.file, kept[0], kept[1], True, -1) if module is not None and kept is not None else None

    def dropping(self, role: Role, frame: Frame | None) -> Frame | None:
        """The line where random numbers are drawn; of a call of several lines that of what is dropped."""
        line = self.sources[role].dropping(frame.file, frame.line) if frame is not None else None
        return frame if frame is None or line is None else replace(frame, line=line)

    def _module(self, finding: Finding, lines: Sequence[Location] = ()) -> Divergence | None:
        try:
            match = self._first_module(finding, "modules", lines=lines)
            if match is None and (earlier := self._earlier(finding)):
                match = self._first_module(finding, "modules-again", earlier, lines=lines)
        except Exception as error:  # an answer of a form that nobody foresaw
            self.broken.append(error)
            return None
        if match is None:
            return None
        place = (finding.check, finding.variant, finding.case)
        return divergence(place, _measured(finding), self.allowed, match)

    def _earlier(self, finding: Finding) -> list[Ask]:
        """The passes that one model ran before this case: what they left behind in it may be what differs."""
        own = self.job.ask("forward", finding.check, finding.case)
        cases = self.job.cases(finding.check)
        earlier = [self.job.ask("forward", finding.check, case) for case in cases[: cases.index(finding.case)]]
        asks = [replace(ask, key=f"{ask.key}/before/{finding.case}") for ask in earlier if ask.group == own.group]
        return [
            replace(ask, fresh=ask is asks[0]) for ask in asks
        ]  # the passes before must be all that a model has seen

    def _first_module(
        self, finding: Finding, kind: str, after: Sequence[Ask] = (), lines: Sequence[Location] = ()
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """The first calls that differ, candidate's and reference's. lines: of the candidate, see `ran`. Raises Unanswered."""
        about: dict[str, Any] = {"lines": [[at.file, at.line] for at in lines]} if lines else {}
        ask = self.job.ask("modules", finding.check, finding.case, kind, **about)
        pair.observe(self.sides, [*after, ask], self.progress)
        reference, candidate = (_answered(side, side.trace.get(ask.key))[0] for side in self.sides)
        match = first_module(reference["calls"], candidate["calls"], self.allowed)
        self.ran, self._calls = candidate["ran"], candidate["calls"]
        self._layers = _ended(by_layer(reference["calls"], candidate["calls"]))
        self._gate = _gate(*match, self.allowed) if match is not None and not after else None
        return match

    def _operation(self, finding: Finding, module: Divergence | None, section: str) -> Divergence | None:
        origins: dict[Role, dict[str, Any]] = {role: {} for role in BOTH}

        def ask(role: Role, more: Mapping[str, Any]) -> Reply:
            kind = f"operations-{self.number()}"
            one = self.job.ask("operations", finding.check, finding.case, kind, sides=(role,), section=section, **more)
            result, arrays = self.asked(role, one, f"{finding.case}: first difference")
            if "operations" in result:
                self._repeats(role, finding, section, result, arrays)
                if not origins[role]:
                    origins[role].update(result.get("origins", {}))
            return self._named(role, finding, result), arrays

        seconds = min(LONGEST_SEARCH, *(side.timeout for side in self.sides))
        search = Search(ask=ask, give=self._give, allowed=self.allowed, seconds=seconds)
        rounds = search.run()
        if not any(one.best is not None and one.best.full for one in rounds):
            self.broken += search.failed
        if not rounds:
            return None
        complete = rounds[-1].complete
        culprits: list[Culprit] = []
        for one in rounds:
            try:
                culprits.append(self._called(one, judge(one, self.sources, origins, complete=complete), origins))
            except Unexplained:
                break
        if culprits and (stale := self._stale(finding, module, rounds[0], culprits[0])):
            return stale
        mend, gate = None, None if section else self._gate
        blamed = culprits[0] if culprits else None
        try:
            mend = self._changes.find(finding, section, rounds[0], blamed, origins, self.allowed, gate)
        except Exception as error:  # what is known of the place stands
            self.broken.append(error)
        if not culprits and mend is None:
            raise Unexplained("no trial and no change explains the difference")
        if mend is not None and (not culprits or self._changes.moves(mend, culprits[0])):
            return self._told_by_mend(finding, module, rounds[0], mend, culprits[0] if culprits else None)
        told: list[Divergence] = []
        for culprit, explained in roots(rounds[: len(culprits)], culprits):
            further = explained[0] is not rounds[0]
            told.append(self._told(finding, None if told else module, culprit, origins, explained[0], further=further))
            for path in (path for one in explained for path in one.outputs):
                self.places.setdefault(path, told[-1])
        first, *others = told
        if mend is not None and self._changes.there(mend.mend, culprits[0]):
            first = first.model_copy(update={"hints": [*first.hints, _told_mend(mend)]})
        places = {first.candidate}
        fresh = [o for o in others if not (o.candidate in places or places.add(o.candidate))]  # type: ignore[func-returns-value]
        return first.model_copy(update={"others": fresh})

    def _stale(self, finding: Finding, module: Divergence | None, one: Round, culprit: Culprit) -> Divergence | None:
        """What is told where an earlier pass left a value that is read, and the first module that differs keeps something."""
        sure = culprit.confidence == "confirmed" or culprit.kind == "setting"
        reader = left_before(one.match) if not sure else None
        frame = self._keeping("candidate", module.candidate if module is not None else None)
        if reader is None or frame is None:
            return None
        details = {"operation": reader.short, "reader": place_of(reader.frame), "candidate_place": place_of(frame)}
        told = self._at(
            self.entry(finding, module, "first-kept", details, confidence="aligned"), frame, culprit.reference
        )
        self.places |= dict.fromkeys((*one.match.wrong, *one.match.misplaced), told)
        return told

    def _at(self, told: Divergence, mine: Frame | None, theirs: Frame | None) -> Divergence:
        """The same with its places and their excerpts."""
        places = {"candidate": location(mine), "reference": location(theirs)}
        excerpts = {"candidate": self.excerpt("candidate", mine), "reference": self.excerpt("reference", theirs)}
        return told.model_copy(update={**places, "excerpts": excerpts})

    def _called(self, one: Round, culprit: Culprit, origins: Mapping[Role, Mapping[str, Any]]) -> Culprit:
        """The culprit; of a step that is missing, at the line that names a module that should do it, where none calls that, or
        at the one in which it returns, where nothing that it does is wrong."""
        if culprit.kind not in ("missing", "differs") or not self._calls:
            return culprit
        sources, lacks = self.sources["candidate"], culprit.kind == "missing"
        frame = uncalled(one.match, sources, origins["candidate"], self._calls) if lacks else None
        if frame is None and culprit.confidence != "confirmed":
            frame = returned_otherwise(one.match, sources, origins["candidate"], self._calls)
        return culprit if frame is None else replace(culprit, kind="missing", candidate=frame, confidence="aligned")

    def _changed_pass(self, role: Role, finding: Finding, case: str, section: str, more: Mapping[str, Any]) -> Reply:
        kind = f"mended-{self.number()}"
        asked = self.job.ask("mended", finding.check, case, kind, sides=(role,), section=section, **more)
        result, arrays = self.asked(role, asked, f"{case}: which change mends it")
        return self._named(role, finding, result), arrays

    def _told_by_mend(
        self, finding: Finding, module: Divergence | None, one: Round, mend: Mended, culprit: Culprit | None
    ) -> Divergence:
        """What a change elsewhere than at the blamed line says."""
        frame, theirs = mend.mend.frame, culprit.reference if culprit is not None else None
        details = {
            "candidate_place": place_of(frame), "reference_place": place_of(theirs), "before": mend.before,
            "after": mend.after,
        }  # fmt: skip
        found = self.entry(finding, module, "first-mended", details, confidence="aligned")
        told = self._at(found, frame, theirs)
        self.places |= dict.fromkeys((*one.match.wrong, *one.match.misplaced), told)
        return told

    def _named(self, role: Role, finding: Finding, result: Mapping[str, Any]) -> Mapping[str, Any]:
        """A side's answer with its outputs by the reference's names, without those that the spec ignores."""
        names = inverse(self.job.spec.mapping.outputs) if role == "candidate" else {}
        make = Maker(job=self.job, check=finding.check, group=finding.case)
        named = dict(result)
        if "outputs" in result:
            outputs = [[renamed(str(path), names), value] for path, value in result["outputs"]]
            named["outputs"] = [[path, value] for path, value in outputs if not make.ignored(path)]
        if "tries" in result:
            named["tries"] = [
                {**one, "outputs": [renamed(str(path), names) for path in one["outputs"]]} if "outputs" in one else one
                for one in result["tries"]
            ]
        return named

    def _repeats(
        self,
        role: Role,
        finding: Finding,
        section: str,
        result: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
    ) -> None:
        """Raises Unrepeatable where the outputs of the second pass are not those of the first."""
        side = next(s for s in self.sides if s.settings.role == role)
        first = side.trace.get(self.job.key(finding.check, finding.case)).arrays
        start = f"{section}/" if section else ""
        if result.get("replaced"):
            return
        for path, value in result["outputs"]:
            row = arrays["vectors"][value]
            if start + path in first and np.isfinite(row).all():
                flat = first[start + path].astype(np.float64).ravel()
                sums = np.array([np.linalg.norm(flat), flat.sum(), np.abs(flat).sum()])
                scale = max(float(sums[0]), 1e-300) * max(flat.size, 1) ** 0.5
                if sums[2] < HUGE and np.abs(sums - row[:3]).max() > REPEATS * scale:  # else the print is of a mask
                    raise Unrepeatable(role, drawing(result))

    def _give(self, arrays: Mapping[str, NDArray[Any]]) -> str:
        file = self.scratch / f"given-{next(self._numbers)}.safetensors"
        save_file(dict(arrays), str(file))
        return str(file)

    def _told(
        self,
        finding: Finding,
        module: Divergence | None,
        culprit: Culprit,
        origins: Mapping[Role, Mapping[str, Any]],
        one: Round,
        *,
        further: bool,
    ) -> Divergence:
        """What is said of one fault. module: the first that differs, which is no further fault's."""
        operation, counterpart = culprit.operation, culprit.counterpart
        compiled, how = compiled_in(operation, origins["candidate"])
        line = culprit.candidate or made_by(operation, origins["candidate"])
        details = {
            "candidate_place": place_of(line),
            "reference_place": place_of(culprit.reference),
            "operation": operation.short,
            "counterpart": counterpart.short if counterpart else "?",
            "relative": f"{culprit.gap.relative:.3g}" if culprit.gap else "?",
            "setting": beside_the_reference(culprit, origins["reference"]),
        }
        if culprit.gap is not None:
            gap = culprit.gap
            details |= {
                "where": str(list(gap.where)),
                "reference_value": repr(gap.reference),
                "candidate_value": repr(gap.candidate),
                **_compared(one),
            }
        known = culprit.candidate is not None and how != "scripted"
        found = self.entry(
            finding, module, SENTENCES[culprit.kind], details, confidence=culprit.confidence if known else "module"
        )
        called = "its call" if culprit.candidate is not None else "what made it"
        hints = {
            "scripted": [f"{compiled} runs scripted code, whose lines are not seen: the line is that of {called}"],
            "compiled": [f"{compiled} is compiled; while it is watched it runs line by line, without its compiler"],
        }.get(how, [])
        told = self.placed(found, operation, counterpart, line, culprit.reference)
        return told.model_copy(
            update={
                "subject": module.subject if module else told.subject,
                "call": culprit.call_index,
                "calls": culprit.calls,
                "callers": [place for frame in culprit.callers if (place := location(frame))],
                "evidence": list(_seen(culprit, one, further=further)),
                "flow": list(culprit.flow),
                "hints": hints + self._hinted(culprit),
            }
        )

    def placed(
        self,
        told: Divergence,
        operation: Operation,
        counterpart: Operation | None,
        candidate: Frame | None,
        reference: Frame | None,
    ) -> Divergence:
        """The entry with an operation of each side and the lines to look at, which are not always those that asked for
        them."""
        return told.model_copy(
            update={
                "subject": operation.path.partition("#")[0],
                "candidate": location(candidate),
                "reference": location(reference),
                "operation": operation.name,
                "counterpart": counterpart.name if counterpart else "",
                "callers": [place for f in operation.stack if f.own and f != candidate and (place := location(f))],
                "excerpts": {
                    "reference": self.excerpt("reference", reference),
                    "candidate": self.excerpt("candidate", candidate),
                },
            }
        )

    def asked(self, role: Role, ask: Ask, what: str) -> Reply:
        """What one side answers to a second pass, and its arrays. what: for the progress. Raises Unanswered."""
        side = next(s for s in self.sides if s.settings.role == role)
        self.progress(role, what)
        return _answered(side, side.ask(ask))

    def number(self) -> int:
        """For the next pass of its kind, so that no two have one key."""
        return next(self._numbers)

    def entry(
        self, finding: Finding, module: Divergence | None, kind: str, details: dict[str, str], *, confidence: str
    ) -> Divergence:
        return Divergence(
            check=finding.check,
            variant=finding.variant,
            case=finding.case,
            subject=module.subject if module else "",
            confidence=confidence,  # type: ignore[arg-type]
            kind=kind,
            message=say(kind, details),
            details=details,
            measured=_measured(finding),
            allowed=self.allowed,
            module=module.module if module else None,
        )

    def excerpt(self, role: Role, frame: Frame | None) -> list[Line]:
        if frame is None or not frame.own:
            return []
        lines = self.sources[role].excerpt(frame.file, frame.line)
        return [Line(number=n, text=text, marked=n == frame.line) for n, text in lines]

    def _hinted(self, culprit: Culprit) -> list[str]:
        try:
            return self._hints(culprit)
        except Exception as error:  # source of a form that nobody foresaw; what is known of the place stands
            self.broken.append(error)
            return []

    def _hints(self, culprit: Culprit) -> list[str]:
        """How the two functions differ in syntax, where they are alike enough for that to help."""
        reference = self._function("reference", culprit.reference)
        candidate = self._function("candidate", culprit.candidate)
        if reference is None or candidate is None:
            return []
        lines = difference(reference, candidate)
        return ["\n".join([DIFFERENCE, *lines])] if lines else []

    def _function(self, role: Role, frame: Frame | None) -> Function | None:
        return self.sources[role].function(frame.file, frame.line) if frame is not None and frame.own else None


def called(told: Divergence, graph: Graph, operation: Operation) -> Divergence:
    """The entry with which call of its line the operation of the candidate's graph is, and of how many."""
    return told.model_copy(update={"call": graph.call_index(operation), "calls": len(graph.instances(operation))})


def _answered(side: Side, answer: Answer) -> Reply:
    if answer.result is None:
        raise Unanswered(side.settings.role, answer.fault)
    return answer.result, answer.arrays


def _gate(mine: Mapping[str, Any], theirs: Mapping[str, Any], allowed: float) -> Mapping[str, Any] | None:
    """A module call of both sides and what the reference's gives first; None where they cannot be compared."""
    same = (mine["path"], mine["index"]) == (theirs["path"], theirs["index"])
    given, wanted = mine["outputs"][:1], theirs["outputs"][:1]
    if not same or not given or not wanted or given[0]["shape"] != wanted[0]["shape"]:
        return None
    return {"path": mine["path"], "index": mine["index"], "output": wanted[0], "allowed": allowed}


def _compared(one: Round) -> dict[str, str]:
    """What the values that a trial exchanged are: made by which operation, where, of which shape; by side."""
    if one.best is None:
        return {}
    numbers = dict(zip(("candidate", "reference"), one.best.trial.primary, strict=True))
    graphs = {"candidate": one.match.candidate, "reference": one.match.reference}
    told: dict[str, str] = {"shape": str(list(graphs["candidate"].values[numbers["candidate"]].shape))}
    for role, number in numbers.items():
        maker, leaf = graphs[role].producer(number), graphs[role].values[number].leaf
        told[f"{role}_made"] = (
            f"{maker.short} at {place_of(maker.frame)}" if maker else leaf.replace(":", " ", 1) or "?"
        )
    return told


def _seen(culprit: Culprit, one: Round, *, further: bool) -> Iterator[str]:
    """What agrees before the operation that is blamed, and after a trial: true whether or not it is the one to blame.

    further: whether trials of earlier rounds are in force.
    """
    found, order = one.match.candidate_suspects, culprit.operation.order
    if order in found.fronts:
        yield "what is read there agrees with the reference"
    if all(before >= order for before in found.operations):
        yield "every value before it agrees"
    if one.best is None:
        return
    yield f"{'on top of what is told before: ' if further else ''}{_tried(one)}"


def _tried(one: Round) -> str:
    """What a trial showed."""
    graph = one.match.candidate
    assert one.best is not None
    then = "every output agrees" if one.complete else "more agrees, but not every output"
    trial = one.best.trial
    if trial.swap:
        return f"once two values are exchanged, {then}"
    if trial.feeds:
        reader = graph.operations[trial.feeds[0][0]]
        return f"once {reader.short} at {place_of(reader.frame)} reads the reference's value, {then}"
    return f"once the value of {_compared(one)['candidate_made']} is the reference's, {then}"


def _ended(layers: list[LayerError]) -> list[LayerError]:
    """In the order in which they end, not begin: what holds others comes after them."""
    last = {one.path: place for place, one in enumerate(layers)}
    for one in layers:
        inner = [place for path, place in list(last.items()) if path.startswith(f"{one.path}.")]
        last[one.path] = max([last[one.path], *inner])
    return sorted(layers, key=lambda one: (last[one.path], -one.path.count(".")))


def _told_mend(mend: Mended) -> str:
    return f"every output agrees with `{mend.after}` for `{mend.before}`"


def _measured(finding: Finding) -> float | None:
    return finding.measured if isinstance(finding.measured, float) else None
