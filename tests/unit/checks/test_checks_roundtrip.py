"""roundtrip, from hand-made answers."""

from __future__ import annotations

from typing import Any

import pytest

from verify.checks import roundtrip
from verify.report import Verdict

SAVED = {"tensors": {"weight": "a"}, "saved": {"weight": "a"}, "class": "Model", "frozen": [], "config": None}
STRUCTURE = {"parameters": [], "buffers": [], "modules": [], "location": None}


def load(**changes: Any) -> dict[str, Any]:
    whole = {"tensors": {"weight": "a"}, "dtypes": {}, "report": {}, "class": "Model", "remote": False}
    return {
        "loads": [{**whole, "library": True, "train": [], "frozen": [], "config": None, "attention": None, **changes}]
    }


@pytest.fixture
def compare(job, traces):
    """The group of the candidate's load, of a candidate that is loaded so."""

    def run(loaded: dict[str, Any], **changes: Any):
        sides = (
            {"structure": STRUCTURE, "roundtrip/save": SAVED, "roundtrip/load": answer} for answer in (load(), loaded)
        )
        outcomes = roundtrip.compare(job(**changes), *traces(*sides))
        return next(o for o in outcomes if o.name == "candidate load")

    return run


TOLD = {
    "only after loading": {"tensors": {"weight": "a", "extra.table": "b"}},
    "in the report": {"report": {"unexpected_keys": ["extra.table"]}},
}


@pytest.mark.parametrize("changes", TOLD.values(), ids=TOLD)
def test_what_loading_tells_or_adds_is_a_difference_unless_it_is_ignored(compare, changes):
    assert [f.subject for f in compare(load(**changes)).findings] == ["extra.table"]
    outcome = compare(load(**changes), checks={"roundtrip": {"ignore": ["extra.*"]}})
    assert (outcome.findings, outcome.verdict) == ([], Verdict.EQUAL)
