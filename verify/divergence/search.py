"""The search for the first operation that differs: align, suspect, try, and go on after what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.divergence.alignment import Known, align, near
from verify.divergence.blame import behind
from verify.divergence.graph import Graph, Operation
from verify.divergence.repair import at_hand
from verify.divergence.suspects import Suspects, outputs_behind, suspects, unlike_outputs, wrong_outputs
from verify.divergence.trials import Match, Trial, own_value, swaps, trials, with_layouts
from verify.trace import Fault, Role

Array = NDArray[np.float64]
Reply = tuple[Mapping[str, Any], Mapping[str, Array]]
Ask = Callable[[Role, Mapping[str, Any]], Reply]
"""Asks one side for a pass of `operations` with more arguments: its answer and arrays. Raises Unanswered."""
Give = Callable[[Mapping[str, Array]], str]
"""Writes arrays to a file that the candidate may read, and returns its path."""

MOST_FAULTS = 4
BATCH = 10
MOST_WATCHED = 240
MOST_TRIED = 60
MOST_AROUND = 60
LIKELY = 4.0
"""Weight from which a trial is made before all others."""


class Unreadable(Exception):
    """What a side sent is no record."""


class Unanswered(Exception):
    """A side did not finish a second pass. The text says what it failed with, in words for the report."""

    def __init__(self, role: Role, fault: Fault | None) -> None:
        super().__init__(f"the {role} did not finish the second pass: {fault}")


@dataclass(frozen=True)
class Result:
    """What a trial did: whether every output that both sides have in one shape agrees then, and how many more values
    agree."""

    trial: Trial
    full: bool
    gain: int


@dataclass
class Round:
    """One fault: the match in which it was sought and the trial that explains it, if any."""

    match: Match
    best: Result | None
    tried: int
    mine: dict[int, Array] = field(default_factory=dict)
    theirs: dict[int, Array] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all outputs agree once this round's trial is applied, which is more than all that can be compared."""
        match = self.match
        agree = self.best is not None and self.best.full and not match.misplaced
        return agree and not unlike_outputs(match.reference, match.candidate)

    @property
    def outputs(self) -> set[str]:
        """Paths of outputs that differ and that the fault leads to."""
        match = self.match
        if self.best is None:
            return set(match.misplaced)
        trial, graph = self.best.trial, match.candidate
        made = (graph.producer(mine) for mine, _ in trial.pairs)
        blamed = {one.order for one in made if one is not None} | {order for order, _, _ in trial.feeds}
        return outputs_behind(graph, blamed) & set(match.wrong)


@dataclass
class Search:
    """Finds the faults of one case. allowed: relative difference that is rounding."""

    ask: Ask
    give: Give
    allowed: float
    seconds: float = 60.0
    rounds: list[Round] = field(default_factory=list)
    failed: list[Unanswered] = field(default_factory=list)
    """Batches of trials that ended the candidate's pass, so that nothing is known of them."""
    _deadline: float = 0.0

    def run(self) -> list[Round]:
        """One round for each independent fault, in order. Raises Unreadable and Unanswered."""
        self._deadline = time.monotonic() + self.seconds
        reference = self._record("reference")
        applied: list[Trial] = []
        while len(self.rounds) < MOST_FAULTS:
            candidate = self._record("candidate", applied)
            wrong = wrong_outputs(reference, candidate, self.allowed)
            if not wrong:
                break
            known_candidate, known_reference = (
                align(candidate, reference, self.allowed), align(reference, candidate, self.allowed)
            )  # fmt: skip
            misplaced = [p for p in wrong if known_candidate.good(candidate.outputs[p])]
            if self.rounds and set(misplaced) == set(wrong):
                break
            wrong = [p for p in wrong if p not in misplaced]
            match = Match(
                reference=reference,
                candidate=candidate,
                known_reference=known_reference,
                known_candidate=known_candidate,
                reference_suspects=suspects(reference, known_reference, wrong),
                candidate_suspects=suspects(candidate, known_candidate, wrong),
                misplaced=misplaced,
                wrong=wrong,
            )
            found = self._round(match)
            self.rounds.append(found)
            if found.best is None or found.best.full or time.monotonic() > self._deadline:
                break
            applied.append(found.best.trial)
        return self.rounds

    def _record(self, role: Role, applied: Iterable[Trial] = ()) -> Graph:
        applied = list(applied)
        arguments: dict[str, Any] = {}
        if applied:
            theirs = self._captured("reference", {twin for t in applied for twin in _twins(t)})
            arguments = {"given_try": _merged(applied), "given": self._given(theirs)}
        reply = self.ask(role, arguments)
        try:
            return Graph.read(*reply)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise Unreadable(f"the {role} sent an unreadable record: {type(error).__name__}") from error

    def _captured(self, role: Role, numbers: Iterable[int], extra: Mapping[str, Any] | None = None) -> dict[int, Array]:
        """Values of one side by number."""
        reply = self.ask(role, {"record": False, "capture": sorted(numbers), **(extra or {})})
        return {int(n.removeprefix("value.")): a for n, a in reply[1].items() if n.startswith("value.")}

    def _given(self, arrays: Mapping[int, Array]) -> str:
        return self.give({f"value.{n}": np.ascontiguousarray(a) for n, a in arrays.items()})

    def _round(self, match: Match) -> Round:
        exchanged = [] if self.rounds else swaps(match)
        guesses = trials(match)
        if not guesses and not exchanged:
            return Round(match, None, 0)
        applied = [r.best.trial for r in self.rounds if r.best]
        wanted = {twin for t in [*guesses, *applied] for twin in _twins(t)}
        theirs = self._captured("reference", wanted)
        given = self._given(theirs)
        extra = {"given_try": _merged(applied), "given": given} if applied else {}
        mine = self._captured(
            "candidate", {a for t in exchanged for a, _ in t.pairs} | {t.primary[0] for t in guesses}, extra
        )
        if exchanged:
            theirs |= {own_value(a): mine[a] for t in exchanged for a, _ in t.pairs if a in mine}
            given = self._given(theirs)
            guesses = [*exchanged, *guesses]
        shaped = [t for guess in guesses for t in with_layouts(guess, mine, theirs)]
        shaped = [t for t in shaped if all(b in theirs for b in _twins(t))]
        watch = _watch(match)
        tried, partial = 0, list[Result]()
        for phase in _phases(shaped):
            for start in range(0, len(phase), BATCH):
                batch = phase[start : start + BATCH]
                results = self._try(match, batch, applied, given, watch)
                tried += len(batch)
                best = next((r for r in results if r.full or _helps(r)), None)
                if best is not None:
                    return self._closer(Round(match, best, tried, mine, theirs), extra)
                partial += [r for r in results if r.gain > 0 and not r.trial.swap]
                if time.monotonic() > self._deadline:
                    break
            if partial:
                break
        if not partial:
            return Round(match, None, tried, mine, theirs)
        top = max(r.gain for r in partial)
        best = min((r for r in partial if r.gain == top), key=lambda r: r.trial.operation)
        return self._closer(Round(match, best, tried, mine, theirs), extra)

    def _closer(self, found: Round, extra: Mapping[str, Any]) -> Round:
        """The round with all values around what was found, for a closer look."""
        assert found.best is not None
        trial, match = found.best.trial, found.match
        region = behind(match.candidate, match.candidate_suspects, match.candidate.operations[trial.operation])
        near = region[-MOST_AROUND:]
        found.mine |= self._captured("candidate", _around(near) | set(at_hand(match.candidate, near)), extra)
        if trial.counterpart is not None:
            theirs = behind(match.reference, match.reference_suspects, match.reference.operations[trial.counterpart])
            found.theirs |= self._captured("reference", _around(theirs[-MOST_AROUND:]))
        return found

    def _try(
        self, match: Match, batch: list[Trial], applied: list[Trial], given: str, watch: list[int]
    ) -> list[Result]:
        tries = [_merged([*applied, t]) for t in batch]
        try:
            answer, arrays = self.ask("candidate", {"tries": tries, "given": given, "watch": watch})
        except Unanswered as error:
            self.failed.append(error)
            return []
        try:
            return [
                self._result(match, trial, one, arrays[f"outputs.{i}"], arrays[f"watched.{i}"])
                for i, (trial, one) in enumerate(zip(batch, answer["tries"], strict=True))
                if "fault" not in one
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise Unreadable(f"the candidate's trials cannot be read: {type(error).__name__}") from error

    def _result(self, match: Match, trial: Trial, one: Mapping[str, Any], outputs: Array, watched: Array) -> Result:
        full = True
        for path, row in zip(one["outputs"], outputs, strict=True):
            twin = match.reference.outputs.get(path)
            if twin is None or path in match.misplaced:
                continue
            count = match.reference.values[twin].count
            mine = match.candidate.outputs.get(path)
            if mine is not None and match.candidate.values[mine].shape != match.reference.values[twin].shape:
                continue
            full = full and bool(near(row, match.reference.vectors[twin], count, self.allowed).all())
        replaced = {a for a, _ in trial.pairs}
        gain = sum(
            1
            for number, row in zip(one["watched"], watched, strict=True)
            if number not in replaced and self._now_known(match, number, row)
        )
        return Result(trial, full, gain)

    def _now_known(self, match: Match, number: int, row: Array) -> bool:
        value = match.candidate.values[number]
        rows = _same_size(match.reference).get((value.kind, value.count, value.squeezed))
        return rows is not None and bool(near(row[None, :8], rows[:, :8], value.count, self.allowed).all(-1).any())


def _around(region: list[Operation]) -> set[int]:
    """Values that operations read and make."""
    return {n for operation in region for n in (*operation.inputs, *operation.outputs)}


def _same_size(graph: Graph) -> dict[Any, Array]:
    """Print vectors of a graph's values by kind, size and shape."""
    found: dict[Any, Array] | None = graph.__dict__.get("_by_size")
    if found is None:
        rows: dict[Any, list[int]] = {}
        for value in graph.values:
            if not value.whole:
                rows.setdefault((value.kind, value.count, value.squeezed), []).append(value.number)
        found = graph.__dict__["_by_size"] = {key: graph.vectors[numbers] for key, numbers in rows.items()}
    return found


def _helps(result: Result) -> bool:
    """Whether a trial mends one fault of several: all calls of a line were replaced and what follows agrees."""
    return not result.trial.swap and result.gain > 0 and result.trial.whole and result.trial.weight >= LIKELY


def _phases(shaped: list[Trial]) -> list[list[Trial]]:
    """The likely trials, at most two of each operation; then, should none of them help, the others."""
    likely, others, count = [], [], dict[int, int]()
    for trial in shaped:
        if trial.weight >= LIKELY and count.get(trial.operation, 0) < 3:
            count[trial.operation] = count.get(trial.operation, 0) + 1
            likely.append(trial)
        else:
            others.append(trial)
    return [likely[:MOST_TRIED], others[:MOST_TRIED]]


def _watch(match: Match) -> list[int]:
    found = []
    for order in match.candidate_suspects.operations:
        for number in match.candidate.operations[order].outputs:
            value = match.candidate.values[number]
            if value.kind == "float" and value.count >= 8 and not match.known_candidate.good(number):
                found.append(number)
    return found[:MOST_WATCHED]


def _twins(trial: Trial) -> list[int]:
    return [b for _, b in trial.pairs] + [b for _, _, b in trial.feeds]


def _merged(applied: Iterable[Trial]) -> dict[str, Any]:
    """Trials as the observer reads them."""
    replace, feed = [], []
    for trial in applied:
        axes = list(trial.axes) if trial.axes else None
        replace += [[a, f"value.{b}", axes] for a, b in trial.pairs]
        feed += [[order, a, f"value.{b}", axes] for order, a, b in trial.feeds]
    return {"replace": replace, "feed": feed}


__all__ = ["Ask", "Known", "Result", "Round", "Search", "Suspects", "Unanswered", "Unreadable"]
