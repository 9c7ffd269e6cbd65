"""Hand-made answers of two sides, for the pure half of a check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from verify.checks.base import Job, Scene
from verify.spec import Spec
from verify.trace import Answer, Fault, Trace

SPEC = {
    "version": 1,
    "reference": {"model": "model:Model"},
    "candidate": {"model": "model:Model"},
    "cases": {"one": {"inputs": {"x": {"shape": [3, 2]}}}},
}


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A job of the variant `default`; keywords replace keys of the spec."""

    def make(*, accepted: frozenset[str] = frozenset(), **changes: Any) -> Job:
        spec = Spec.model_validate({**SPEC, **changes})
        scenes = {
            (check, name): Scene(case=case, values={}, inputs=tmp_path / "inputs")
            for check in ("outputs", "determinism")
            for name, case in spec.cases.items()
        }
        return Job(spec=spec, base=tmp_path, variant="default", seed=0, scenes=scenes, accepted=accepted)

    return make


@pytest.fixture
def traces() -> Callable[..., tuple[Trace, Trace]]:
    """Two traces of answers by key: a result, a Fault, or (result, arrays)."""

    def make(reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> tuple[Trace, Trace]:
        made = Trace(role="reference"), Trace(role="candidate")
        for trace, answers in zip(made, (reference, candidate), strict=True):
            for name, given in answers.items():
                key = f"default/{name}"
                if isinstance(given, Fault):
                    trace.add(Answer(key=key, fault=given))
                else:
                    result, arrays = given if isinstance(given, tuple) else (given, {})
                    trace.add(Answer(key=key, result=result, arrays=arrays))
        return made

    return make
