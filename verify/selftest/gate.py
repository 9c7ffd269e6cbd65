"""The gate as the self-test runs it: the reference is observed once, a changed candidate until the first finding."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from verify import pair, scenes
from verify.checks import available, further, signature
from verify.checks.base import Job, Outcome
from verify.pair import Progress
from verify.report import Verdict
from verify.selftest import alike, shadow
from verify.selftest.alike import Stage
from verify.selftest.mutant import Mutant
from verify.side import Server, Side
from verify.spec import Spec, SpecError
from verify.trace import Ask, Role, Trace

LEFT_OUT = ("source",)
"""Checks that look at files and not at what they do: every change of a declared copy's original would count."""

AFTER_FORWARD = ("buffers", "initialisation")
"""Checks that make several models, where most faults show in one call of one."""

LAST = ("roundtrip", "precision")
"""Checks that cost most: run when no other has found anything."""

Status = Literal["caught", "stopped", "noted", "survived", "unmoved", "unreached", "equivalent"]
"""caught: reported as different. stopped: could not be decided, exit code 2. noted: told in a note, which changes no
verdict. survived: values moved and the gate called it equal. unmoved: every value of every case is equal to the bit.
unreached: no case runs the changed lines. equivalent: the same instructions, or values that moved as rounding does."""


class NotEqual(Exception):
    """The pair differs as it is, so that no seeded fault can be told from what is there."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the gate says of one changed candidate. by: the check; finding: its message; raised: by an exception alone.

    moved: where nothing was reported, how far values moved and where most, or why that is no change. ran: whether the
    checks were run.
    """

    status: Status
    by: str = ""
    finding: str = ""
    raised: bool = False
    moved: str = ""
    ran: bool = True


@dataclass
class Gate:
    """Judges changed candidates. `prepare` observes the pair as it is; then `judge` may be called by several threads."""

    spec: Spec
    base: Path
    sides: list[Side]
    scratch: Path
    checks: list[str]
    job: Job
    stages: list[Stage] = field(default_factory=list)
    lines: dict[str, set[int]] = field(default_factory=dict)
    """Lines of the candidate's files that ran, by file."""
    imports: list[str] = field(default_factory=list)
    """Library modules that the candidate needed."""
    notes: set[str] = field(default_factory=set)
    """Notes on the pair as it is."""
    skipped: set[tuple[str, str]] = field(default_factory=set)
    """Check and group of what is not compared of the pair as it is."""
    _asking: threading.Lock = field(default_factory=threading.Lock)

    @property
    def reference(self) -> Trace:
        return self.sides[0].trace

    @property
    def candidate(self) -> Trace:
        return self.sides[1].trace

    def prepare(self, cases: Mapping[str, Any], depth: int | None, progress: Progress) -> None:
        """Observes both sides. Raises NotEqual where the gate does not pass the pair as it is."""
        modules = available()
        pair.observe(self.sides, [Ask(key="environment", op="environment")], progress)
        runners = [name for name in self.checks if modules[name].RUNS_CASES]
        early = [ask for name in self.checks for ask in modules[name].plan(self.job) if not ask.fresh]
        pair.observe(self.sides, early, progress)
        if runners:
            depth, _ = scenes.depth_of(self.job, depth, self.sides, {})
            made = scenes.make(self.job, runners, cases, depth, self.sides, self.scratch, progress)
            accepted = signature.accepted(self.job, self.reference, self.candidate)
            self.job = replace(self.job, scenes=made.ready, accepted=accepted)
        self.stages = list(self._stages())
        for stage in self.stages:
            pair.observe(self.sides, stage.asks, progress)
            pair.observe(self.sides, further([stage.check], stage.job, self.reference, self.candidate), progress)
            self._note_reached()
            for outcome in available()[stage.check].compare(stage.job, self.reference, self.candidate):
                self.notes.update(_notes(outcome))
                self.skipped |= {(stage.check, outcome.name)} if outcome.skipped else set()
                if outcome.verdict in (Verdict.DIFFERENT, Verdict.ERROR):
                    first = _loudest(outcome)
                    raise NotEqual(f"{stage.check} {outcome.name}: {first or 'nothing was compared'}")
        self.look(Ask(key="reached/end", op="reached", args={"stop": True}))

    def _stages(self) -> Iterator[Stage]:
        modules = available()
        late = (*AFTER_FORWARD, *LAST)
        quick = [name for name in self.checks if not modules[name].RUNS_CASES and name not in late]
        forward = [name for name in self.checks if name == "forward"]
        made = [name for name in self.checks if name in AFTER_FORWARD]
        slow = [name for name in self.checks if name not in {*quick, *forward, *late}]
        for name in [*quick, *forward, *made, *slow, *(name for name in LAST if name in self.checks)]:
            if name == "forward":
                for place in sorted((p for p in self.job.scenes if p[0] == name), key=self._model_of):
                    yield self._stage(name, replace(self.job, scenes={place: self.job.scenes[place]}))
            elif not modules[name].RUNS_CASES or self.job.cases(name):
                yield self._stage(name, self.job)

    def _model_of(self, place: tuple[str, str]) -> tuple[int, str]:
        """The cases of one model together; the model with the most cases first."""
        values = str(sorted(self.job.scenes[place].values.items()))
        alike = sum(str(sorted(s.values.items())) == values for (c, _), s in self.job.scenes.items() if c == place[0])
        return -alike, values

    def _stage(self, check: str, job: Job) -> Stage:
        asks = available()[check].plan(job)
        return Stage(check=check, job=job, asks=sorted(asks, key=lambda ask: (ask.fresh, ask.group)))

    def _note_reached(self) -> None:
        side = self.sides[1]
        if not side.settings.watch:
            return
        result = side.ask(Ask(key="reached", op="reached")).result or {}
        for file, lines in result.get("lines", {}).items():
            self.lines.setdefault(file, set()).update(lines)
        self.imports = list(dict.fromkeys([*self.imports, *result.get("modules", [])]))

    def look(self, ask: Ask) -> Mapping[str, Any]:
        """What the candidate answers to one more ask."""
        return self.sides[1].ask(ask).result or {}

    def reached(self, mutant: Mutant) -> bool:
        """Whether some case runs a line that the mutant changes."""
        if mutant.edit is None:
            return True
        ran = self.lines.get(mutant.file, set()) | self.lines.get(Path(mutant.file).name, set())
        return any(line in ran for line in range(mutant.edit.line, mutant.edit.last + 1))

    def judge(self, mutant: Mutant, server: Server) -> Judged:
        """Runs the checks on the candidate with one change, until one reports it."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        try:
            settings = self.sides[1].settings
            home = folder / "home"
            home.mkdir()
            path = settings.path
            if mutant.edit is not None:
                source = (Path(path) / mutant.file).read_bytes()
                shadow.make(Path(path), folder / "shadow", {mutant.file: mutant.edit.apply(source)})
                path = str(folder / "shadow")
            settings = replace(settings, path=path, scratch=str(home), fault=mutant.fault, watch=False)
            like = self.sides[1]
            side = Side(settings=settings, server=server, timeout=like.timeout, processors=like.processors)
            try:
                return self._judged(side)
            finally:
                side.stop()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _judged(self, side: Side) -> Judged:
        undecided: Judged | None = None
        noted: Judged | None = None
        for stage in self.stages:
            side.observe(stage.asks, _quietly)
            for outcome in self._compared(stage, side):
                if outcome.verdict == Verdict.DIFFERENT:
                    raised = all(f.kind == "fault-one" for f in outcome.findings if f.verdict == Verdict.DIFFERENT)
                    return Judged(status="caught", by=stage.check, finding=_loudest(outcome), raised=raised)
                if outcome.verdict == Verdict.ERROR and undecided is None:
                    undecided = Judged(status="stopped", by=stage.check, finding=_loudest(outcome))
                new = [note for note in _notes(outcome) if note not in self.notes]
                if new and noted is None:
                    noted = Judged(status="noted", by=stage.check, finding=new[0])
        if undecided is not None:
            return undecided
        if noted is not None:
            return noted
        moved = alike.moved(self.candidate, side.trace)
        if not moved:
            return Judged(status="unmoved")
        both = alike.Pair(reference=self.reference, candidate=self.candidate, skipped=self.skipped)
        why = alike.why_equivalent(self.stages, both, side.trace)
        return Judged(status="equivalent" if why else "survived", moved=why or moved)

    def _compared(self, stage: Stage, side: Side) -> Iterator[Outcome]:
        """What a stage says of a changed candidate. What it asks for further is asked case by case: one is enough."""
        compare = available()[stage.check].compare
        more = further([stage.check], stage.job, self.reference, side.trace)
        *first, last = _by_case(stage, more)
        for asks in first:
            self._observe(asks, side)
            outcomes = list(compare(stage.job, self.reference, side.trace))
            if any(outcome.verdict == Verdict.DIFFERENT for outcome in outcomes):
                yield from outcomes
                return
        self._observe(last, side)
        yield from compare(stage.job, self.reference, side.trace)

    def _observe(self, asks: list[Ask], side: Side) -> None:
        if not asks:  # others may hold the lock for long
            return
        with self._asking:  # of the pair as it is, once
            pair.observe(self.sides, asks, _quietly)
        side.observe(asks, _quietly)


def _by_case(stage: Stage, asks: list[Ask]) -> list[list[Ask]]:
    """The asks of each case of a stage, and those of none; one list at least."""
    parts = [
        [a for a in asks if a.key.startswith(stage.job.key(stage.check, case, ""))]
        for case in stage.job.cases(stage.check)
    ]
    left = [a for a in asks if not any(a in part for part in parts)]
    return [part for part in (*parts, left) if part] or [[]]


def _quietly(role: Role, what: object) -> None:
    """No progress is told of a changed candidate."""


def _notes(outcome: Outcome) -> list[str]:
    return [f"{f.case} {f.subject}: {f.message}" for f in outcome.findings if f.verdict == Verdict.NOTE]


def _loudest(outcome: Outcome) -> str:
    loud = sorted(outcome.findings, key=lambda f: -f.verdict.weight)
    return loud[0].message if loud else ""


def gate_of(
    spec: Spec, base: Path, sides: list[Side], scratch: Path, variant: str, checks: list[str], seed: int
) -> Gate:
    """A gate over these sides, of which the candidate notes the lines that run. Raises SpecError for no checks."""
    kept = [name for name in checks if name not in LEFT_OUT]
    if not kept:
        raise SpecError(f"the self-test needs another check than {', '.join(LEFT_OUT)}")
    sides[1].settings = dataclasses.replace(sides[1].settings, watch=True)
    job = Job(spec=spec, base=base, variant=variant, seed=seed)
    return Gate(spec=spec, base=base, sides=sides, scratch=scratch, checks=kept, job=job)
