"""What counts as moved, and that a parameter comes back to the bit."""

from __future__ import annotations

import pytest
import torch

from verify.observer.matter import differ

ONE = torch.tensor([1.0, -2.0], dtype=torch.float64)
NAN = torch.tensor([1.0, float("nan")], dtype=torch.float64)


@pytest.mark.parametrize(
    ("a", "b", "moved"),
    [
        (ONE, ONE.clone(), False),
        (ONE, ONE * (1 + 1e-12), False),
        (ONE, ONE * (1 + 1e-6), True),
        (ONE, ONE[:1], True),
        (ONE, ONE.float(), True),
        (ONE, NAN, True),
        (NAN, NAN.clone(), False),
        (ONE * 0, ONE * 1e-300, True),
        (ONE[:0], ONE[:0], False),
        (ONE > 0, ONE < 0, True),
        (torch.complex(ONE, ONE), torch.complex(ONE, -ONE), True),
        (1, 1, False),
        (1, 2, True),
        ("a", "b", True),
        (None, None, False),
        (None, ONE, True),
        (float("nan"), float("nan"), False),
        (object(), object(), False),
    ],
)
def test_what_counts_as_moved(a, b, moved):
    assert differ([("y", a)], [("y", b)], 1e-8) == moved


def test_another_set_of_outputs_is_a_move():
    assert differ([("y", ONE)], [("y", ONE), ("z", ONE)], 1e-8)
