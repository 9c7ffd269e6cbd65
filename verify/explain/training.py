"""Where an output of a pass in train mode first differs, although those of eval passes agree: the operation at its line."""

from __future__ import annotations

from collections.abc import Sequence

from verify.checks.training import CHECK, other_masks
from verify.explain.explainer import OF_VALUES, Explainer
from verify.report import Divergence, Finding

KINDS = OF_VALUES
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
    return explainer.sought(finding, None, "even-train" if other_masks(reference, candidate) else "train")
