"""Where a checkpoint loses a tensor: the step that does, and the line that is at work there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from verify.checks import initialisation
from verify.checks.base import Maker, location
from verify.checks.roundtrip import CHECK, LACKING, SAVED
from verify.checks.structure import owner
from verify.divergence.graph import Frame
from verify.explain.explainer import Explainer
from verify.explain.places import place_of
from verify.report import Divergence, Finding, Location
from verify.trace import Ask, Role

KINDS = (
    "tensor-lost",
    "load-report",
    "missing-in-candidate",
    "missing-in-reference",
    "value",
    "does",
    "initialisation",
)
__all__ = ["CHECK", "KINDS", "explain"]

NOT_SET = "it is not saved, and `_init_weights` ends here without having set it"
NOT_FILLED = "where a checkpoint lacks it, `_init_weights` ends here without having set it"
OVERWRITTEN = "it is in the file, and is written over here while the model is loaded"


def explain(explainer: Explainer, findings: Sequence[Finding], allowed: float | None = None) -> Divergence | None:
    """Where the first of a group's findings comes from; None where that is not known of any. `explainer.places` has it by
    subject.

    Raises Unanswered, and whatever a record that no side should send makes this raise: the findings stand as they are.
    """
    explainer.forget()
    role: Role = "reference" if findings[0].case.startswith("reference ") else "candidate"
    lacking = findings[0].case == LACKING
    tensors, structure = _facts(explainer, role, lacking=lacking), _structure(explainer, role)
    names = _names(explainer) if lacking and role == "candidate" else {}
    for finding in findings:
        facts = tensors.get(names.get(finding.subject, finding.subject))
        own = finding.details.get("side", role) == role
        told = (_filled(facts, finding) if lacking else _lost(facts, finding)) if facts and own else None
        if facts and told:
            name = names.get(finding.subject, finding.subject)
            explainer.places.setdefault(
                finding.subject, _told(explainer, finding, role, name, facts, told, owner(structure, name))
            )
    return next((explainer.places[f.subject] for f in findings if f.subject in explainer.places), None)


def _facts(explainer: Explainer, role: Role, *, lacking: bool) -> Mapping[str, Any]:
    """What becomes of each tensor. Of the groups that are about one checkpoint, the first has it asked."""
    job, known = explainer.job, explainer.steps.get((role, lacking))
    if known is not None:
        return known
    args = {"values": job.values_of(CHECK), "seed": job.seed, "lacking": lacking}
    ask = Ask(key=job.key(CHECK, f"steps-{explainer.number()}"), op="steps", args=args, sides=(role,), fresh=True)
    answer, _ = explainer.asked(role, ask, f"{CHECK}: which step loses it")
    return explainer.steps.setdefault((role, lacking), answer["tensors"])


def _structure(explainer: Explainer, role: Role) -> Mapping[str, Any]:
    side = next(s for s in explainer.sides if s.settings.role == role)
    return side.trace.get(explainer.job.key("structure")).result or {}


def _names(explainer: Explainer) -> dict[str, str]:
    """What the candidate calls the reference's parameters."""
    make = Maker(job=explainer.job, check=CHECK, group=LACKING)
    return initialisation.aligned(make, _structure(explainer, "reference"), _structure(explainer, "candidate"))


Step = tuple[str, Any]
"""What is done to a tensor, in words for the report, and the place where that is done; None for where it is made."""


def _lost(facts: Mapping[str, Any], finding: Finding) -> Step | None:
    """The first step of a whole checkpoint's way that does not give on what it was given."""
    by = facts["overrides"]
    if facts["loaded"] == "same" and finding.case != SAVED:
        return None
    if not facts["held"]:
        return "it is in the file under a name that the model does not have", by["file"]
    if not facts["persistent"] and facts["state"] == "absent":
        return _not_saved(facts) if facts["loaded"] != "same" else None
    if facts["state"] != "same":
        what = "does not hold it" if facts["state"] == "absent" else "holds other values than the model"
        return f"the state dict {what}", by["state"]
    if facts["file"] == "absent" and facts["tied"]:
        return f"it is saved under the name of {facts['tied'][0]} alone, whose tensor it shares", by["file"]
    if facts["file"] != "same":
        return _not_written(facts["file"], *facts["types"][:2]), by["file"]
    return None if facts["loaded"] == "same" else _not_read(facts)


def _not_saved(facts: Mapping[str, Any]) -> Step:
    """A buffer that no checkpoint holds, and that comes out otherwise than it was."""
    if facts["loaded"] == "absent":
        return "it is not saved, and the model that is loaded has none", None
    if facts["written"]:
        return "it is not saved, and is given other values here while the model is loaded", facts["written"]
    if facts["ended"]:
        return NOT_SET, facts["ended"]
    return "it is not saved, and nothing sets it while the model is loaded", None


def _not_written(state: str, held: str, written: str) -> str:
    if state == "absent":
        return "the state dict holds it, and the file does not"
    if held != written:
        return f"it is saved as {written}, and the model holds {held}"
    return "the file has other values than the state dict"


def _not_read(facts: Mapping[str, Any]) -> Step:
    """What the file has as it was, and the model that is loaded has not."""
    _, file, after = facts["types"]
    if facts["loaded"] == "absent":
        return "it is in the file, and the model that is loaded has none", facts["overrides"]["loading"]
    if facts["loaded"] == "other" and file != after:
        return f"it is saved as {file}, and is {after} after loading", facts["overrides"]["loading"]
    if facts["told"]:
        return f"it is in the file, and is not read: {', '.join(facts['told'])}", facts["overrides"]["loading"]
    if facts["written"]:
        return OVERWRITTEN, facts["written"]
    return "it is in the file, and loading gives it other values", facts["overrides"]["loading"]


def _filled(facts: Mapping[str, Any], finding: Finding) -> Step | None:
    """What becomes of a tensor that a checkpoint lacks, or of one that it has while it lacks others."""
    if finding.kind == "does":
        place = facts["overrides"]["untold"]
        return ("that it is missing is not told", place) if place else None
    if finding.kind == "tensor-lost":
        return (OVERWRITTEN, facts["kept"]) if facts["kept"] else None
    if facts["written"]:
        return "where a checkpoint lacks it, it is filled here", facts["written"]
    return (NOT_FILLED, facts["ended"]) if facts["ended"] else None


def _told(
    explainer: Explainer,
    finding: Finding,
    role: Role,
    name: str,
    facts: Mapping[str, Any],
    step: Step,
    holder: Location | None,
) -> Divergence:
    """holder: the class that has the tensor, which is all that is known where no line is."""
    line = location(step[1]) or location(facts.get("made"))
    place = line or holder
    frame = Frame(place.file, place.line, place.name, True, -1) if place else None
    details = {"side": role, "subject": name, "step": step[0], "place": place_of(frame)}
    told = explainer.entry(finding, None, "first-lost", details, confidence="aligned" if line else "module")
    return told.model_copy(
        update={
            "reference": finding.reference,
            "candidate": finding.candidate,
            str(role): place,
            "subject": name.rpartition(".")[0],
            "allowed": None,
            "excerpts": {role: explainer.excerpt(role, frame)},
        }
    )
