"""What `roundtrip` asks of a checkpoint besides whether its tensors come back: what is told of keys that no model has, what
the name of a larger model in front of the keys does, into how many files it is written, and what becomes of the state dict
in a larger model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from verify.checks import structure
from verify.checks.base import Job, Maker, Outcome, faults
from verify.report import Finding, Verdict
from verify.trace import BOTH, Ask, Trace

UNEXPECTED, SHARDS, PREFIX = "unexpected keys", "max_shard_size", "base_model_prefix"
"""Subjects of findings."""
PREFIXED = "with a prefix"
"""The group, and the ask, of a checkpoint whose keys begin with the name that a larger model has for this one."""


def prefixed(job: Job, check: str, reference: Trace, candidate: Trace) -> list[Ask]:
    """A checkpoint with the reference's prefix in front of every key, where both sides saved one and know of prefixes."""
    saves = [trace.get(job.key(check, "save")).result or {} for trace in (reference, candidate)]
    if job.spec.mapping.parameters or not all(save.get("prefix") for save in saves):
        return []
    args = {"values": job.values_of(check), "auto": False, "prefix": saves[0]["prefix"]}
    return [Ask(key=job.key(check, PREFIXED), op="load", args=args)]


def of_prefix(job: Job, check: str, reference: Trace, candidate: Trace) -> Iterator[Outcome]:
    """Whether the candidate loads such a checkpoint as the reference does. One that the reference does not load whole says
    nothing, nor does a candidate that cannot load any at all."""
    answers = [trace.get(job.key(check, PREFIXED)) for trace in (reference, candidate)]
    make = Maker(job=job, check=check, group=PREFIXED)
    asked = job.key(check, PREFIXED) in reference.answers | candidate.answers
    if not asked or answers[0].result is None or answers[0].result["loads"][0]["report"] or make.ignored(PREFIX):
        return
    plain = candidate.get(job.key(check, "load")).fault
    if plain is not None and plain.kind in ("raised", "setup"):
        return
    outcome = Outcome(name=PREFIXED)
    if answers[1].result is None:
        outcome.findings += faults(make, *answers)
    elif right := answers[1].result["loads"][0]["report"]:
        told = ", ".join(f"{len(names)} {key}" for key, names in sorted(right.items()))
        outcome.findings += _told(job, check, PREFIXED, PREFIX, ("loaded whole", told), (reference, candidate))
    outcome.compared = answers[1].result is not None
    yield outcome


def reported(make: Maker, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether both sides tell of a key that no model has, where both were given one."""
    if left.get("unexpected") is None or right.get("unexpected") is None:
        return
    told = [bool(side["unexpected"]) for side in (left, right)]
    if told[0] != told[1] and not make.ignored(UNEXPECTED):
        words = ["told" if side else "not told" for side in told]
        details = {"what": "a key that the model does not have", "reference": words[0], "candidate": words[1]}
        verdict = Verdict.NOTE if told[1] else Verdict.DIFFERENT
        place = {"reference": structure.owner(left, ""), "candidate": structure.owner(right, "")}
        yield make.finding("does", UNEXPECTED, verdict, details=details).model_copy(update=place)


def shards(job: Job, check: str, group: str, reference: Trace, candidate: Trace) -> Iterator[Finding]:
    """Whether a checkpoint is cut into files as large as its caller says, where the reference's is."""
    saves = [trace.get(job.key(check, "save")).result or {} for trace in (reference, candidate)]
    counts = [save.get("files", 0) for save in saves]
    if counts[0] > 1 and counts[1] == 1:
        yield from _told(job, check, group, SHARDS, (f"{counts[0]} files", "one file"), (reference, candidate))


def nested(make: Maker, sides: tuple[Mapping[str, Any], Mapping[str, Any]], places: Any) -> Iterator[Finding]:
    """What a larger model that holds this one loses of its state dict. sides: by key, in the reference's words. places:
    answers to `structure`."""
    for role, own, other in zip(BOTH, sides, sides[::-1], strict=True):
        for key, what in own.items():
            if not make.ignored(key):
                verdict = Verdict.DIFFERENT if role == "candidate" and key not in other else Verdict.NOTE
                place = structure.owner(places[BOTH.index(role)], key)
                found = make.finding("tensor-lost", key, verdict, details={"side": role, "what": what})
                yield found.model_copy(update={role: place})


def _told(
    job: Job, check: str, group: str, subject: str, words: tuple[str, str], traces: tuple[Trace, Trace]
) -> Iterator[Finding]:
    structures = [trace.get(job.key("structure")).result or {} for trace in traces]
    places = {role: structure.owner(side, "") for role, side in zip(BOTH, structures, strict=True)}
    make = Maker(job=job, check=check, group=group, **places)
    if not make.ignored(subject):
        what = {
            PREFIX: "a checkpoint with the reference's base_model_prefix",
            SHARDS: "a checkpoint with max_shard_size",
        }
        details = {"what": what[subject], "reference": words[0], "candidate": words[1]}
        yield make.finding("does", subject, details=details, measured=words[1], allowed=words[0])
