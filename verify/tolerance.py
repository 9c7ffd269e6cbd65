"""How far two numbers may lie apart, and why."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT64_EPS = 2.0**-52
FLOAT32_EPS = 2.0**-23
EPS = {"fp64": FLOAT64_EPS, "fp32": FLOAT32_EPS}
LARGEST_RESPONSE = {arithmetic: eps**0.5 for arithmetic, eps in EPS.items()}
"""Past this, noise in the last place reaches half of the arithmetic's digits: the reference amplifies it by more than
rounding can explain, and a multiple of it is no small difference any more."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Largest allowed relative difference, with its reason. Relative to the root mean square of the reference.

    decides: whether a larger difference is proven. False where the reference's response is too large to be measured by.
    """

    allowed: float
    reason: str
    decides: bool = True


def from_response(response: float, multiple: float, arithmetic: str) -> Tolerance:
    """Allowed difference from the reference's own response to one-ulp noise.

    response: largest relative change of the reference's output when its inputs and weights each moved by one unit in
    the last place. One ulp everywhere stands for the rounding that another order of the same operations would do; the
    multiple covers longer sums and unlucky signs. Never below that multiple of one ulp, since a response can be zero; and
    that alone where the response is not finite or past LARGEST_RESPONSE, which allows nothing and decides nothing.
    """
    floor = EPS[arithmetic]
    if not response <= LARGEST_RESPONSE[arithmetic]:
        reason = f"the reference's own response to one-ulp noise is {response:.2g}, too large to decide by"
        return Tolerance(allowed=multiple * floor, reason=reason, decides=False)
    return Tolerance(
        allowed=multiple * max(response, floor),
        reason=f"{multiple:g} x the reference's own response to one-ulp noise ({max(response, floor):.2g})",
    )
