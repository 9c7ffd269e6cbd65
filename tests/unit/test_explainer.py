"""Small parts of what is told of a divergence."""

from __future__ import annotations

from verify.explain.explainer import _ended
from verify.report import LayerError


def test_what_holds_layers_comes_after_them():
    paths = ["embed", "encoder", "encoder.layers.0", "encoder.layers.1", "encoder.layers.10", "encoders", "head"]
    found = [one.path for one in _ended([LayerError(path=path, error=0.0) for path in paths])]
    assert found == [
        "embed",
        "encoder.layers.0",
        "encoder.layers.1",
        "encoder.layers.10",
        "encoder",
        "encoders",
        "head",
    ]
