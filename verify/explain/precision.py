"""Where the candidate begins to lose more to rounding than the reference: the operation at which its error grows."""

from __future__ import annotations

from collections.abc import Sequence

from verify.checks.precision import CHECK, FORMATS, GIVEN, arguments, exact_of
from verify.divergence.rounding import Lost, Run, first_loss
from verify.explain.explainer import Explainer, called
from verify.explain.places import place_of
from verify.report import Divergence, Finding
from verify.trace import Role

KINDS = ("less-precise",)
DRAWS = 6
"""Draws of inputs of which the second pass takes prints."""
NONE = 64
"""An error of this part of the format's rounding is none."""


def explain(explainer: Explainer, findings: Sequence[Finding], allowed: float | None = None) -> Divergence | None:
    """What is known of where the first of these comes from; None where nothing is.

    Raises Unanswered, and whatever a record that no side should send makes this raise: the finding stands without a place.
    """
    finding = findings[0]
    form = finding.details["format"]
    case = finding.case.removesuffix(f" {form}")
    explainer.begin(finding.model_copy(update={"case": case}), None)
    reference, candidate = _runs(explainer, case, "reference", form), _runs(explainer, case, "candidate", form)
    lost = first_loss(reference, candidate, explainer.allowed, FORMATS[GIVEN.get(form, (form,))[0]] / NONE)
    if lost is None or lost.operation.frame is None:
        return None
    told = called(_told(explainer, finding, lost), candidate[0].graph, lost.operation)
    explainer.places = {finding.subject: told}
    return told


def _runs(explainer: Explainer, case: str, role: Role, form: str) -> tuple[Run, Run]:
    """A side's native run and its exact one."""
    return _run(explainer, case, role, form, lifted=False), _run(explainer, case, role, form, lifted=True)


def _run(explainer: Explainer, case: str, role: Role, form: str, *, lifted: bool) -> Run:
    chosen = exact_of(form) if lifted else form
    arithmetic = f"{chosen}/exact" if lifted else chosen
    kind = f"rounding-{explainer.number()}"
    about = arguments(chosen, lifted)
    ask = explainer.job.ask("rounding", CHECK, case, kind, sides=(role,), arithmetic=arithmetic, draws=DRAWS, **about)
    return Run.read(*explainer.asked(role, ask, f"{case}: where {form} loses more"))


def _told(explainer: Explainer, finding: Finding, lost: Lost) -> Divergence:
    operation, counterpart = lost.operation, lost.counterpart
    frame, other = operation.frame, counterpart.frame if counterpart is not None else None
    details = {
        "candidate_place": place_of(frame),
        "reference_place": place_of(other),
        "operation": operation.short,
        "counterpart": counterpart.short if counterpart else "?",
        "reference_error": f"{lost.errors[0]:.2g}",
        "candidate_error": f"{lost.errors[1]:.2g}",
        "format": finding.details["format"],
    }
    told = explainer.entry(finding, None, "first-rounding", details, confidence="aligned")
    return explainer.placed(told, operation, counterpart, frame, other)
