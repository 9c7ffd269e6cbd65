"""Where a gradient first differs, in the order in which they flow back: the operation that hands on a wrong one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verify.checks.gradients import CHECK
from verify.divergence.backward import Flow, Handed, first_gradient
from verify.explain.explainer import Explainer, called
from verify.explain.places import place_of
from verify.mapping import inverse, to_wire
from verify.report import Divergence, Finding
from verify.trace import Role

KINDS = ("gradient-values", "gradient-none", "gradient-field")
"""Kinds of findings that are explained here: all of passes in train mode without checkpointing."""
__all__ = ["CHECK", "KINDS", "explain"]
SENTENCES = {"cut": "first-cut", "uncut": "first-uncut", "differs": "first-backward"}


def explain(explainer: Explainer, findings: Sequence[Finding], allowed: float | None = None) -> Divergence | None:
    """What is known of where the first of these comes from; None where nothing is. `explainer.places` has it by parameter and
    input whose gradient comes from there.

    Raises Unanswered, and whatever a record that no side should send makes this raise: the finding stands without a place.
    """
    finding = findings[0]
    if (CHECK, finding.case) not in explainer.job.scenes:
        return None  # with checkpointing, or in eval mode
    explainer.begin(finding, allowed)
    reference, candidate = _flow(explainer, finding, "reference"), _flow(explainer, finding, "candidate")
    handed = first_gradient(reference, candidate, explainer.allowed)
    if handed is None or handed.candidate is None:
        return None
    told = called(_told(explainer, finding, handed), candidate.graph, handed.operation)
    explainer.places = {leaf.removeprefix("parameter:"): told for leaf in handed.leaves}
    return told


def _flow(explainer: Explainer, finding: Finding, role: Role) -> Flow:
    job = explainer.job
    words = to_wire(inverse(job.spec.mapping.outputs))
    about: dict[str, Any] = {"field": str(finding.details.get("field", "")), "words": words, "checkpointing": False}
    ask = job.ask("backward", finding.check, finding.case, f"backward-{explainer.number()}", sides=(role,), **about)
    data, arrays = explainer.asked(role, ask, f"{finding.case}: first gradient that differs")
    return Flow.read(data, arrays, explainer.sources[role])


def _told(explainer: Explainer, finding: Finding, handed: Handed) -> Divergence:
    operation, counterpart = handed.operation, handed.counterpart
    details = {
        "candidate_place": place_of(handed.candidate),
        "reference_place": place_of(handed.reference),
        "operation": operation.short,
        "counterpart": counterpart.short if counterpart else "?",
        "relative": f"{handed.gap:.3g}",
    }
    told = explainer.entry(finding, None, SENTENCES[handed.kind], details, confidence="aligned")
    return explainer.placed(told, operation, counterpart, handed.candidate, handed.reference)
