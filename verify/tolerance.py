"""How far two numbers may lie apart, and why."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT64_EPS = 2.0**-52
FLOAT32_EPS = 2.0**-23
EPS = {"fp64": FLOAT64_EPS, "fp32": FLOAT32_EPS}


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest allowed relative difference, with its reason. Relative to the root mean square of the reference."""

    allowed: float
    reason: str


def from_response(response: float, multiple: float, arithmetic: str) -> Tolerance:
    """Allowed difference from the reference's own response to one-ulp noise.

    response: largest relative change of the reference's output when its inputs and weights each moved by one unit in
    the last place. One ulp everywhere stands for the rounding that another order of the same operations would do; the
    multiple covers longer sums and unlucky signs. Never below that multiple of one ulp, since a response can be zero.
    """
    floor = EPS[arithmetic]
    return Tolerance(
        allowed=multiple * max(response, floor),
        reason=f"{multiple:g} x the reference's own response to one-ulp noise ({max(response, floor):.2g})",
    )
