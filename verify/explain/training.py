"""Where an output of a pass in train mode first differs, although those of eval passes agree: the operation at its line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from verify.checks.training import CHECK, other_masks
from verify.divergence.graph import Frame
from verify.explain.explainer import OF_VALUES, Explainer
from verify.explain.places import location, place_of
from verify.messages import say
from verify.report import Divergence, Finding

KINDS = OF_VALUES
DRAWING = re.compile(r"bernoulli|dropout|rand|scaled_dot_product|empty")
"""Operations that drop something, or can, or make the memory that a mask is drawn into. Where eval passes agree, that is
what differs about them."""
__all__ = ["CHECK", "KINDS", "explain"]


def explain(explainer: Explainer, findings: Sequence[Finding], allowed: float | None = None) -> Divergence | None:
    """What is known of where the first of these comes from; None where nothing is. `explainer.places` has it by output.

    Both sides run with the draws with which they were compared. No module is told where no operation is: those of eval
    passes are the only ones that are followed.
    """
    finding = findings[0]
    job = explainer.job
    if (CHECK, finding.case) not in job.scenes:
        return None  # buffers, or the eval pass after it
    explainer.begin(finding, allowed)
    reference, candidate = (side.trace.get(job.key(CHECK, finding.case)) for side in explainer.sides)
    told = explainer.sought(finding, None, "even-train" if other_masks(reference, candidate) else "train")
    explainer.places = {path: _dropped(explainer, place) for path, place in explainer.places.items()}
    return told and _dropped(explainer, told)


def _dropped(explainer: Explainer, told: Divergence) -> Divergence:
    """The entry at the line of the argument that says how much is dropped, where a call of several lines is named that
    draws."""
    place = told.candidate
    if place is None or not DRAWING.search(told.operation):
        return told
    frame = explainer.dropping("candidate", Frame(place.file, place.line, place.name, True, -1))
    assert frame is not None
    details = {**told.details, "candidate_place": place_of(frame)}
    excerpts = {**told.excerpts, "candidate": explainer.excerpt("candidate", frame)}
    update = {
        "candidate": location(frame),
        "details": details,
        "message": say(told.kind, details),
        "excerpts": excerpts,
    }
    return told.model_copy(update=update)
