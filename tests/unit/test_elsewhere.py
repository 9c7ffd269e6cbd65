"""Whether a change that mends one case holds in the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from verify.divergence.graph import Frame
from verify.divergence.mending import Mend
from verify.divergence.search import Unanswered
from verify.edits import Edit
from verify.explain.elsewhere import MOST, MOST_SECONDS, Elsewhere

MEND = Mend(
    Frame("net.py", 1, "f", True, -1), Edit(start=0, end=1, new="b", line=1, last=1), "a", 1, "f", False, 0, light=True
)


def elsewhere(
    gives: dict[str, dict[str, Any]], ignored: tuple[str, ...] = (), each: float = 0.0
) -> tuple[Elsewhere, list[tuple[str, str]]]:
    """gives: by case and role what output "y" is; None for a pass that fails, Unanswered for a side that ends."""
    asked = []

    def ask(role, case, more):
        asked.append((role, case))
        assert [one is None for one in more["edits"]] == [role == "reference"]
        value = gives[case][role]
        if value is Unanswered:
            raise Unanswered(role, None)
        if value is None:
            return {"tries": [{"fault": "ValueError"}]}, {}
        return {"tries": [{"outputs": ["y"], "shapes": [[1]]}]}, {"outputs.0": np.full((1, 14), float(value))}

    return Elsewhere(list(gives), ask, lambda path: path in ignored, 1e-12, each or 1e-3), asked


@pytest.mark.parametrize(
    ("reference", "candidate", "holds"),
    [(1, 1, True), (1, 2, False), (1, None, False), (1, Unanswered, False), (None, 2, True), (Unanswered, None, True)],
)
def test_a_change_holds_unless_a_case_that_the_reference_answers_disagrees(reference, candidate, holds):
    found, _ = elsewhere(
        {"one": {"reference": 1, "candidate": 1}, "two": {"reference": reference, "candidate": candidate}}
    )
    assert found.holds(MEND) is holds


def test_an_output_that_is_ignored_decides_nothing():
    gives = {"one": {"reference": 1, "candidate": 2}}
    assert not elsewhere(gives)[0].holds(MEND)
    assert elsewhere(gives, ignored=("y",))[0].holds(MEND)


def test_the_reference_is_asked_once_and_few_cases_of_a_slow_model():
    cases = {f"case {n}": {"reference": 1, "candidate": 1} for n in range(20)}
    found, asked = elsewhere(cases)
    assert found.holds(MEND)
    assert found.holds(MEND)
    assert len([role for role, _ in asked if role == "reference"]) <= MOST < len(asked)
    found, asked = elsewhere(cases, each=MOST_SECONDS)
    assert found.holds(MEND)
    assert len(asked) == 2
